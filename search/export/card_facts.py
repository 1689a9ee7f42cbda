"""What the model card of an export says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from search.export.expected_score import is_optimistic, read_optimism
from search.export.final_model import Imported, Refits
from search.export.model_card import CardFacts, CardMember
from search.export.plan import ExportPlan
from search.export.rationale import (
    chances_line,
    forecast_line,
    reasons,
    second_study_lines,
    starting_weights,
)
from search.study_setup.data_folder import known_folder
from search.study_setup.image_weights import weights_lines
from storage.stores import Stores
from storage.values import TrialStatus
from trainer.data.image_set import ImageSet
from trainer.inference.blend import Blend


def facts_of(
    stores: Stores,
    plan: ExportPlan,
    refits: Refits,
    images: ImageSet,
    own_warnings: tuple[str, ...],
    forecast: Mapping[str, Any] | None,
) -> CardFacts:
    """The facts of an export. ``own_warnings`` follow those of the images."""
    from trainer.common.environment import library_versions

    leader = plan.leader
    lucky = plan.estimates is not None or bool(plan.other_studies) or _search_is_biased(stores, plan)
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
        optimistic=is_optimistic(plan, refits, of_search=lucky),
        lucky=lucky,
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


def _search_is_biased(stores: Stores, plan: ExportPlan) -> bool:
    """Whether nested selection finds a bias in the best score of the search; true where it has none."""
    optimism = read_optimism(stores, plan.study)
    return optimism is None or optimism.has_bias


def _card_members(plan: ExportPlan, refits: Refits) -> list[CardMember]:
    members = []
    for place, (part, weight) in enumerate(zip(refits.all_members, shares_of(refits.blend), strict=True)):
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


def shares_of(blend: Blend) -> list[float | None]:
    """Weight of each member in the mean; None for all of a regression, and for a second stage."""
    shares: list[float | None] = [None if blend.coefficients else weight for weight in blend.weights]
    return [*shares[:-1], None] if blend.second_stage else shares
