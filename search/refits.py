"""Refits, gathered: each member's views and predictions, and the blend that makes one prediction of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.ensembling import FittedBlend, fit_final
from search.export import ExportMember, ExportPlan
from search.failures import ADVICE
from search.ledger import Ledger
from search.selection import average
from storage.values import TrialRecord, TrialStatus, WorkKind
from trainer.predict_standalone import Blend

Floats = NDArray[np.float32]


class RefitFailed(RuntimeError):  # noqa: N818 - named for the fact
    """A refit did not come out, so there is nothing to export."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MemberRefits:
    """The refits of one recipe. ``n`` training images, ``m`` test images, ``C`` classes, S seeds."""

    member: ExportMember
    records: tuple[TrialRecord, ...]
    """One of each seed."""
    views: tuple[str, ...]
    """Test-time views that are averaged."""
    oof_by_seed: tuple[Floats, ...]
    """Out-of-fold probabilities of each seed, ``(n, C)``; empty where all images were trained on."""
    test: Floats | None
    """Mean over the seeds, ``(m, C)``; None without test images."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Refits:
    """All members, and what they predict together."""

    members: tuple[MemberRefits, ...]
    """The leader first."""
    blend: Blend
    fitted: FittedBlend | None
    """How the blend was fitted; None where there were no out-of-fold predictions to fit it on."""
    by_confirmations: bool
    """Whether it was fitted and scored on the members' confirmations, because the refits hold nothing out."""
    test: Floats | None
    """Blended, ``(m, C)``; None without test images."""
    left_out: tuple[str, ...] = ()
    """Members whose refits failed, with the reason, for people."""

    @property
    def has_oof(self) -> bool:
        """Whether the refits have out-of-fold predictions of their own."""
        return bool(self.members[0].oof_by_seed)

    def oof(self, seed: int) -> Floats:
        """Out-of-fold probabilities of the members of one seed, ``(M, n, C)``."""
        return np.stack([member.oof_by_seed[seed] for member in self.members])

    def mean_oof(self) -> Floats:
        """The same, the mean over the seeds."""
        return np.stack([average(member.oof_by_seed) for member in self.members])

    def predict_oof(self, members: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """What the model makes of out-of-fold probabilities ``(M, n, C)``, each image by a blend that was fitted
        without it: probabilities ``(n, C)`` and labels ``(n,)``.
        """
        assert self.fitted is not None, "refits with out-of-fold predictions have a fitted blend"
        return self.fitted.nested.predict(members)


def gather_refits(ledger: Ledger, plan: ExportPlan, ids: Sequence[int], y: NDArray[np.int64]) -> Refits:
    """Read the stored predictions of the refits, choose the test-time views of each member, fit the blend.

    A member whose refits failed is left out; the others make the model.

    Args:
        ids: as `search.export.queue_refits` returned them.

    Raises:
        RefitFailed: a refit has not ended yet, or one of the leader failed; says why.
    """
    members, left_out = [], []
    for place, member in enumerate(plan.members):
        own = ids[place * plan.seeds : (place + 1) * plan.seeds]
        try:
            records = tuple(_finished(ledger, work_id) for work_id in own)
        except _Failed as error:
            if place == 0:
                raise
            left_out.append(f"trial {member.number} is not in the ensemble: {error}")
            continue
        members.append(_gather(ledger, plan, member, records, y))
    fitted, by_confirmations = _fit(ledger, plan, members, y)
    blend = fitted.blend if fitted else Blend(weights=(1.0 / len(members),) * len(members))
    tests = [member.test for member in members if member.test is not None]
    return Refits(
        members=tuple(members),
        blend=blend,
        fitted=fitted,
        by_confirmations=by_confirmations,
        test=blend.probabilities(np.stack(tests)).astype(np.float32) if tests else None,
        left_out=tuple(left_out),
    )


class _Failed(RefitFailed):
    """It ended, but not well."""


def _finished(ledger: Ledger, work_id: int) -> TrialRecord:
    record = ledger.runs.record_of(work_id)
    if record is None:
        raise RefitFailed("a refit has not ended yet; `search export-best` goes on with it")
    if record.status is not TrialStatus.FINISHED:
        helps = f"; what helps: {ADVICE[record.failure]}" if record.failure else ""
        raise _Failed(f"the refit with seed {record.seed} ended as {record.status}: {record.reason}{helps}")
    return record


def _gather(
    ledger: Ledger, plan: ExportPlan, member: ExportMember, records: tuple[TrialRecord, ...], y: NDArray[np.int64]
) -> MemberRefits:
    views = _views(ledger, plan, member, records, y)
    has_test = "test" in ledger.runs.prediction_names(records[0].id)
    own = member.recipe.tta != "none"
    test = [_over_views(ledger, record, "test", views, own=own) for record in records] if has_test else []
    oof = () if plan.full_data else tuple(_over_views(ledger, r, "oof", views, own=own) for r in records)
    return MemberRefits(
        member=member, records=records, views=views, oof_by_seed=oof, test=average(test) if test else None
    )


def _fit(
    ledger: Ledger, plan: ExportPlan, members: Sequence[MemberRefits], y: NDArray[np.int64]
) -> tuple[FittedBlend | None, bool]:
    """The blend, and whether the confirmations decided about it."""
    if not plan.full_data:
        predictions = [average(member.oof_by_seed) for member in members]
        folds = ledger.folds(plan.study, plan.split)
    elif all(member.member.rounds for member in members):
        rounds = [member.member.rounds for member in members]
        predictions = [average([ledger.runs.prediction(r.id, "oof") for r in records]) for records in rounds]
        folds = ledger.folds(plan.study, rounds[0][0].split)
    else:
        return None, False
    final = plan.spec.final
    fitted = fit_final(np.stack(predictions), y, folds, plan.metric, plan.choice.way, calibrate=final.calibrate)
    return fitted, plan.full_data


def _views(
    ledger: Ledger, plan: ExportPlan, member: ExportMember, records: Sequence[TrialRecord], y: NDArray[np.int64]
) -> tuple[str, ...]:
    """Those of the recipe: with these the trial was found best. A recipe without any leaves the choice open: the flips
    that help out-of-fold. Models that saw all images cannot tell; refits of the same recipe on folds can.
    """
    from trainer.predict import FLIPS, choose_views
    from trainer.predict_standalone import TTA

    if member.recipe.tta != "none":
        return TTA[member.recipe.tta]
    if not plan.spec.final.tta:
        return ("identity",)
    if plan.full_data:
        refits = ledger.runs.records(plan.study.id, kind=WorkKind.REFIT, status=TrialStatus.FINISHED)
        records = [r for r in refits if r.split == member.trial.split and r.recipe == member.recipe.to_flat()]
        if not records:
            return ("identity",)
    by_view = {view: average([ledger.runs.prediction(r.id, _key("oof", view)) for r in records]) for view in FLIPS}
    return choose_views(y, by_view, plan.metric)


def _over_views(ledger: Ledger, record: TrialRecord, name: str, views: Sequence[str], *, own: bool) -> Floats:
    """Averaged over ``views``; where these are the recipe's ``own``, the refit has averaged them already."""
    if own:
        return ledger.runs.prediction(record.id, name)
    return average([ledger.runs.prediction(record.id, _key(name, view)) for view in views])


def _key(name: str, view: str) -> str:
    return f"{name}.{view}"
