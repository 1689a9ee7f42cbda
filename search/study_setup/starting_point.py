"""``search start --from STUDY[:TRIAL]``: the recipe of another study at which a new one begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from search.runtime.console import note, say
from search.statistics.ranking import NothingFinished, choose, rank
from search.study_state.snapshot import candidates
from search.study_state.study import Study, read_study
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from studies.spec import StudySpec
from trainer.recipe.recipe import Recipe, RecipeError, Scalar

SHOWN_TRIALS = 10  # finished trials that a message names


class NoSuchTrial(ValueError):  # noqa: N818 - named for the fact
    """A study has no finished trial of that number, or not a usable one."""


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """A finished trial that a study begins at."""

    study: str
    trial: int
    score: str
    """For people: metric, value and standard error."""
    recipe: dict[str, Scalar]
    """Flat and complete."""

    @property
    def name(self) -> str:
        """As the new study remembers it: ``STUDY:TRIAL``."""
        return f"{self.study}:{self.trial}"


def starting_point(stores: Stores, given: str) -> StartingPoint:
    """The trial that ``given``, ``STUDY`` or ``STUDY:TRIAL``, stands for; without a number the best one.

    Raises:
        UnknownStudyError: no such study; the message lists those that there are.
        NothingFinished: the study has no finished trial yet.
        NoSuchTrial: the study has no finished trial of that number, or its recipe is none that this release knows.
    """
    name, number = _taken_apart(given)
    study = read_study(stores, name)
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    finished = candidates(records, study.metric)
    if not finished:
        raise NothingFinished(f"--from {given}: no trial of study {name} has finished yet")
    chosen = choose(finished).number if number is None else number
    record = next((record for record in records if record.number == chosen), None)
    if record is None:
        best = [str(candidate.number) for candidate in rank(finished)]
        shown = ", ".join(best[:SHOWN_TRIALS]) + (" …" if len(best) > SHOWN_TRIALS else "")
        raise NoSuchTrial(f"study {name} has no finished trial {chosen}; finished, best first: {shown}")
    return _checked(study, record)


def starting_point_again(stores: Stores | None, study: Study | None, given: str | None) -> StartingPoint | None:
    """What a study begins at, whether that was typed now or when it was begun: which trial is the best may have changed
    since.

    Args:
        stores: None where there is no database yet.
        study: the one of the name that was typed, if it exists.
        given: as typed; None: nothing.

    Raises:
        NoSuchTrial: there is no database that could hold it; else as `starting_point`.
    """
    remembered = study.spec.begun_from if study else ""
    if given is None or given == remembered.rpartition(":")[0]:
        given = remembered or given
    if given is None:
        return None
    if stores is None:
        raise NoSuchTrial(f"--from {given}: there is no database with such a study yet; --storage URL names one")
    return starting_point(stores, given)


def begin_at(spec: StudySpec, begun: StartingPoint, overrides: Sequence[str], console: Console | None) -> StudySpec:
    """The study with its trial 0 at an ancestor's recipe; says on ``console`` what of it could not be kept.

    Args:
        spec: resolved, as `studies.spec.load_study` makes it with the ancestor's recipe.
    """
    moved, lost = spec.begun_at(begun.name, begun.recipe, overrides)
    if console is not None:
        say(console, f"Trial 0 is trial {begun.trial} of study {begun.study} ({begun.score}).")
        now = moved.default_recipe()
        for field in lost:
            note(
                console,
                f"{field} = {begun.recipe[field]} is not in this study's range, trial 0 has {now[field]} instead",
            )
    return moved


def _taken_apart(given: str) -> tuple[str, int | None]:
    name, colon, number = given.rpartition(":")
    if not colon:
        return given, None
    if not number.isascii() or not number.isdigit():
        raise NoSuchTrial(f"--from takes STUDY or STUDY:TRIAL, such as aug_tuning:12, not {given!r}")
    return name, int(number)


def _checked(study: Study, record: TrialRecord) -> StartingPoint:
    assert record.number is not None, "finished trials have a number"
    try:
        recipe = Recipe.from_flat(record.recipe or {}).to_flat()
    except RecipeError as error:
        raise NoSuchTrial(f"the recipe of trial {record.number} of {study.name} cannot be used: {error}") from error
    score = f"{study.metric} {record.value or 0.0:.4f} ± {record.value_se or 0.0:.4f}"
    return StartingPoint(study=study.name, trial=record.number, score=score, recipe=recipe)
