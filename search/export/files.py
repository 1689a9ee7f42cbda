"""The files of an export, written into one folder and read back before they count."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.export.exported_model import verify_model, write_model
from search.export.final_model import Imported, MemberRefits, Refits
from search.export.members import ExportMember, ImportedMember
from search.export.model_card import CardFacts, CardMember, write_card
from search.export.notes import ExportNotes, ImportNotes, RecipeNotes
from search.export.plan import ExportPlan
from search.export.rationale import chances_line, forecast_line, reasons, warnings
from search.runtime.home import Home
from search.statistics.estimates import Estimate
from search.statistics.member_names import MemberName
from search.study_setup.image_weights import weights_lines
from search.study_state.study import Study
from search.study_state.study_targets import read_folds
from storage.stores import Stores
from storage.values import TrialStatus
from trainer.data.folds import write_folds_csv
from trainer.data.image_set import ImageSet
from trainer.evaluation.confusion_matrix import confusion_matrix_png
from trainer.evaluation.metrics import METRICS
from trainer.formats.delimited import write_table
from trainer.formats.submission import check_submission, decide_kind, write_submission
from trainer.recipe.recipe import Scalar


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was written."""

    folder: Path
    files: tuple[str, ...]
    metric: str
    members: tuple[MemberName, ...]
    """What it is made of, the leader first."""
    estimate: Estimate | None
    """Of the leader alone, from fresh splits; None where nobody was confirmed."""
    score: float | None
    score_error: float | None
    by_confirmations: bool
    """Whether the score is that of the confirmations, because the model itself was trained on all images."""
    networks: int
    """That are averaged, of all recipes together."""
    views: tuple[tuple[str, ...], ...]
    """Test-time views of each recipe."""
    submission_kind: str | None
    reasons: tuple[str, ...]
    """Why it is made of these, for people."""
    expected: str
    """What is expected on the test images, for people; empty where there is no forecast."""
    forecast: Mapping[str, Any] | None
    """The same as numbers, see `search.statistics.score_forecast.Forecast`."""
    way: str
    """How the members are blended: a key of `search.export.rationale.WAYS`."""
    recipe: Mapping[str, Scalar]
    """The leader's, flat, as it is exported."""
    default: Mapping[str, Scalar]
    """The default recipe of the study that found it."""
    warnings: tuple[str, ...]


