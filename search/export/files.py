"""Writes the files of an export into one folder, after reading them back as a check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.export.candidates.members import ExportMember, ImportedMember
from search.export.doubts import doubts_of_export
from search.export.earlier_export import compare_with_earlier, networks_of
from search.export.expected_score import is_optimistic
from search.export.exported_model import verify_model, write_model
from search.export.final_model import Imported, MemberRefits, Refits
from search.export.model_card import CardFacts, CardMember, write_card
from search.export.notes import ExportNotes, ImportNotes, RecipeNotes
from search.export.output.export import Export
from search.export.output.folder import Owner, writing
from search.export.output.manifest import manifest_of, write_manifest
from search.export.output.replacement import replace_export
from search.export.plan import ExportPlan
from search.export.rationale import (
    chances_line,
    forecast_line,
    reasons,
    second_study_lines,
    starting_weights,
    warnings,
)
from search.runtime.home import Home
from search.study_setup.data_folder import known_folder
from search.study_setup.image_weights import weights_lines
from search.study_state.study import Study
from search.study_state.study_targets import read_folds
from storage.stores import Stores
from storage.values import TrialStatus
from trainer.data.folds import write_folds_csv
from trainer.data.image_set import ImageSet
from trainer.evaluation.class_scores import label_scores
from trainer.evaluation.confusion.confusion_matrix import confusion_matrix_png
from trainer.evaluation.label_rules import as_certain
from trainer.evaluation.metrics import METRICS
from trainer.formats.delimited import write_table
from trainer.formats.submission import LABEL_KINDS, check_submission, decide_kind, write_submission
from trainer.inference.blend import Blend
from trainer.inference.predictions import label_cell
from trainer.recipe.recipe import LINEAR_PROBE

LABEL_SCORES = "label_scores.csv"
"""File of an export, in place of the confusion matrix, where images have several labels."""
ADVISED_SEEDS = 3
"""Trainings of each recipe that are advised for a steadier score."""


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
    keep_better: bool = False,
) -> Export:
    """Write submission, predictions, model folder and report into ``folder``, and record the export.

    All files are written and checked in a temporary folder, which then replaces an earlier export in one step
    (`search.export.output.replacement`). Other files in ``folder`` stay.

    Args:
        kind: what the submission holds; None: as the sample submission and the metric imply.
        forecast: of the score on the test images, as stored (see `search.export.rationale.forecast_line`).
        keep_better: do not replace an export that averages more networks and is no worse.

    Raises:
        EarlierExportStays: there is such an export; nothing was written.
        SubmissionError: the submission would not be valid; nothing was written.
        ExportBroken: the model folder fails its check; nothing was written.
        OutputNotOurs, OutputNotWritable, OutputBusy: as `search.export.output.folder.check_output`.
    """
    owner = Owner.of(stores, plan.study.name)
    with writing(folder, owner) as (target, made):
        smaller = compare_with_earlier(stores, plan, refits, target, forecast, keep_better=keep_better)
        write_model(refits, images, home, made / "model")
        submission_kind = None
        trainings = {record.split for member in refits.members for record in member.records if refits.has_oof}
        folds = {split: read_folds(stores, plan.study, split) for split in trainings}
        tolerance = verify_model(made / "model", refits, images, folds)
        if refits.test is not None:
            submission_kind = _write_submission(plan, refits, images, made / "submission.csv", kind)
            _write_test_probabilities(refits.test, images, made / "test_proba.csv")
        numbered = False
        if refits.has_oof:
            write_folds(stores, plan.study, plan.split, made / "folds.csv")
            _write_oof(refits, images, folds, made / "oof.csv")
            _, predicted = refits.predict_oof(refits.mean_oof())
            if images.several_labels:
                oof, _ = refits.predict_oof(refits.mean_oof())
                _write_label_scores(made / LABEL_SCORES, images, oof, predicted)
            else:
                picture = made / "confusion_matrix.png"
                numbered = confusion_matrix_png(picture, images.y, predicted, images.class_names)
        facts = _facts(stores, plan, refits, images, warnings(stores, plan, refits), forecast)
        facts = replace(facts, tolerance=tolerance, numbered=numbered)
        (made / "MODEL_CARD.md").write_text(write_card(facts), encoding="utf-8")
        names = sorted(path.name for path in made.iterdir())
        write_manifest(made, manifest_of(made, database=owner.database, study=owner.study))
        own_warnings = (*smaller, *facts.warnings[len(images.warnings) :])
        export = _export(plan, refits, facts, folder, names, submission_kind, forecast, own_warnings)
        export = replace(export, doubts=tuple(doubts_of_export(stores, plan, export)))
        replace_export(made, target)
        stores.exports.add(
            plan.study.id,
            folder=str(target),
            recipe=plan.leader.recipe.to_flat(),
            score=facts.score,
            score_se=facts.score_error,
            notes=_notes(plan, refits, export.doubts).to_json(),
            forecast=forecast,
        )
    return export


def _export(
    plan: ExportPlan,
    refits: Refits,
    facts: CardFacts,
    folder: Path,
    names: Sequence[str],
    submission_kind: str | None,
    forecast: Mapping[str, Any] | None,
    own_warnings: tuple[str, ...],
) -> Export:
    return Export(
        folder=folder,
        files=tuple(names),
        metric=plan.metric,
        members=tuple(part.member.name for part in refits.all_members),
        estimate=facts.estimate,
        score=facts.score,
        score_error=facts.score_error,
        by_confirmations=refits.by_confirmations,
        optimistic=facts.optimistic,
        networks=networks_of(plan, refits),
        more_seeds_help=any(
            refit.member.recipe.method != LINEAR_PROBE and len(refit.records) < ADVISED_SEEDS
            for refit in refits.members
            if not plan.second_stage  # whose seeds are those that were compared
        ),
        views=tuple(refit.views for refit in refits.members),
        submission_kind=submission_kind,
        reasons=tuple(facts.reasons),
        expected=facts.expected,
        forecast=forecast,
        blend_method=plan.choice.method if len(refits.all_members) > 1 else "equal",
        recipe=plan.leader.recipe.to_flat(),
        default=plan.leader.study.spec.default_recipe(),
        warnings=own_warnings,
    )


def _notes(plan: ExportPlan, refits: Refits, doubts: Sequence[str]) -> ExportNotes:
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
        second_stage=blend.second_stage,
        study=_other_study(plan, plan.leader),
        is_probe=plan.leader.trial.is_probe,
        members=tuple(
            _member_notes(plan, part, weight)
            for part, weight in zip(refits.all_members, _shares(blend), strict=True)
            if len(refits.all_members) > 1
        ),
        labels=None if refits.test is None else blend.labels(refits.test),
        doubts=tuple(doubts),
    )


def _shares(blend: Blend) -> list[float | None]:
    """Weight of each member in the mean; None for all of a regression, and for a second stage."""
    shares: list[float | None] = [None if blend.coefficients else weight for weight in blend.weights]
    return [*shares[:-1], None] if blend.second_stage else shares


def _member_notes(plan: ExportPlan, part: MemberRefits | Imported, weight: float | None) -> RecipeNotes | ImportNotes:
    study = _other_study(plan, part.member)
    if isinstance(part, Imported):
        return ImportNotes(label=part.member.record.label, digest=part.member.record.digest, weight=weight, study=study)
    return RecipeNotes(
        trial=part.member.number,
        backbone=part.member.backbone,
        views=part.views,
        trainings=_trainings(part),
        weight=weight,
        study=study,
        is_probe=part.member.trial.is_probe,
    )


def _trainings(part: MemberRefits) -> tuple[tuple[int, int], ...]:
    """Split and seed of each training."""
    return tuple((record.split, record.seed) for record in part.records)


def _other_study(plan: ExportPlan, member: ExportMember | ImportedMember) -> str | None:
    """Name of the member's study; None if it is the export's own."""
    return None if member.study.id == plan.study.id else member.study.name


def _write_submission(plan: ExportPlan, refits: Refits, images: ImageSet, path: Path, override: str | None) -> str:
    form = images.submission
    assert form is not None and refits.test is not None, "images with a test part have a submission format"
    kind = decide_kind(form, images.class_names, METRICS[plan.metric].needs, override)
    proba = refits.test
    if kind in LABEL_KINDS:  # the label rule may prefer a class other than the most probable
        proba = as_certain(refits.blend.labels(proba), proba.shape[1]).astype(np.float32)
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
        folds: fold of each image, ``(n,)``, by split.
    """
    names = images.class_names
    rows = [["image_id", "fold", "seed", "y_true", "y_pred", *(f"p_{name}" for name in names)]]
    for split, seed in refits.shared_trainings:
        oof, labels = refits.predict_oof(refits.oof(split, seed))
        parts = zip(images.train_ids, folds[split], images.y, labels, oof, strict=True)
        for image_id, fold, y, label, proba in parts:
            cells = (label_cell(y, names), label_cell(label, names), *_cells(proba))
            rows.append([image_id, str(fold), str(seed), *cells])
    write_table(path, rows)


