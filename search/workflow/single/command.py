"""``search single``: makes one network of an export's ensemble, judges it, and puts it into the model folder."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from search.runtime.console import note, open_console, say
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.workflow.single.card import SingleFacts, loss_lines, origin_line, speed_line, write_single_card
from search.workflow.single.exported_ensemble import ExportedModel, open_export
from search.workflow.single.place import check_place, put_in_place, scratch_in
from storage.artifacts import digest_of
from storage.database.outages import OUTAGE_TIMEOUT
from storage.stores import open_stores
from trainer.formats.weights.origin import origin_of_all

if TYPE_CHECKING:
    from search.workflow.single.comparison import Single


class TwoWays(SearchError):
    """Options of the command exclude each other."""


class TwoStages(SearchError):
    """The export has a second stage, so its networks do not become one."""


@dataclass(frozen=True, kw_only=True)
class SingleRequest:
    """Options of ``search single``. None: not given."""

    study: str | None
    data: Path | None
    storage_url: str
    output: Path | None
    """Folder of the export."""
    home: Path
    leader: bool
    """Average the networks of the first recipe alone."""
    average: bool
    """Average weights even where classifiers began at random ones."""
    distil: bool
    """Teach a network even where the mean of the weights is one."""
    weights: Path | None
    """Folder of pre-trained weights, with which a taught network begins."""


def single_network(request: SingleRequest) -> None:
    """Make one network of the latest export of a study, and print what it loses and gains.

    Its weights are the mean of those of the ensemble, if the networks allow one. Otherwise the ensemble teaches it.

    Raises:
        NoExport: there is no export in the folder.
        TwoStages: it has a second stage.
        NoSoup: the networks of the first recipe do not become one by a mean of their weights.
        CannotTeach: the ensemble cannot teach a network either.
        SingleNotWritten, OutputNotOurs, OutputNotWritable, OutputBusy: the model folder is as before.
        NoData, DataMismatch, DataError: there are no images, or not the study's.
        NoWeights, BackboneError: the weights with which a taught network begins are not at hand.
    """
    from search.workflow.single.average import make_soup
    from search.workflow.single.teach_network import make_student
    from trainer.conversion.single.ingredients import NoSoup, choose_ingredients

    if request.distil and (request.leader or request.average):
        option = "--leader" if request.leader else "--average"
        raise TwoWays(f"{option} is about networks whose weights are averaged, and --distil averages none: give one")
    console = open_console()
    stores = open_stores(request.storage_url, outage_timeout=OUTAGE_TIMEOUT)
    export = open_export(stores, request.study, Home(root=request.home), request.output, request.data)
    if export.model.blend.second_stage:
        raise TwoStages(
            f"the export of study {export.study.name} has two stages, whose networks know different classes and do not "
            f"become one: `search single --study {export.study.first}` makes one network of the first stage"
        )
    check_place(export.folder)
    config_digest = digest_of(export.folder / "config.json")
    try:
        ingredients = choose_ingredients(
            export.model, export.recipes, leader=request.leader, any_classifier=request.average
        )
    except NoSoup as reason:
        if request.leader or request.average or export.networks == 1:
            raise
        ingredients = []
        note(console, f"{reason}. A network is taught instead")
    if ingredients and not request.distil:
        say(console, f"Averaging the weights of {len(ingredients)} networks, and judging the result.")
        single, facts = make_soup(export, ingredients, console)
    else:
        single, facts = make_student(export, console, request.weights)
    with scratch_in(export.folder) as scratch:
        write_single(export, single, facts, scratch / "new")
        target = put_in_place(scratch / "new", export.folder, config_digest)
    print_single(console, facts, target)


def write_single(export: ExportedModel, single: Single, facts: SingleFacts, folder: Path) -> None:
    """Write the model folder of a single network, with its card.

    Raises:
        ModelError: the folder cannot be read back.
        BackboneError: a network of the export is damaged.
        OSError: it cannot be written.
    """
    from trainer.networks.backbones import Preprocessing
    from trainer.training.write_model_folder import FolderMember, write_model_folder

    mean, std = ((float(r), float(g), float(b)) for r, g, b in (single.member.mean, single.member.std))
    write_model_folder(
        folder,
        class_names=export.model.class_names,
        members=[
            FolderMember(
                recipe=export.recipes[export.model.members.index(single.member)],
                preprocessing=Preprocessing(mean=mean, std=std, interpolation=single.member.interpolation),
                views=single.member.views,
                state_dicts={"single": single.state},
                trained_on=origin_of_all(path for member in export.model.members for path in member.weights),
            )
        ],
        blend=single.blend,
        data_fingerprint=export.study.fingerprint,
        value_ranges=export.model.value_ranges,
        extra={"single": facts.to_json()},
    )
    (folder / "MODEL_CARD.md").write_text(write_single_card(facts), encoding="utf-8")


def print_single(console: Console, facts: SingleFacts, folder: Path) -> None:
    """Print what was made, what it loses and gains, and how to use it."""
    say(console)
    for line in (origin_line(facts), *loss_lines(facts), speed_line(facts)):
        say(console, line, prefix="- ")
    say(console)
    say(console, f"The network is in {folder}, a model folder like that of the ensemble:")
    for command in ("predict", "convert"):
        say(console, f"  search {command} {shlex.quote(str(folder))} IMAGES", whole=True)
