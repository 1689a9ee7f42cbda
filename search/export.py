"""From a study to a submission: which recipe, which refits, which files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.failures import ADVICE
from search.home import Home
from search.ledger import Ledger
from search.selection import average, choose
from search.standing import candidates
from search.training import FULL_DATA_SPLIT
from storage.artifacts import ArtifactFolder
from storage.stored_studies import StoredStudy
from storage.values import TrialRecord, TrialStatus, WorkKind
from studies.spec import StudySpec
from trainer.metrics import score, standard_error
from trainer.recipe import Recipe

Floats = NDArray[np.float32]


class RefitFailed(RuntimeError):  # noqa: N818 - named for the fact
    """A refit did not come out, so there is nothing to export."""


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What is to be refitted. The recipe is the recorded one of the trial, changed only by the study's ``[final]``
    table.
    """

    study: StoredStudy
    spec: StudySpec
    trial: TrialRecord
    recipe: Recipe
    seeds: int
    full_data: bool

    @property
    def split(self) -> int:
        """The split of the refits: that of the search, or none."""
        return FULL_DATA_SPLIT if self.full_data else self.trial.split

    @property
    def models(self) -> int:
        """Networks that one refit trains."""
        return 1 if self.full_data else self.spec.protocol.folds

    @property
    def metric(self) -> str:
        """What the study maximises."""
        return self.spec.protocol.metric


@dataclass(frozen=True, kw_only=True)
class Refits:
    """The refits of a plan, averaged. ``n`` training images, ``m`` test images, ``C`` classes, S seeds."""

    records: tuple[TrialRecord, ...]
    views: tuple[str, ...]
    """Test-time views that are averaged."""
    oof_by_seed: tuple[Floats, ...]
    """Out-of-fold probabilities of each seed, ``(n, C)``; empty where all images were trained on."""
    test: Floats | None
    """``(m, C)``; None without test images."""
    score: float | None
    """Metric of the averaged out-of-fold probabilities; None where all images were trained on."""
    score_error: float | None
    """Its standard error."""


def plan_export(ledger: Ledger, study: StoredStudy, *, seeds: int | None, full_data: bool) -> ExportPlan:
    """Choose the trial and complete its recipe.

    Raises:
        NothingFinished: no trial has finished.
    """
    spec = StudySpec.from_dict(ledger.studies.get(study.name).spec)
    records = ledger.runs.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    best = choose(candidates(records))
    trial = next(record for record in records if record.number == best.number)
    recipe = Recipe.from_flat(trial.recipe or {})
    final = {"epochs": spec.final.epochs, "image_size": spec.final.image_size}
    return ExportPlan(
        study=study,
        spec=spec,
        trial=trial,
        recipe=recipe.replace({name: value for name, value in final.items() if value is not None}),
        seeds=seeds or spec.final.seeds,
        full_data=full_data,
    )


def queue_refits(ledger: Ledger, plan: ExportPlan, home: Home) -> list[int]:
    """Queue one work item a seed, and return their ids. What is refitted already, weights and all, is not done
    again. They are for workers that share this home, because that is where their weights are collected.
    """
    ids = []
    for seed in range(plan.seeds):
        work_id = ledger.queue.add(
            plan.study.id,
            WorkKind.REFIT,
            split=plan.split,
            seed=seed,
            recipe=plan.recipe.to_flat(),
            home=home.identity(),
        )
        record = ledger.runs.record_of(work_id)
        if record is not None and (
            record.status is not TrialStatus.FINISHED or len(weight_files(home, plan.study, work_id)) < plan.models
        ):
            ledger.queue.reopen(work_id, home=home.identity())
        ids.append(work_id)
    return ids


def weight_files(home: Home, study: StoredStudy, work_id: int) -> list[Path]:
    """The fold models of a refit; empty where they are not on this host."""
    return sorted(ArtifactFolder(home.artifacts).weights(study.name, work_id).glob("fold*.safetensors"))


def gather_refits(ledger: Ledger, plan: ExportPlan, ids: Sequence[int], y: NDArray[np.int64]) -> Refits:
    """Read the stored predictions of the refits, choose the test-time views, average.

    Raises:
        RefitFailed: one of them did not finish; says why.
    """
    records = tuple(_finished(ledger, work_id) for work_id in ids)
    views = _views(ledger, plan, records, y)
    has_test = "test" in ledger.runs.prediction_names(records[0].id)
    own = plan.recipe.tta != "none"
    test = [_over_views(ledger, record, "test", views, own=own) for record in records] if has_test else []
    if plan.full_data:
        oof: tuple[Floats, ...] = ()
        value = error = None
    else:
        oof = tuple(_over_views(ledger, record, "oof", views, own=own) for record in records)
        value, error = (measure(plan.metric, y, average(oof)) for measure in (score, standard_error))
    return Refits(
        records=records,
        views=views,
        oof_by_seed=oof,
        test=average(test) if test else None,
        score=value,
        score_error=error,
    )


def _finished(ledger: Ledger, work_id: int) -> TrialRecord:
    record = ledger.runs.record_of(work_id)
    if record is None:
        raise RefitFailed("a refit has not ended yet; `search export-best` goes on with it")
    if record.status is not TrialStatus.FINISHED:
        helps = f"; what helps: {ADVICE[record.failure]}" if record.failure else ""
        raise RefitFailed(f"the refit with seed {record.seed} ended as {record.status}: {record.reason}{helps}")
    return record


def _views(ledger: Ledger, plan: ExportPlan, records: Sequence[TrialRecord], y: NDArray[np.int64]) -> tuple[str, ...]:
    """Those of the recipe: with these the trial was found best. A recipe without any leaves the choice open: the flips
    that help out-of-fold. Models that saw all images cannot tell; refits of the same recipe on folds can.
    """
    from trainer.predict import FLIPS, choose_views
    from trainer.predict_standalone import TTA

    if plan.recipe.tta != "none":
        return TTA[plan.recipe.tta]
    if not plan.spec.final.tta:
        return ("identity",)
    if plan.full_data:
        refits = ledger.runs.records(plan.study.id, kind=WorkKind.REFIT, status=TrialStatus.FINISHED)
        records = [r for r in refits if r.split == plan.trial.split and r.recipe == plan.recipe.to_flat()]
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
