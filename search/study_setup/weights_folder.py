"""The folder of pre-trained weights of a study: given with ``--weights``, or remembered from ``search start``."""

from __future__ import annotations

import logging
from pathlib import Path

from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.study_setup.data_folder import existing_folder
from storage.records.study_rows import StoredStudy
from studies.resolve_backbones import backbones_of
from studies.space.combinations import can_occur
from studies.spec import StudySpec
from trainer.common.errors import BackboneError, listed
from trainer.networks.custom_weights import (
    check_description,
    is_of,
    missing_custom_weights_message,
    registered_weights,
    weights_description,
)
from trainer.networks.pretrained.find_weights import missing_weights, weights_at_hand
from trainer.networks.pretrained.missing_message import missing_weights_message

SHOWN_NAMES = 4  # backbones in a message

log = logging.getLogger(__name__)


class NoWeights(SearchError):
    """This machine lacks the remembered folder of a study's weights, and the weights are nowhere else."""


def weights_folder(stored: StoredStudy | None, spec: StudySpec, given: Path | None) -> Path | None:
    """The folder of pre-trained weights to use on this machine; None: no folder.

    Args:
        stored: the study; None: it is new.
        spec: its specification, which says whether weights are needed.
        given: the folder of ``--weights``. It takes precedence over the remembered one.

    Raises:
        NoWeights: this machine lacks the remembered folder, and neither the cache nor the hub has all weights.
    """
    folder = given_or_remembered(stored, given)
    if folder is not None or stored is None or stored.weights_dir is None or not _needs_weights(spec):
        return folder
    lacking = f"this machine lacks the weights folder {stored.weights_dir} of study {stored.name}"
    try:
        check_initial_weights(spec, None)
    except BackboneError as error:
        raise NoWeights(f"{lacking}: --weights FOLDER names the folder that holds its weights here") from error
    log.warning("%s; the Hugging Face cache or the hub has the weights. --weights FOLDER names another folder", lacking)
    return None


def given_or_remembered(stored: StoredStudy | None, given: Path | None) -> Path | None:
    """The folder of ``--weights``, else the remembered one if this machine has it; None: neither."""
    if given is not None or stored is None or stored.weights_dir is None:
        return given
    return existing_folder(stored.weights_dir)


def with_registered(stored: StoredStudy | None, spec: StudySpec, given: Path | None, home: Home) -> Path | None:
    """The folder of ``--weights``; without one, that of the registered weights if the study begins from some of them.

    A folder that the study remembers comes before the registered weights of this home.
    """
    if given is not None or (stored is not None and stored.weights_dir is not None):
        return given
    registered = {known.name for known in registered_weights(home.weights)}
    return home.weights if registered.intersection(_inits(spec)) else given


def remembered_path(folder: Path) -> str | None:
    """The absolute path of a folder as text for the database; None: it is not valid Unicode, so it cannot be stored."""
    path = str(folder.resolve())
    try:
        path.encode()
    except UnicodeEncodeError:
        return None
    return path


def check_initial_weights(
    spec: StudySpec,
    weights_dir: Path | None,
    *,
    probes_only: bool = False,
    scratch: bool = True,
    registered: Path | None = None,
) -> None:
    """Check that the weights of every ``init`` in the study are at hand, pre-trained weights and checkpoints alike.

    Args:
        probes_only: pre-trained weights of one backbone suffice, because a probe whose weights are missing fails alone.
            Random weights cannot be probed, so the message does not propose them.
        scratch: whether the trainings could begin from random weights; the message then proposes them.
        registered: folder of this home's registered weights, which the message names if it has what ``weights_dir``
            lacks.

    Raises:
        BackboneError: weights are missing; names all of them. Or registered weights do not fit the study.
    """
    inits = _inits(spec)
    backbones = backbones_of(spec) if "pretrained" in inits else []
    if probes_only and weights_at_hand(backbones, weights_dir):
        backbones = []
    missing = missing_weights(backbones, weights_dir)
    problems = []
    if missing:
        may_be_random = scratch and not probes_only
        problems += [missing_weights_message(missing, weights_dir, scratch=may_be_random, among=backbones)]
    problems += [missing_custom_weights_message(inits, weights_dir)]
    elsewhere = {known.name for known in registered_weights(registered)} if registered != weights_dir else set()
    problems += [
        f"{registered} has {init}: copy {init}.safetensors and {init}.json into {weights_dir}"
        for init in inits
        if any(problems) and init in elsewhere
    ]
    if any(problems):
        raise BackboneError("\n".join(filter(None, problems)))
    _check_registered(spec, inits, weights_dir)


def _check_registered(spec: StudySpec, inits: list[str], weights_dir: Path | None) -> None:
    """Check that registered weights belong to every backbone with which the study could combine them.

    Raises:
        BackboneError: they do not, which a condition mends; or a file is damaged.
    """
    for init in inits:
        known = weights_description(init, weights_dir)
        if known is None:
            continue
        check_description(init, known.backbone, weights_dir)
        backbones = [
            name for name in backbones_of(spec) if can_occur(spec.space, spec.recipe, {"init": init, "backbone": name})
        ]
        others = [name for name in backbones if not is_of(known, name)]
        if not others:
            continue
        message = f"init = {init!r} was pre-trained with {known.backbone}, and this study could use it for "
        message += listed(others, SHOWN_NAMES)
        fitting = [other.name for other in registered_weights(weights_dir) if is_of(other, others[0])]
        if len(backbones) == 1:
            message += f"; registered for {others[0]}: {', '.join(fitting) or 'nothing'}"
        else:
            start = "scratch" if "scratch" in inits and "pretrained" not in inits else "pretrained"
            message += (
                f'. Sample it for its own backbone only: [recipe] init = "{start}", [space] init = {{ choices = '
                f'["{start}", "{init}"], when = {{ backbone = "{known.backbone}" }} }}'
            )
        raise BackboneError(message)


def _needs_weights(spec: StudySpec) -> bool:
    return any(init != "scratch" for init in _inits(spec))


def _inits(spec: StudySpec) -> list[str]:
    return [str(name) for name in spec.values_of("init")]
