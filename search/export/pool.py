"""Who may take part in a final model: recipes of one study or of several on the same images, and imported predictions.

Of a study that confirmed its recipes on fresh splits, all that may as well be the best; the finalists of several
studies are judged together, because the same split of the same images has the same folds in all of them. Of a study
that confirmed nothing, its best trial: then everybody is compared on the split of the search, where all of them ran.

Imported predictions never lead: whether they were held out cannot be checked, and there is nothing of them to refit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search.export.members import ExportMember, ImportedMember
from search.runtime.home import Home
from search.statistics.estimates import Estimates
from search.statistics.member_names import MemberName
from search.statistics.ranking import NothingFinished, average
from search.study_state.confirmation import Confirmation, read_confirmation
from search.study_state.finalists import judge_finalists
from search.study_state.study import Study
from search.study_state.study_targets import read_image_weights
from search.study_state.training_costs import final_recipe
from storage.artifacts import ArtifactFolder
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL

POOL = 12
"""Recipes that are looked at for an ensemble, the best first: more would cost minutes, not points."""


class StudiesDiffer(ValueError):  # noqa: N818 - named for the fact
    """Studies whose predictions cannot be compared image by image; the message says what differs in which."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Possible members, all with predictions of the same images from comparable cross-validations."""

    recipes: tuple[ExportMember, ...]
    """The leader first; no recipe twice."""
    imported: tuple[ImportedMember, ...]
    estimates: Estimates | None
    """Of the confirmed recipes; None where none was confirmed."""
    split: int
    """Whose folds are the outer ones of a nested comparison: a split that all recipes ran."""
    notes: tuple[str, ...] = ()
    """What to doubt, for people."""

    @property
    def everyone(self) -> tuple[ExportMember | ImportedMember, ...]:
        """Recipes and imported predictions, the leader first."""
        return (*self.recipes, *self.imported)


def read_pool(stores: Stores, sources: Sequence[Study], home: Home | None = None) -> Pool:
    """The possible members that studies have.

    Args:
        home: whose kept networks may take part although their trials were not confirmed: they cost nothing any more.
            None: nobody's.

    Raises:
        StudiesDiffer: they are not of the same images, folds and metric.
        NothingFinished: no trial of one of them has finished.
    """
    check_alike(sources)
    _check_weights(stores, sources)
    confirmations = [read_confirmation(stores, study.name) for study in sources]
    names = {study.id: study.name for study in sources} if len(sources) > 1 else {}
    best = {confirmation.study.id: _best(confirmation, names) for confirmation in confirmations}
    confirmed = [confirmation for confirmation in confirmations if _is_confirmed(confirmation)]
    estimates, tied = _judged_together(stores, confirmed, names)
    unconfirmed = sorted(
        (best[c.study.id] for c in confirmations if c not in confirmed), key=lambda pair: pair[0], reverse=True
    )
    others = [member for _, member in unconfirmed]
    if home is not None:
        others += [member for confirmation in confirmations for member in _kept(confirmation, names, home)]
    others = [member for member in _different([*tied, *others]) if member not in tied]
    if others:
        members = [*tied[: max(1, POOL - len(others))], *others][:POOL]
        recipes = [replace(member, by_search=True) for member in members]
        split = recipes[0].trial.split
    else:
        recipes = _comparable(tied[:POOL])
        split = recipes[0].rounds[0].split
    return Pool(
        recipes=tuple(recipes),
        imported=tuple(_imported(stores, sources, names)),
        estimates=estimates,
        split=split,
        notes=tuple(_notes([member for _, member in unconfirmed], names)),
    )


def predictions_of(stores: Stores, member: ExportMember | ImportedMember) -> NDArray[np.float32]:
    """The out-of-fold probabilities by which a possible member is compared with the others, ``(n, C)``."""
    if isinstance(member, ImportedMember):
        return stores.imports.predictions(member.record.id).oof
    return average([stores.trials.prediction(record.id, "oof") for record in member.judged_by])