def _write_label_scores(path: Path, images: ImageSet, oof: NDArray[np.float32], predicted: NDArray[np.int64]) -> None:
    """A table with one row for each of several labels: how often it occurs, and how well it is recognised."""
    rows: list[list[str]] = [["label", "images", "predicted", "precision", "recall", "f1", "roc_auc"]]
    for own in label_scores(images.y, oof, predicted):
        shares = (own.score.precision, own.score.recall, own.score.f1, own.roc_auc)
        shown = ("" if value is None else f"{value:.4f}" for value in shares)
        rows.append([images.class_names[own.score.label], str(own.score.images), str(own.predicted), *shown])
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
    records = [record for study in plan.studies for record in stores.trials.records(study.id, kind=kind)]
    statuses = Counter(record.status for record in records if not record.is_probe)
    finished_probes = sum(record.is_probe and record.status is TrialStatus.FINISHED for record in records)
    return CardFacts(
        studies=[study.name for study in plan.studies],
        study_title=plan.study.spec.title,
        folder=folder.name if (folder := known_folder(stores, plan.study.stored)) else "",
        metric=plan.metric,
        members=_card_members(plan, refits),
        trials_finished=statuses[TrialStatus.FINISHED],
        probes_finished=finished_probes,
        trials_pruned=statuses[TrialStatus.PRUNED],
        search_score=leader.trial.value or 0.0,
        search_error=leader.trial.value_se or 0.0,
        estimate=None if plan.estimates is None else plan.estimates.of(leader.number, leader.name.study),
        score=None if refits.fitted is None else refits.fitted.score,
        score_error=None if refits.fitted is None else refits.fitted.error,
        optimistic=is_optimistic(stores, plan, refits),
        folds=plan.study.spec.protocol.folds,
        seeds=len(refits.members[0].records),
        full_data=plan.full_data,
        reasons=reasons(plan, refits),
        expected="" if forecast is None else forecast_line(forecast, plan.metric),
        chances="" if forecast is None else chances_line(forecast),
        weighting=" ".join(weights_lines(stores, plan.study)),
        class_names=images.class_names,
        class_counts=images.class_counts().tolist(),
        train_images=len(images.train_ids),
        several_labels=images.several_labels,
        test_images=len(images.test_ids),
        fingerprint=images.fingerprint,
        corrections="" if images.corrections is None or not images.corrections.changes else images.corrections.sentence,
        starts=starting_weights(refits),
        second_studies=second_study_lines(stores, refits),
        rules=plan.study.spec.rules.forbidden,
        versions=library_versions(),
        warnings=(*images.warnings, *own_warnings),
    )


def _card_members(plan: ExportPlan, refits: Refits) -> list[CardMember]:
    members = []
    for place, (part, weight) in enumerate(zip(refits.all_members, _shares(refits.blend), strict=True)):
        if isinstance(part, Imported):
            members.append(CardMember(name=part.member.name, weight=weight))
            continue
        members.append(
            CardMember(
                name=part.member.name,
                backbone=part.member.backbone,
                weight=weight,
                is_second_stage=bool(refits.blend.second_stage) and place == len(refits.all_members) - 1,
                networks=plan.networks_per_training * len(part.records),
                views=part.views,
                recipe=part.member.recipe.to_flat(),
            )
        )
    return members


def write_folds(stores: Stores, study: Study, split: int, path: Path) -> None:
    """Write the folds of a split as a table: image id, label, duplicate group, fold."""
    dataset = stores.datasets.get(study.fingerprint)
    assert dataset.groups is not None, "duplicates are looked for before a study begins"
    write_folds_csv(
        path,
        ids=dataset.train_ids,
        labels=[label_cell(y, dataset.class_names) for y in dataset.y],
        groups=dataset.groups[: len(dataset.train_ids)],
        folds=read_folds(stores, study, split),
    )
