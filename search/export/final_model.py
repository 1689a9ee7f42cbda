"""Refits, gathered: each member's views and predictions, and the blend that makes one prediction of them, and of what
was imported. Trainings of search and confirmation whose networks were kept count as refits: they are the same, on the
same split or another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.export.members import ExportMember, ImportedMember
from search.export.plan import ExportPlan
from search.export.pool import predictions_of
from search.runtime.failures import ADVICE
from search.statistics.ensemble_selection import FittedBlend, fit_final
from search.statistics.ranking import average
from search.study_state.study_targets import read_folds, read_targets
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from trainer.common.arrays import Float32Array
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend


class RefitFailed(RuntimeError):  # noqa: N818 - named for the fact
    """A refit did not come out, so there is nothing to export."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MemberRefits:
    """The refits of one recipe. ``n`` training images, ``m`` test images, ``C`` classes, T trainings."""

    member: ExportMember
    records: tuple[TrialRecord, ...]
    """One of each training."""
    views: tuple[str, ...]
    """Test-time views that are averaged."""
    oof_by_training: tuple[Float32Array, ...]
    """Out-of-fold probabilities of each, ``(n, C)``; empty where all images were trained on."""
    test: Float32Array | None
    """Mean over the trainings, ``(m, C)``; None without test images."""

    def oof_of(self, split: int, seed: int) -> Float32Array:
        """Out-of-fold probabilities of one training, ``(n, C)``."""
        return next(
            oof
            for record, oof in zip(self.records, self.oof_by_training, strict=True)
            if (record.split, record.seed) == (split, seed)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Imported:
    """Predictions that were imported, as they are blended with the refits'."""

    member: ImportedMember
    oof: Float32Array
    """``(n, C)``."""
    test: Float32Array | None
    """``(m, C)``; None without test images."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Runnable:
    """The blend without imported predictions: it is what the model folder can run."""

    blend: Blend
    fitted: FittedBlend | None
    """How it was fitted; None where there were no out-of-fold predictions to fit it on."""
    test: Float32Array | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Refits:
    """All members, and what they predict together."""

    members: tuple[MemberRefits, ...]
    """The leader first."""
    imported: tuple[Imported, ...] = ()
    """In the blend they come after the members."""
    blend: Blend
    fitted: FittedBlend | None
    """How the blend was fitted; None where there were no out-of-fold predictions to fit it on."""
    by_confirmations: bool
    """Whether it was fitted and scored on the members' confirmations, because the refits hold nothing out."""
    test: Float32Array | None
    """Blended, ``(m, C)``; None without test images."""
    runnable: Runnable | None = None
    """The members without what was imported; None where nothing was, so that they are the whole."""
    left_out: tuple[str, ...] = ()
    """Members whose refits failed, with the reason, for people."""

    @property
    def has_oof(self) -> bool:
        """Whether the refits have out-of-fold predictions of their own."""
        return bool(self.members[0].oof_by_training)

    @property
    def everyone(self) -> tuple[MemberRefits | Imported, ...]:
        """All that are blended, in the order of the blend."""
        return (*self.members, *self.imported)

    @property
    def model(self) -> Refits | Runnable:
        """What a model folder holds: its blend, and what it predicts for the test images."""
        return self if self.runnable is None else self.runnable

    @property
    def shared_trainings(self) -> list[tuple[int, int]]:
        """Split and seed of those trainings that all members had, in the leader's order."""
        own = [[(record.split, record.seed) for record in member.records] for member in self.members]
        return [training for training in own[0] if all(training in others for others in own)]

    def oof(self, split: int, seed: int) -> Float32Array:
        """Out-of-fold probabilities of one of `shared_trainings` of each member, and imported ones: ``(M, n, C)``."""
        own = (member.oof_of(split, seed) for member in self.members)
        return np.stack([*own, *(part.oof for part in self.imported)])

    def mean_oof(self) -> Float32Array:
        """The same, the mean over the trainings."""
        return np.stack(
            [*(average(member.oof_by_training) for member in self.members), *(i.oof for i in self.imported)]
        )

    def predict_oof(self, members: Float32Array) -> tuple[Float32Array, NDArray[np.int64]]:
        """What the model makes of out-of-fold probabilities ``(M, n, C)``, each image by a blend that was fitted
        without it: probabilities ``(n, C)`` and labels ``(n,)``.
        """
        assert self.fitted is not None, "refits with out-of-fold predictions have a fitted blend"
        return self.fitted.cross_fitted.predict(members)


def gather_refits(stores: Stores, plan: ExportPlan, ids: Sequence[Sequence[int]]) -> Refits:
    """Read the stored predictions of the refits, choose the test-time views of each member, fit the blend.

    A member whose refits failed is left out; the others make the model.

    Args:
        ids: as `search.export.plan.queue_refits` returned them.

    Raises:
        RefitFailed: a refit has not ended yet, or one of the leader failed; says why.
    """
    targets = read_targets(stores, plan.study)
    members, left_out = [], []
    for place, member in enumerate(plan.members):
        try:
            records = tuple(_finished(stores, work_id) for work_id in ids[place])
        except _Failed as error:
            if place == 0:
                raise
            left_out.append(f"{member.name} is not in the ensemble: {error}")
            continue
        members.append(_gather(stores, plan, member, records, targets))
    imported = [_read_imported(stores, member) for member in plan.imported]
    whole = _together(stores, plan, members, imported, targets)
    return Refits(
        members=tuple(members),
        imported=tuple(imported),
        blend=whole.blend,
        fitted=whole.fitted,
        by_confirmations=plan.full_data and whole.fitted is not None,
        test=whole.test,
        runnable=_together(stores, plan, members, [], targets) if imported else None,
        left_out=tuple(left_out),
    )


class _Failed(RefitFailed):
    """It ended, but not well."""


def _finished(stores: Stores, work_id: int) -> TrialRecord:
    record = stores.trials.record_of(work_id)
    if record is None:
        raise RefitFailed("a refit has not ended yet; `search export-best` goes on with it")
    if record.status is not TrialStatus.FINISHED:
        helps = f"; what helps: {ADVICE[record.failure]}" if record.failure else ""
        raise _Failed(f"the {record.kind} with seed {record.seed} ended as {record.status}: {record.reason}{helps}")
    return record


def _gather(
    stores: Stores, plan: ExportPlan, member: ExportMember, records: tuple[TrialRecord, ...], targets: Targets
) -> MemberRefits:
    views = _views(stores, plan, member, records, targets)
    has_test = "test" in stores.trials.prediction_names(records[0].id)
    own = member.recipe.tta != "none"
    test = [_over_views(stores, record, "test", views, own=own) for record in records] if has_test else []
    oof = () if plan.full_data else tuple(_over_views(stores, r, "oof", views, own=own) for r in records)
    return MemberRefits(
        member=member, records=records, views=views, oof_by_training=oof, test=average(test) if test else None
    )


def _read_imported(stores: Stores, member: ImportedMember) -> Imported:
    stored = stores.imports.predictions(member.record.id)
    return Imported(member=member, oof=stored.oof, test=stored.test)


def _together(
    stores: Stores,
    plan: ExportPlan,
    members: Sequence[MemberRefits],
    imported: Sequence[Imported],
    targets: Targets,
) -> Runnable:
    """One prediction of all: by a blend that is fitted on the refits' out-of-fold predictions, on the confirmations of
    models that hold nothing out, and as it was planned where there are none.
    """
    fitted = None
    parts = _judged(stores, plan, members)
    if parts is not None:
        predictions, folds = parts
        stacked = np.stack([*predictions, *(part.oof for part in imported)])
        final = plan.study.spec.final
        fitted = fit_final(stacked, targets, folds, plan.metric, plan.choice.method, calibrate=final.calibrate)
    everyone: list[MemberRefits | Imported] = [*members, *imported]
    shares = np.array([part.member.weight for part in everyone])
    blend = fitted.blend if fitted else Blend(weights=tuple((shares / shares.sum()).tolist()))
    tests = [part.test for part in everyone if part.test is not None]
    return Runnable(
        blend=blend,
        fitted=fitted,
        test=blend.probabilities(np.stack(tests)).astype(np.float32) if tests else None,
    )


def _judged(
    stores: Stores, plan: ExportPlan, members: Sequence[MemberRefits]
) -> tuple[list[Float32Array], NDArray[np.int64]] | None:
    """The out-of-fold predictions of each member to fit a blend on, and the folds that go with them."""
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
    """Those of the recipe: with these the trial was found best. A recipe without any leaves the choice open: the flips
    that help out-of-fold. Models that saw all images cannot tell; refits of the same recipe on folds can.
    """
    from trainer.inference.views import TTA
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
    by_view = {view: average([stores.trials.prediction(r.id, _key("oof", view)) for r in records]) for view in FLIPS}
    return choose_views(targets, by_view, plan.metric)


def _over_views(stores: Stores, record: TrialRecord, name: str, views: Sequence[str], *, own: bool) -> Float32Array:
    """Averaged over ``views``; where these are the recipe's ``own``, the refit has averaged them already."""
    if own:
        return stores.trials.prediction(record.id, name)
    return average([stores.trials.prediction(record.id, _key(name, view)) for view in views])


def _key(name: str, view: str) -> str:
    return f"{name}.{view}"