def check_alike(sources: Sequence[Study]) -> None:
    """Whether predictions of these studies can be compared image by image.

    Raises:
        StudiesDiffer: they cannot; every difference is named.
    """
    first, problems = sources[0], []
    for study in sources[1:]:
        if study.fingerprint != first.fingerprint:
            prints = f"fingerprint {study.fingerprint[:12]}, that of {first.name} is {first.fingerprint[:12]}"
            problems.append(f"{study.name} is on other images ({prints})")
        own, other = (source.spec.sections["protocol"] for source in (study, first))
        for setting in own:
            if own[setting] != other[setting]:
                problems.append(
                    f"{study.name} has protocol.{setting} = {own[setting]}, {first.name} has {other[setting]}"
                )
    if problems:
        raise StudiesDiffer(
            "these studies cannot be blended, which takes the same images, folds and metric:\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )


def _check_weights(stores: Stores, sources: Sequence[Study]) -> None:
    """Studies of one protocol may still be weighted by features of different backbones.

    Raises:
        StudiesDiffer: their images count differently.
    """
    first, *others = [(study, read_image_weights(stores, study)) for study in sources]
    for study, weights in others:
        if weights is not None and first[1] is not None and not np.array_equal(weights.values, first[1].values):
            by = f"{study.name} by {weights.about.get('features')}, {first[0].name} by {first[1].about.get('features')}"
            raise StudiesDiffer(
                f"these studies cannot be blended: their scores are weighted toward the test images, {by}"
            )


def _is_confirmed(confirmation: Confirmation) -> bool:
    """A confirmation that was cut short after the default recipe alone says nothing about any other."""
    return any(finalist.number != DEFAULT_TRIAL for finalist in confirmation.finalists)


def _best(confirmation: Confirmation, names: dict[int, str]) -> tuple[float, ExportMember]:
    """The best finished trial by the search's own scores, and its objective."""
    if not confirmation.ranking:
        which = f"no trial of study {confirmation.study.name}" if names else "no trial"
        raise NothingFinished(f"{which} has finished yet, so there is nothing to export")
    best = confirmation.ranking[0]
    return best.objective, _member(confirmation, best.number, names)


def _member(confirmation: Confirmation, number: int, names: dict[int, str]) -> ExportMember:
    """A finished trial that was not confirmed."""
    study, trial = confirmation.study, confirmation.trials[number]
    recipe = final_recipe(trial.recipe or {}, confirmation.study.spec.final)
    name = MemberName(trial=number, study=names.get(study.id, ""))
    return ExportMember(name=name, study=study, trial=trial, recipe=recipe)


def _kept(confirmation: Confirmation, names: dict[int, str], home: Home) -> Iterable[ExportMember]:
    """Finished trials that were not confirmed and whose networks are in ``home``, the best first."""
    artifacts, folds = ArtifactFolder(home.artifacts), confirmation.study.protocol.folds
    confirmed = {finalist.number for finalist in confirmation.finalists}
    for candidate in confirmation.ranking:
        member = _member(confirmation, candidate.number, names)
        here = len(artifacts.kept_weights(member.study.name, member.trial.work_id)) == folds
        if candidate.number not in confirmed and here and member.trainings:
            yield member


def _judged_together(
    stores: Stores, confirmed: Sequence[Confirmation], names: dict[int, str]
) -> tuple[Estimates | None, list[ExportMember]]:
    """What the confirmations say of all finalists, and those that may as well be the best, the leader first."""
    if not confirmed:
        return None, []
    finalists = {
        (names.get(confirmation.study.id, ""), finalist.number): (confirmation.study, finalist)
        for confirmation in confirmed
        for finalist in confirmation.finalists
    }
    estimates = judge_finalists(stores, confirmed[0].study, [f for _, f in finalists.values()], names)
    tied = []
    for row in estimates.rows:
        if row.tied:
            study, finalist = finalists[row.study, row.number]
            name = MemberName(trial=row.number, study=row.study)
            tied.append(
                ExportMember(
                    name=name, study=study, trial=finalist.trial, recipe=finalist.recipe, rounds=finalist.rounds
                )
            )
    return estimates, tied


def _different(members: Iterable[ExportMember]) -> list[ExportMember]:
    """The first with each recipe."""
    kept: list[ExportMember] = []
    for member in members:
        if all(member.recipe != other.recipe for other in kept):
            kept.append(member)
    return kept


def _comparable(tied: Sequence[ExportMember]) -> list[ExportMember]:
    """Those of them that share a split with all that stand before them and repeat no recipe, with the rounds on the
    splits that all of these ran.
    """
    pool, splits = [tied[0]], {record.split for record in tied[0].rounds}
    for member in _different(tied)[1:]:
        shared = splits & {record.split for record in member.rounds}
        if shared:
            pool.append(member)
            splits = shared
    return [replace(member, rounds=tuple(r for r in member.rounds if r.split in splits)) for member in pool]


def _imported(stores: Stores, sources: Sequence[Study], names: dict[int, str]) -> Iterable[ImportedMember]:
    """What was imported into the studies, the same predictions once."""
    seen: set[str] = set()
    for study in sources:
        for record in stores.imports.all(study.id):
            if record.digest not in seen:
                seen.add(record.digest)
                name = MemberName(label=record.label, study=names.get(study.id, ""))
                yield ImportedMember(name=name, study=study, record=record)


def _notes(unconfirmed: Sequence[ExportMember], names: dict[int, str]) -> Iterable[str]:
    if names and unconfirmed:
        which = ", ".join(member.study.name for member in unconfirmed)
        yield (
            f"nothing was confirmed on fresh splits in {which}: all recipes are compared on the split of the search, "
            f"by which they were chosen (`search confirm --study {unconfirmed[0].study.name}` mends that)"
        )
