"""Candidates for the members of a final model: recipes of one or several studies of the same images, and imports.

A study with confirmed recipes contributes all that tie with the leader. Finalists of several studies are compared
together, because a split of the same images has the same folds in all of them. A study without confirmations
contributes its best trial; then all recipes are compared on the split of the search, which all of them ran.

Imported predictions never lead: nothing proves that they were held out, and they have no recipe to refit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search.export.candidates.comparable import check_comparable, check_image_weights
from search.export.candidates.members import ExportMember, ImportedMember
from search.runtime.home import Home
from search.runtime.kept_networks import kept_networks
from search.statistics.estimates import Estimates
from search.statistics.member_names import MemberName
from search.statistics.ranking import NothingFinished, average
from search.study_state.confirmation import Confirmation, read_confirmation, why_skipped
from search.study_state.finalists import judge_finalists
from search.study_state.study import Study
from search.study_state.training_costs import final_recipe
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL
from studies.settings import FinalSettings

POOL = 12
"""Largest number of recipes considered for an ensemble, the best first: more would take minutes and gain nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Candidates for the members, all with comparable out-of-fold predictions of the same images."""

    recipes: tuple[ExportMember, ...]
    """The leader first; all different."""
    imported: tuple[ImportedMember, ...]
    estimates: Estimates | None
    """Of the confirmed recipes; None if none was confirmed."""
    split: int
    """A split that all recipes ran; its folds are the outer folds of a nested comparison."""
    notes: tuple[str, ...] = ()
    """Doubts about the comparison, a sentence each."""

    @property
    def all_members(self) -> tuple[ExportMember | ImportedMember, ...]:
        """Recipes and imported predictions, the leader first."""
        return (*self.recipes, *self.imported)


def read_pool(stores: Stores, sources: Sequence[Study], home: Home | None = None, *, as_trained: bool = False) -> Pool:
    """Collect the candidates of the studies ``sources``, one at least.

    Args:
        home: folder of kept networks. Their trials may take part unconfirmed, because they need no further training.
            None: no such trials.
        as_trained: take unconfirmed trials with the epochs and image size of the search, not those of ``[final]``.

    Raises:
        StudiesDiffer: the studies differ in images, folds, metric or image weights.
        NothingFinished: a study has no finished trial.
    """
    check_comparable(sources)
    check_image_weights(stores, sources)
    confirmations = [read_confirmation(stores, study.name) for study in sources]
    names = {study.id: study.name for study in sources} if len(sources) > 1 else {}
    best = {confirmation.study.id: _best(confirmation, names, as_trained) for confirmation in confirmations}
    confirmed = [confirmation for confirmation in confirmations if _is_confirmed(confirmation)]
    estimates, tied = _compare_finalists(stores, confirmed, names)
    unconfirmed = sorted(
        (best[c.study.id] for c in confirmations if c not in confirmed), key=lambda pair: pair[0], reverse=True
    )
    others = [member for _, member in unconfirmed]
    if home is not None:
        others += [member for confirmation in confirmations for member in _kept(confirmation, names, home, as_trained)]
    others = [member for member in _without_duplicates([*tied, *others]) if member not in tied]
    # Each of these has beaten the best recipe of its first study.
    again = [member for member in others if member.study.second is not None]
    if others:
        members = [*tied[: max(1, POOL - len(others))], *others][:POOL]
        members = [*again, *(member for member in members if member not in again)]
        estimates = None if again else estimates  # which say nothing of the leader
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
        notes=tuple(_notes([c for c in confirmations if c not in confirmed], names)),
    )


def predictions_of(stores: Stores, member: ExportMember | ImportedMember) -> NDArray[np.float32]:
    """The out-of-fold probabilities by which a candidate is compared with the others, ``(n, C)``."""
    if isinstance(member, ImportedMember):
        return stores.imports.predictions(member.record.id).oof
    return average([stores.trials.prediction(record.id, "oof") for record in member.compared_by])


def _is_confirmed(confirmation: Confirmation) -> bool:
    """Whether a recipe was confirmed besides the default one, which alone says nothing about the others."""
    return any(finalist.number != DEFAULT_TRIAL for finalist in confirmation.finalists)


def _best(confirmation: Confirmation, names: dict[int, str], as_trained: bool) -> tuple[float, ExportMember]:
    """The best finished trial by the search's own scores, and its objective."""
    if not confirmation.ranking:
        subject = f"no trial of study {confirmation.study.name}" if names else "no trial"
        raise NothingFinished(f"{subject} has finished yet, so there is nothing to export")
    best = confirmation.ranking[0]
    return best.objective, _member(confirmation, best.number, names, as_trained)


