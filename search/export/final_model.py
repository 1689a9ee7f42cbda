"""The final model: predictions and test-time views of each member, and the blend of all members and imports.

Trainings of the search and of the confirmation whose networks were kept count as refits: they trained the same recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.export.candidates.members import ExportMember, ImportedMember
from search.export.candidates.pool import predictions_of
from search.export.plan import ExportPlan
from search.runtime.errors import SearchError
from search.runtime.failures import ADVICE
from search.statistics.blending.blends import with_label_count
from search.statistics.blending.final_blend import FittedBlend, fit_final
from search.statistics.ranking import average
from search.study_state.study_targets import read_folds, read_targets
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from trainer.common.arrays import Float32Array
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend
from trainer.inference.printable import excerpt


class RefitFailed(SearchError):
    """A refit failed or has not ended, so there is nothing to export."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MemberRefits:
    """The refits of one recipe. ``n`` training images, ``m`` test images, ``C`` classes, T trainings."""

    member: ExportMember
    records: tuple[TrialRecord, ...]
    """One for each training."""
    views: tuple[str, ...]
    """Averaged test-time views."""
    oof_by_training: tuple[Float32Array, ...]
    """Out-of-fold probabilities of each training, ``(n, C)``; empty if trained on all images."""
    test: Float32Array | None
    """Test probabilities, mean over the trainings, ``(m, C)``; None without test images."""

    def oof_of(self, split: int, seed: int) -> Float32Array:
        """Out-of-fold probabilities of one training, ``(n, C)``."""
        return next(
            oof
            for record, oof in zip(self.records, self.oof_by_training, strict=True)
            if (record.split, record.seed) == (split, seed)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Imported:
    """Imported predictions that take part in the blend."""

    member: ImportedMember
    oof: Float32Array
    """Out-of-fold probabilities, ``(n, C)``."""
    test: Float32Array | None
    """Test probabilities, ``(m, C)``; None without test images."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Runnable:
    """The blend without imported predictions: it is what the model folder can run."""

    blend: Blend
    fitted: FittedBlend | None
    """How it was fitted; None without out-of-fold predictions to fit it on."""
    test: Float32Array | None
    """Blended test probabilities, ``(m, C)``; None without test images."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Refits:
    """All members, their blend and its predictions."""

    members: tuple[MemberRefits, ...]
    """The leader first."""
    imported: tuple[Imported, ...] = ()
    """They come after the members in the blend."""
    blend: Blend
    fitted: FittedBlend | None
    """How the blend was fitted; None without out-of-fold predictions to fit it on."""
    by_confirmations: bool
    """Whether the blend was fitted and scored on the members' confirmations, because the refits hold nothing out."""
    test: Float32Array | None
    """Blended test probabilities, ``(m, C)``; None without test images."""
    runnable: Runnable | None = None
    """The blend of the members alone; None without imports, because then it is ``blend``."""
    left_out: tuple[str, ...] = ()
    """Members whose refits failed and why, a line each."""

    @property
    def has_oof(self) -> bool:
        """Whether the refits have out-of-fold predictions of their own."""
        return bool(self.members[0].oof_by_training)

    @property
    def all_members(self) -> tuple[MemberRefits | Imported, ...]:
        """Members and imports, in the order of the blend."""
        return (*self.members, *self.imported)

    @property
    def model(self) -> Refits | Runnable:
        """The part of the final model that the model folder holds: without imports."""
        return self if self.runnable is None else self.runnable

    @property
    def shared_trainings(self) -> list[tuple[int, int]]:
        """Split and seed of the trainings that all members have, in the leader's order."""
        trainings = [[(record.split, record.seed) for record in member.records] for member in self.members]
        return [training for training in trainings[0] if all(training in others for others in trainings)]

    def oof(self, split: int, seed: int) -> Float32Array:
        """Out-of-fold probabilities of all M members and imports, ``(M, n, C)``, for one of `shared_trainings`."""
        refitted = (member.oof_of(split, seed) for member in self.members)
        return np.stack([*refitted, *(part.oof for part in self.imported)])

    def mean_oof(self) -> Float32Array:
        """As `oof`, each the mean over the member's trainings."""
        return np.stack(
            [*(average(member.oof_by_training) for member in self.members), *(i.oof for i in self.imported)]
        )

    def predict_oof(self, members: Float32Array) -> tuple[Float32Array, NDArray[np.int64]]:
        """Blend out-of-fold probabilities ``(M, n, C)``, each image by a blend that was fitted without it.

        Returns:
            Probabilities ``(n, C)`` and labels ``(n,)``.
        """
        assert self.fitted is not None, "refits with out-of-fold predictions have a fitted blend"
        return self.fitted.cross_fitted.predict(members)


def gather_refits(stores: Stores, plan: ExportPlan, ids: Sequence[Sequence[int]]) -> Refits:
    """Read the stored predictions of the refits, choose the test-time views of each member, fit the blend.

    A member whose refits failed is left out, unless it is the leader or a second stage.

    Args:
        ids: work items by member, from `search.export.plan.queue_refits`.

    Raises:
        RefitFailed: a refit has not ended yet, or one of the leader's failed; says why.
    """
    targets = read_targets(stores, plan.study)
    members: list[MemberRefits] = []
    left_out: list[str] = []
    for place, member in enumerate(plan.members):
        try:
            records = tuple(_finished(stores, work_id) for work_id in ids[place])
        except _Failed as error:
            if place == 0 or plan.second_stage:
                raise
            left_out.append(f"{member.name} is not in the ensemble: {error}")
            continue
        # A second stage has the views of the first: by itself, it scores all images, also of classes unknown to it.
        views = members[0].views if members and plan.second_stage else None
        members.append(_gather(stores, plan, member, records, targets, views))
    imported = [_read_imported(stores, member) for member in plan.imported]
    whole = _blend(stores, plan, members, imported, targets)
    return Refits(
        members=tuple(members),
        imported=tuple(imported),
        blend=whole.blend,
        fitted=whole.fitted,
        by_confirmations=plan.full_data and whole.fitted is not None,
        test=whole.test,
        runnable=_blend(stores, plan, members, [], targets) if imported else None,
        left_out=tuple(left_out),
    )


class _Failed(RefitFailed):
    """A refit ended without predictions."""


def _finished(stores: Stores, work_id: int) -> TrialRecord:
    record = stores.trials.record_of(work_id)
    if record is None:
        raise RefitFailed("a refit has not ended yet; `search export-best` continues it")
    if record.status is not TrialStatus.FINISHED:
        advice = f"; advice: {ADVICE[record.failure]}" if record.failure else ""
        raise _Failed(
            f"the {record.kind} with seed {record.seed} ended as {record.status}: {excerpt(record.reason)}{advice}"
        )
    return record


def _gather(
    stores: Stores,
    plan: ExportPlan,
    member: ExportMember,
    records: tuple[TrialRecord, ...],
    targets: Targets,
    views: tuple[str, ...] | None,
) -> MemberRefits:
    """The refits of a member. ``views`` is None where its own predictions choose them."""
    views = _views(stores, plan, member, records, targets) if views is None else views
    has_test = "test" in stores.trials.prediction_names(records[0].id)
    averaged = member.recipe.tta != "none"
    test = [over_views(stores, record, "test", views, averaged=averaged) for record in records] if has_test else []
    oof = () if plan.full_data else tuple(over_views(stores, r, "oof", views, averaged=averaged) for r in records)
    return MemberRefits(
        member=member, records=records, views=views, oof_by_training=oof, test=average(test) if test else None
    )


def _read_imported(stores: Stores, member: ImportedMember) -> Imported:
    stored = stores.imports.predictions(member.record.id)
    return Imported(member=member, oof=stored.oof, test=stored.test)


def _blend(
    stores: Stores,
    plan: ExportPlan,
    members: Sequence[MemberRefits],
    imported: Sequence[Imported],
    targets: Targets,
) -> Runnable:
    """Fit the blend on out-of-fold predictions: of the refits, or of the confirmations if the refits held nothing out.

    Without either, take the planned weights.
    """
    fitted = None
    found = _predictions_to_fit(stores, plan, members)
    if found is not None:
        predictions, folds = found
        stacked = np.stack([*predictions, *(part.oof for part in imported)])
        final = plan.study.spec.final
        fitted = fit_final(
            stacked,
            targets,
            folds,
            plan.metric,
            plan.choice.method,
            calibrate=final.calibrate,
            groups=plan.second_stage,
        )
    all_members: list[MemberRefits | Imported] = [*members, *imported]
    shares = np.array([part.member.weight for part in all_members])
    blend = (
        fitted.blend if fitted else with_label_count(Blend(weights=tuple((shares / shares.sum()).tolist())), targets)
    )
    tests = [part.test for part in all_members if part.test is not None]
    return Runnable(
        blend=blend,
        fitted=fitted,
        test=blend.probabilities(np.stack(tests)).astype(np.float32) if tests else None,
    )


def _predictions_to_fit(
    stores: Stores, plan: ExportPlan, members: Sequence[MemberRefits]
) -> tuple[list[Float32Array], NDArray[np.int64]] | None:
    """Out-of-fold predictions of each member, to fit a blend on, and their folds; None if a member has none."""
    if not plan.full_data:
        return [average(member.oof_by_training) for member in members], read_folds(stores, plan.study, plan.split)
    rounds = [member.member.rounds for member in members]
    if not all(rounds):
        return None
    folds = read_folds(stores, plan.study, rounds[0][0].split)
    return [predictions_of(stores, member.member) for member in members], folds


def _views(
    stores: Stores, plan: ExportPlan, member: ExportMember, records: Sequence[TrialRecord], targets: Targets
) -> tuple[str, ...]:
    """The recipe's own test-time views, because the trial was ranked with them.

    For a recipe without any: the flips that improve the out-of-fold score. Models of all images have no such score, so
    earlier refits of the recipe on folds choose.
    """
    from trainer.inference.networks.views import TTA
    from trainer.networks.view_averaging import FLIPS, choose_views

    if member.recipe.tta != "none":
        return TTA[member.recipe.tta]
    if not plan.study.spec.final.tta:
        return ("identity",)
    if plan.full_data:
        refits = stores.trials.records(member.study.id, kind=WorkKind.REFIT, status=TrialStatus.FINISHED)
        records = [r for r in refits if r.split == member.trial.split and r.recipe == member.recipe.to_flat()]
        if not records:
            return ("identity",)
    stored = [stores.trials.prediction_names(record.id) for record in records]
    parts = [name for name in ("oof", "test") if all(name in names for names in stored)]
    known = [view for view in FLIPS if all(_key(part, view) in names for names in stored for part in parts)]
    if not known:
        return ("identity",)  # a trial that the deadline shortened predicts no other view
    by_view = {view: average([stores.trials.prediction(r.id, _key("oof", view)) for r in records]) for view in known}
    return choose_views(targets, by_view, plan.metric)


def over_views(stores: Stores, record: TrialRecord, name: str, views: Sequence[str], *, averaged: bool) -> Float32Array:
    """Mean over test-time ``views`` of the stored predictions called ``name``, ``(n, C)`` or ``(m, C)``.

    Args:
        averaged: whether the stored predictions are this mean already, because the views are the recipe's own.
    """
    # A recipe without views of its own is stored by its single view.
    if averaged or tuple(views) == ("identity",):
        return stores.trials.prediction(record.id, name)
    return average([stores.trials.prediction(record.id, _key(name, view)) for view in views])


def _key(name: str, view: str) -> str:
    return f"{name}.{view}"
