"""``search start --from STUDY[:TRIAL]``: a new study that begins with the recipe of another study's trial."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from search.runtime.console import note, say
from search.runtime.errors import SearchError
from search.statistics.ranking import NothingFinished, choose, rank
from search.study_state.search_trials import candidates
from search.study_state.study import Study, read_study
from search.tuning.probing.plan import PROBE_FIELDS, image_sizes
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from studies.spec import StudySpec
from trainer.recipe.recipe import Recipe, RecipeError, Scalar

SHOWN_TRIALS = 10  # maximum number of finished trials in a message


class NoSuchTrial(SearchError):
    """The study has no finished trial of this number, or its recipe cannot be used."""


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """A finished trial whose recipe becomes trial 0 of a new study."""

    study: str
    trial: int
    score: str
    """Metric, value and standard error, for people."""
    recipe: dict[str, Scalar]
    """Flat and complete."""

    @property
    def name(self) -> str:
        """``STUDY:TRIAL``, as the new study stores it."""
        return f"{self.study}:{self.trial}"


def starting_point(stores: Stores, given: str) -> StartingPoint:
    """The trial that ``given`` names, as ``STUDY:TRIAL``, or as ``STUDY`` for the best trial of a study.

    Raises:
        UnknownStudyError: there is no such study; the message lists the existing ones.
        NothingFinished: the study has no finished trial yet.
        NoSuchTrial: ``given`` is malformed, the study has no finished trial of this number, or its recipe is not valid
            in this release.
    """
    name, number = _parse_trial_name(given)
    study = read_study(stores, name)
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    finished = candidates(records, study.metric)
    if not finished:
        raise NothingFinished(f"--from {given}: no trial of study {name} has finished yet")
    wanted = choose(finished).number if number is None else number
    record = next((record for record in records if record.number == wanted), None)
    if record is None:
        best = [str(candidate.number) for candidate in rank(finished)]
        shown = ", ".join(best[:SHOWN_TRIALS]) + (" …" if len(best) > SHOWN_TRIALS else "")
        raise NoSuchTrial(f"study {name} has no finished trial {wanted}; finished, best first: {shown}")
    return _to_starting_point(study, record)


def find_starting_point(stores: Stores | None, study: Study | None, given: str | None) -> StartingPoint | None:
    """The starting point of a study: the one given defaults, or else the one with which it was created.

    ``STUDY`` without a number means the trial that was the best when the study was created, even if another one is the
    best defaults.

    Args:
        stores: None if there is no database yet.
        study: the stored study of the requested name; None if there is none.
        given: the argument of ``--from``; None if there is none.

    Raises:
        NoSuchTrial: ``given`` needs a database, and there is none; else as `starting_point`.
    """
    remembered = study.spec.begun_from if study else ""
    if given is None or given == remembered.rpartition(":")[0]:
        given = remembered or given
    if given is None:
        return None
    if stores is None:
        raise NoSuchTrial(f"--from {given}: there is no database with such a study yet; --storage URL names one")
    return starting_point(stores, given)


def begin_with(spec: StudySpec, start: StartingPoint, overrides: Sequence[str], console: Console | None) -> StudySpec:
    """The study with the recipe of ``start`` as its trial 0, as far as its search space contains it.

    Args:
        spec: resolved, loaded by `studies.load_study.load_study` with the recipe of ``start``.
        overrides: settings of ``--set``, which take precedence over the recipe.
        console: prints the starting point and the settings that its recipe could not keep; None: nothing is printed.
    """
    new_spec, lost_fields = spec.begun_at(start.name, start.recipe, overrides)
    if console is not None:
        say(console, f"Trial 0 is trial {start.trial} of study {start.study} ({start.score}).")
        defaults = new_spec.default_recipe()
        for field in lost_fields:
            note(
                console,
                f"{field} = {start.recipe[field]} is not in this study's range, trial 0 has {defaults[field]} instead",
            )
    return new_spec


def _parse_trial_name(given: str) -> tuple[str, int | None]:
    name, colon, number = given.rpartition(":")
    if not colon:
        return given, None
    if not re.fullmatch(r"[0-9]{1,9}", number):
        raise NoSuchTrial(f"--from takes STUDY or STUDY:TRIAL, such as aug_tuning:12, not {given!r}")
    return name, int(number)


def _to_starting_point(study: Study, record: TrialRecord) -> StartingPoint:
    assert record.number is not None, "finished trials have a number"
    try:
        recipe = Recipe.from_flat(record.recipe or {}).to_flat()
        if record.is_probe:
            recipe |= {field: study.spec.recipe[field] for field in PROBE_FIELDS}
            if recipe["image_size"] not in image_sizes(study.spec):  # a probe on reduced or enlarged images
                recipe["image_size"] = study.spec.default_recipe()["image_size"]
    except RecipeError as error:
        raise NoSuchTrial(f"the recipe of trial {record.number} of {study.name} cannot be used: {error}") from error
    score = f"{study.metric} {record.value or 0.0:.4f} ± {record.value_se or 0.0:.4f}"
    return StartingPoint(study=study.name, trial=record.number, score=score, recipe=recipe)