def _member(confirmation: Confirmation, number: int, names: dict[int, str], as_trained: bool) -> ExportMember:
    """A candidate from a finished trial, without confirmations."""
    study, trial = confirmation.study, confirmation.trials[number]
    final = FinalSettings() if as_trained else confirmation.study.spec.final
    recipe = final_recipe(trial.recipe or {}, final)
    name = MemberName(trial=number, study=names.get(study.id, ""), is_probe=trial.is_probe)
    return ExportMember(name=name, study=study, trial=trial, recipe=recipe)


def _kept(confirmation: Confirmation, names: dict[int, str], home: Home, as_trained: bool) -> Iterable[ExportMember]:
    """Finished, unconfirmed trials whose networks are in ``home``, the best first."""
    folds = confirmation.study.protocol.folds
    confirmed = {finalist.number for finalist in confirmation.finalists}
    for candidate in confirmation.ranking:
        member = _member(confirmation, candidate.number, names, as_trained)
        if candidate.number in confirmed or not member.trainings:
            continue
        if len(kept_networks(home, member.study.name, member.trial)) == folds:
            yield member


def _compare_finalists(
    stores: Stores, confirmed: Sequence[Confirmation], names: dict[int, str]
) -> tuple[Estimates | None, list[ExportMember]]:
    """Estimates of all finalists from their confirmations; and the leader with the finalists that tie with it."""
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
            tied.append(
                ExportMember(
                    name=row.name, study=study, trial=finalist.trial, recipe=finalist.recipe, rounds=finalist.rounds
                )
            )
    return estimates, tied


def _without_duplicates(members: Iterable[ExportMember]) -> list[ExportMember]:
    """The first member with each recipe; in a second study, a recipe is another one."""
    kept: list[ExportMember] = []
    for member in members:
        if all((member.recipe, member.study.second) != (other.recipe, other.study.second) for other in kept):
            kept.append(member)
    return kept


def _comparable(tied: Sequence[ExportMember]) -> list[ExportMember]:
    """Members with different recipes and a common split of confirmation, each with its rounds on the common splits."""
    pool, splits = [tied[0]], {record.split for record in tied[0].rounds}
    for member in _without_duplicates(tied)[1:]:
        shared = splits & {record.split for record in member.rounds}
        if shared:
            pool.append(member)
            splits = shared
    return [replace(member, rounds=tuple(r for r in member.rounds if r.split in splits)) for member in pool]


def _imported(stores: Stores, sources: Sequence[Study], names: dict[int, str]) -> Iterable[ImportedMember]:
    """Imports of all studies; equal predictions count once."""
    seen: set[str] = set()
    for study in sources:
        for record in stores.imports.all(study.id):
            if record.digest not in seen:
                seen.add(record.digest)
                name = MemberName(label=record.label, study=names.get(study.id, ""))
                yield ImportedMember(name=name, study=study, record=record)


def _notes(unconfirmed: Sequence[Confirmation], names: dict[int, str]) -> Iterable[str]:
    if names and unconfirmed:
        studies = ", ".join(confirmation.study.name for confirmation in unconfirmed)
        # A second study has the folds of the search alone.
        possible = [c.study.name for c in unconfirmed if c.study.second is None and not why_skipped(c)]
        way = f" (`search confirm --study {possible[0]}` confirms them)" if possible else ""
        yield (
            f"nothing was confirmed on fresh splits in {studies}, so all recipes are compared on the split of the "
            f"search, which chose them{way}"
        )