def write_export(
    stores: Stores,
    plan: ExportPlan,
    refits: Refits,
    images: ImageSet,
    home: Home,
    folder: Path,
    kind: str | None,
    *,
    forecast: Mapping[str, Any] | None = None,
) -> Export:
    """Write submission, predictions, model folder and report into ``folder``, and record the export.

    All files are made and checked beside ``folder`` first, then moved into it; other files that lie there stay.

    Args:
        kind: what the submission holds, where a person wants something else than the sample and the metric say.
        forecast: what score is expected on the test images, as it is stored (see
        `search.export.rationale.forecast_line`).

    Raises:
        SubmissionError: the submission would not be valid; nothing was written.
        ExportBroken: as it says; nothing was written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch)
        write_model(refits, images, home, made / "model")
        submission_kind = None
        if refits.test is not None:
            verify_model(made / "model", refits, images)
            submission_kind = _write_submission(plan, refits, images, made / "submission.csv", kind)
            _write_test_probabilities(refits.test, images, made / "test_proba.csv")
        if refits.has_oof:
            write_folds(stores, plan.study, plan.split, made / "folds.csv")
            folds = {split: read_folds(stores, plan.study, split) for split, _ in refits.shared_trainings}
            _write_oof(refits, images, folds, made / "oof.csv")
            _, predicted = refits.predict_oof(refits.mean_oof())
            confusion_matrix_png(made / "confusion_matrix.png", images.y, predicted, images.class_names)
        facts = _facts(stores, plan, refits, images, warnings(stores, plan, refits), forecast)
        (made / "MODEL_CARD.md").write_text(write_card(facts), encoding="utf-8")
        names = sorted(path.name for path in made.iterdir())
        _move_into(made, folder)
    stores.exports.add(
        plan.study.id,
        folder=str(folder.resolve()),
        recipe=plan.leader.recipe.to_flat(),
        score=facts.score,
        score_se=facts.score_error,
        notes=_notes(plan, refits).to_json(),
        forecast=forecast,
    )
    return Export(
        folder=folder,
        files=tuple(names),
        metric=plan.metric,
        members=tuple(part.member.name for part in refits.everyone),
        estimate=facts.estimate,
        score=facts.score,
        score_error=facts.score_error,
        by_confirmations=refits.by_confirmations,
        networks=plan.models * sum(len(part.records) for part in refits.members),
        views=tuple(refit.views for refit in refits.members),
        submission_kind=submission_kind,
        reasons=tuple(facts.reasons),
        expected=facts.expected,
        forecast=forecast,
        way=plan.choice.method if len(refits.everyone) > 1 else "equal",
        recipe=plan.leader.recipe.to_flat(),
        default=plan.leader.study.spec.default_recipe(),
        warnings=tuple(facts.warnings[len(images.warnings) :]),
    )


def _notes(plan: ExportPlan, refits: Refits) -> ExportNotes:
    blend, leader = refits.blend, refits.members[0]
    return ExportNotes(
        trial=plan.leader.number,
        seeds=len(leader.records),
        trainings=_trainings(leader),
        full_data=plan.full_data,
        views=leader.views,
        temperature=blend.temperature,
        offsets=blend.offsets,
        cuts=blend.cuts,
        study=_foreign(plan, plan.leader),
        members=tuple(
            _member_notes(plan, part, None if blend.coefficients else weight)
            for part, weight in zip(refits.everyone, blend.weights, strict=True)
            if len(refits.everyone) > 1
        ),
        labels=None if refits.test is None else blend.labels(refits.test),
    )


def _member_notes(plan: ExportPlan, part: MemberRefits | Imported, weight: float | None) -> RecipeNotes | ImportNotes:
    study = _foreign(plan, part.member)
    if isinstance(part, Imported):
        return ImportNotes(label=part.member.record.label, digest=part.member.record.digest, weight=weight, study=study)
    return RecipeNotes(
        trial=part.member.number,
        backbone=part.member.backbone,
        views=part.views,
        trainings=_trainings(part),
        weight=weight,
        study=study,
    )


def _trainings(part: MemberRefits) -> tuple[tuple[int, int], ...]:
    """Split and seed of each."""
    return tuple((record.split, record.seed) for record in part.records)


def _foreign(plan: ExportPlan, member: ExportMember | ImportedMember) -> str | None:
    """Which other study a member is from; None: the export's own."""
    return None if member.study.id == plan.study.id else member.study.name


def _write_submission(plan: ExportPlan, refits: Refits, images: ImageSet, path: Path, override: str | None) -> str:
    form = images.submission
    assert form is not None and refits.test is not None, "images with a test part have a submission format"
    kind = decide_kind(form, images.class_names, METRICS[plan.metric].needs, override)
    proba = refits.test
    if kind in ("label", "integer"):  # the decision rule need not pick the largest probability
        proba = np.eye(proba.shape[1], dtype=np.float32)[refits.blend.labels(proba)]
    write_submission(path, form, images.class_names, images.test_ids, proba, kind)
    check_submission(path, form, images.class_names, kind)
    return kind


def _write_test_probabilities(test: NDArray[np.float32], images: ImageSet, path: Path) -> None:
    header = ["image_id", *(f"p_{name}" for name in images.class_names)]
    rows = ([name, *_cells(row)] for name, row in zip(images.test_ids, test, strict=True))
    write_table(path, [header, *rows])


