"""Writes the files of an export into one folder, after reading them back as a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from search.export.candidates.members import ExportMember, ImportedMember
from search.export.card_facts import facts_of, shares_of
from search.export.doubts import doubts_of_export
from search.export.earlier_export import compare_with_earlier, networks_of
from search.export.exported_model import verify_model, write_model
from search.export.final_model import Imported, MemberRefits, Refits
from search.export.model_card import CardFacts, write_card
from search.export.notes import ExportNotes, ImportNotes, RecipeNotes
from search.export.output.export import Export, MemberSummary
from search.export.output.folder import Owner, writing
from search.export.output.manifest import manifest_of, write_manifest
from search.export.output.replacement import replace_export
from search.export.output.tables import (
    write_checked_submission,
    write_folds,
    write_label_scores,
    write_oof,
    write_test_probabilities,
)
from search.export.plan import ExportPlan
from search.export.rationale import warnings
from search.runtime.home import Home
from search.study_state.study_targets import read_folds
from storage.stores import Stores
from trainer.data.image_set import ImageSet
from trainer.evaluation.confusion.confusion_matrix import confusion_matrix_png
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
    keep_same: bool = False,
) -> Export:
    """Write submission, predictions, model folder and report into ``folder``, and record the export.

    All files are written and checked in a temporary folder, which then replaces an earlier export in one step
    (`search.export.output.replacement`). Other files in ``folder`` stay.

    Args:
        kind: what the submission holds; None: as the sample submission and the metric imply.
        forecast: of the score on the test images, as stored (see `search.export.rationale.forecast_line`).
        keep_better: do not replace an export that averages more networks and is no worse.
        keep_same: do not replace an export of the same networks that predicts the same.

    Raises:
        EarlierExportStays: there is such an export; nothing was written.
        SubmissionError: the submission would not be valid; nothing was written.
        ExportBroken: the model folder fails its check; nothing was written.
        OutputNotOurs, OutputNotWritable, OutputBusy: as `search.export.output.folder.check_output`.
    """
    owner = Owner.of(stores, plan.study.name)
    with writing(folder, owner) as (target, made):
        unless_same = _notes(plan, refits, doubts=()) if keep_same else None
        smaller = compare_with_earlier(
            stores, plan, refits, target, forecast, keep_better=keep_better, unless_same=unless_same
        )
        write_model(refits, images, home, made / "model")
        submission_kind = None
        trainings = {record.split for member in refits.members for record in member.records if refits.has_oof}
        folds = {split: read_folds(stores, plan.study, split) for split in trainings}
        tolerance = verify_model(made / "model", refits, images, folds)
        if refits.test is not None:
            submission_kind = write_checked_submission(plan, refits, images, made / "submission.csv", kind)
            write_test_probabilities(refits.test, images, made / "test_proba.csv")
        numbered = False
        if refits.has_oof:
            write_folds(stores, plan.study, plan.split, made / "folds.csv")
            write_oof(refits, images, folds, made / "oof.csv")
            _, predicted = refits.predict_oof(refits.mean_oof())
            if images.several_labels:
                oof, _ = refits.predict_oof(refits.mean_oof())
                write_label_scores(made / LABEL_SCORES, images, oof, predicted)
            else:
                picture = made / "confusion_matrix.png"
                numbered = confusion_matrix_png(picture, images.y, predicted, images.class_names)
        facts = facts_of(stores, plan, refits, images, warnings(stores, plan, refits), forecast)
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
        members=tuple(_summary(part) for part in refits.all_members),
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
        warnings=own_warnings,
    )


def _summary(part: MemberRefits | Imported) -> MemberSummary:
    recipe = None if isinstance(part, Imported) else part.member.recipe.to_flat()
    return MemberSummary(name=part.member.name, recipe=recipe, default=part.member.study.spec.default_recipe())


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
            for part, weight in zip(refits.all_members, shares_of(blend), strict=True)
            if len(refits.all_members) > 1
        ),
        labels=None if refits.test is None else blend.labels(refits.test),
        doubts=tuple(doubts),
    )


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
