"""Warm starts: the recipes that a new study tries first, from its portfolio and from earlier studies."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from search.study_state.optuna_attributes import ORIGIN_ATTRIBUTE
from search.study_state.search_trials import candidates
from search.study_state.study import Study
from search.tuning.earlier_studies import (
    DatasetTraits,
    EarlierStudy,
    EarlierTrial,
    RememberedRecipe,
    distance,
    is_near,
    remembered_recipes,
    traits_of,
)
from storage.optuna_storage.optuna_rows import user_attribute
from storage.records.datasets import StoredDataset
from storage.records.study_rows import StoredStudy
from storage.stores import Stores
from storage.values import TrialStatus, WorkKind
from studies.errors import StudyError
from studies.portfolio import PortfolioEntry
from studies.spec import StudySpec
from trainer.data.image_statistics import ImageStatistics
from trainer.recipe.optimizer_table import OPTIMIZERS
from trainer.recipe.recipe import Recipe, RecipeError, Scalar

DEFAULT, PORTFOLIO, EARLIER, BY_HAND = "default", "portfolio", "earlier study", "by hand"
"""Sources of warm starts. The origin of a warm start begins with its source."""

TRIALS_PER_WARM_START = 5
"""The budget allows one warm start for this number of its trials."""
MAX_WARM_STARTS = 5
"""Maximum number of warm starts in addition to the default recipe."""

MAX_STUDIES_READ = 20
"""Maximum number of earlier studies whose trials are read."""

IMAGE_STATISTICS = "pictures"
"""Key of the `ImageStatistics` in a stored data set's summary. Databases hold this key, so it must not change."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """A recipe that a new study tries early."""

    params: Mapping[str, Scalar]
    """Values of the search space, by parameter name."""
    origin: str
    """Source and details for people, see `search.study_state.optuna_attributes.ORIGIN_ATTRIBUTE`."""


def plan_warm_starts(
    stores: Stores, spec: StudySpec, dataset: StoredDataset, budget: int, *, memory: bool
) -> list[WarmStart]:
    """Choose the warm starts of a new study.

    The first is the default recipe. Then come recipes of earlier studies with the same metric, the portfolio, and
    recipes of earlier studies with other metrics.

    In addition to the default recipe there is one warm start for every `TRIALS_PER_WARM_START` trials of the budget, at
    least one and at most `MAX_WARM_STARTS`, within the budget. Near-duplicates of an earlier warm start are left out.

    Args:
        spec: resolved specification of the study.
        dataset: the stored data set of the study.
        budget: number of trials of the study.
        memory: whether earlier studies in this database are used.
    """
    max_additional = min(MAX_WARM_STARTS, max(1, budget // TRIALS_PER_WARM_START), budget - 1)
    default = WarmStart(params=spec.default_params(), origin=f"{DEFAULT}: the study's own recipe")
    planned = [default]
    earlier = _nearest_studies(stores, dataset) if memory else []
    metric = spec.protocol.metric
    same_metric = [study for study in earlier if study.metric == metric]
    other_metrics = [study for study in earlier if study.metric != metric]
    for source in (
        _from_earlier_studies(spec, same_metric),
        _from_portfolio(spec),
        _from_earlier_studies(spec, other_metrics),
    ):
        for start in source:
            if len(planned) <= max_additional and not any(
                is_near(spec.space, start.params, known.params) for known in planned
            ):
                planned.append(start)
    return planned


def origins_of(stores: Stores, study: str) -> dict[int, str]:
    """Origins of the trials that no sampler proposed, by trial number."""
    origins = user_attribute(stores.database, study, ORIGIN_ATTRIBUTE)
    return {number: str(origin) for number, origin in origins.items()}


def _from_portfolio(spec: StudySpec) -> Iterator[WarmStart]:
    """The entries in their order, those with an optimizer that is slow on GPUs last."""

    def is_slow(found: tuple[PortfolioEntry, Mapping[str, Scalar]]) -> bool:
        rule = OPTIMIZERS.get(str(dict(found[0].settings).get("optimizer.name")))
        return rule is not None and rule.slow_on_gpus

    for entry, params in sorted(spec.portfolio_params(), key=is_slow):
        yield WarmStart(params=params, origin=f"{PORTFOLIO}: {entry.source}")


def _from_earlier_studies(spec: StudySpec, earlier: Sequence[EarlierStudy]) -> Iterator[WarmStart]:
    for remembered in remembered_recipes(earlier, spec.space, spec.recipe):
        yield WarmStart(params=remembered.params, origin=_origin_of(remembered))


def _origin_of(remembered: RememberedRecipe) -> str:
    study, result = remembered.study, remembered.trial.result
    where = "these images" if study.same_data else f"other images, distance {study.distance:.2f}"
    return f"{EARLIER}: {study.name} trial {result.number} ({study.metric} {result.value:.4f} on {where})"


def _nearest_studies(stores: Stores, dataset: StoredDataset) -> list[EarlierStudy]:
    """The nearest studies that have finished trials, by distance; at the same distance the latest first."""
    new_traits = _traits(dataset)
    traits: dict[str, DatasetTraits] = {}
    studies = stores.studies.all()
    for study in studies:
        if study.fingerprint not in traits:
            traits[study.fingerprint] = _traits(stores.datasets.get(study.fingerprint))

    def sort_key(study: StoredStudy) -> tuple[bool, float, int]:
        to_new = distance(new_traits, traits[study.fingerprint])
        return study.fingerprint != dataset.fingerprint, to_new, -study.id

    nearest = sorted(studies, key=sort_key)[:MAX_STUDIES_READ]
    read = (_read_earlier_study(stores, study, dataset.fingerprint, sort_key(study)[1]) for study in nearest)
    return [study for study in read if study is not None and study.trials]


def _read_earlier_study(
    stores: Stores, study: StoredStudy, fingerprint: str, distance_to_new: float
) -> EarlierStudy | None:
    """An earlier study with its finished trials; None for a pre-training or a second study, and if its
    specification is not valid in this release.
    """
    try:
        known = Study.of(study)
    except StudyError as error:
        log.info("study %s is not remembered: %s", study.name, error)
        return None
    if known.is_pretraining or known.second is not None:
        return None
    metric = known.metric
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    recipes = {record.number: record.recipe for record in records}
    trials = []
    for result in candidates([record for record in records if not record.is_probe], metric):
        try:
            recipe = Recipe.from_flat(recipes[result.number] or {}).to_flat()
        except RecipeError as error:
            log.info("trial %d of study %s cannot be a warm start: %s", result.number, study.name, error)
            continue
        trials.append(EarlierTrial(result=result, recipe=recipe))
    same_data = study.fingerprint == fingerprint
    return EarlierStudy(name=study.name, same_data=same_data, distance=distance_to_new, metric=metric, trials=trials)


def _traits(dataset: StoredDataset) -> DatasetTraits:
    image_statistics = ImageStatistics.from_dict(dataset.summary[IMAGE_STATISTICS])
    return traits_of(dataset.fingerprint, dataset.y, len(dataset.class_names), image_statistics)