def _write_oof(refits: Refits, images: ImageSet, folds: Mapping[int, NDArray[np.int64]], path: Path) -> None:
    """
    Args:
        folds: of each split, ``(n,)``.
    """
    names = images.class_names
    rows = [["image_id", "fold", "seed", "y_true", "y_pred", *(f"p_{name}" for name in names)]]
    for split, seed in refits.shared_trainings:
        oof, labels = refits.predict_oof(refits.oof(split, seed))
        parts = zip(images.train_ids, folds[split], images.y, labels, oof, strict=True)
        for image_id, fold, y, label, proba in parts:
            rows.append([image_id, str(fold), str(seed), names[y], names[label], *_cells(proba)])
    write_table(path, rows)


def _cells(proba: NDArray[np.float32]) -> list[str]:
    return [f"{value:.8g}" for value in proba]


def _facts(
    stores: Stores,
    plan: ExportPlan,
    refits: Refits,
    images: ImageSet,
    own_warnings: tuple[str, ...],
    forecast: Mapping[str, Any] | None,
) -> CardFacts:
    from trainer.common.environment import library_versions

    leader = plan.leader
    kind = leader.trial.kind
    statuses = [record.status for study in plan.studies for record in stores.trials.records(study.id, kind=kind)]
    return CardFacts(
        studies=[study.name for study in plan.studies],
        title=plan.study.spec.title,
        metric=plan.metric,
        members=_card_members(plan, refits),
        trials_finished=statuses.count(TrialStatus.FINISHED),
        trials_pruned=statuses.count(TrialStatus.PRUNED),
        search_score=leader.trial.value or 0.0,
        search_error=leader.trial.value_se or 0.0,
        estimate=None if plan.estimates is None else plan.estimates.of(leader.number, leader.name.study),
        score=None if refits.fitted is None else refits.fitted.score,
        score_error=None if refits.fitted is None else refits.fitted.error,
        folds=plan.study.spec.protocol.folds,
        seeds=len(refits.members[0].records),
        full_data=plan.full_data,
        reasons=reasons(plan, refits),
        expected="" if forecast is None else forecast_line(forecast, plan.metric),
        chances="" if forecast is None else chances_line(forecast),
        weighting=" ".join(weights_lines(stores, plan.study)),
        class_names=images.class_names,
        class_counts=images.class_counts().tolist(),
        test_images=len(images.test_ids),
        fingerprint=images.fingerprint,
        versions=library_versions(),
        warnings=(*images.warnings, *own_warnings),
    )


def _card_members(plan: ExportPlan, refits: Refits) -> list[CardMember]:
    stacked = bool(refits.blend.coefficients)
    members = []
    for part, share in zip(refits.everyone, refits.blend.weights, strict=True):
        weight = None if stacked else share
        if isinstance(part, Imported):
            members.append(CardMember(name=part.member.name, weight=weight))
            continue
        members.append(
            CardMember(
                name=part.member.name,
                backbone=part.member.backbone,
                weight=weight,
                networks=plan.models * len(part.records),
                views=part.views,
                recipe=part.member.recipe.to_flat(),
            )
        )
    return members


def _move_into(made: Path, folder: Path) -> None:
    """Move everything from ``made`` into ``folder``, replacing what has the same name."""
    folder.mkdir(exist_ok=True)
    for path in sorted(made.iterdir()):
        target = folder / path.name
        if target.is_dir():
            # A folder cannot be replaced in one step: the old one steps aside into the scratch folder first.
            target.rename(made / f".old-{path.name}")
        path.replace(target)


def write_folds(stores: Stores, study: Study, split: int, path: Path) -> None:
    """Write the frozen folds of a split as a table: image_id, label, duplicate group, fold."""
    dataset = stores.datasets.get(study.fingerprint)
    assert dataset.groups is not None, "duplicates are looked for before a study begins"
    write_folds_csv(
        path,
        ids=dataset.train_ids,
        labels=[dataset.class_names[y] for y in dataset.y],
        groups=dataset.groups[: len(dataset.train_ids)],
        folds=read_folds(stores, study, split),
    )
