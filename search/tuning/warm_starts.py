"""What a new study tries right after its default recipe: its portfolio, and what did well in earlier studies."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from search.study_state.optuna_attributes import ORIGIN_ATTRIBUTE
from search.study_state.snapshot import candidates
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
from storage.optuna_storage import user_attribute
from storage.records.datasets import StoredDataset
from storage.records.studies import StoredStudy
from storage.stores import Stores
from storage.values import TrialStatus, WorkKind
from studies.errors import StudyError
from studies.spec import StudySpec
from trainer.data.image_statistics import ImageStatistics
from trainer.recipe.recipe import Recipe, RecipeError, Scalar

DEFAULT, PORTFOLIO, MEMORY, BY_HAND = "default", "portfolio", "memory", "by hand"
"""What origins begin with."""

SHARE = 5
"""Of this many trials of the budget one is known beforehand."""
MOST = 5
"""Recipes beside the default that a study begins with at most, whatever its budget."""

LOOKED_AT = 20
"""Earlier studies whose trials are read, the nearest ones."""

PICTURES = "pictures"
"""Key of a stored data set's summary: its `ImageStatistics`."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """A recipe to be tried early."""

    params: Mapping[str, Scalar]
    """Values by parameter name."""
    origin: str
    """For people, see `ORIGIN_ATTRIBUTE`."""


def plan_warm_starts(
    stores: Stores, spec: StudySpec, dataset: StoredDataset, budget: int, *, memory: bool
) -> list[WarmStart]:
    """The default recipe, then what is known to do well: recipes of earlier studies with the same metric, the
    portfolio, recipes of earlier studies with other metrics. Beside the default at most a fifth of the budget, one at
    least and `MOST` at most. What is nearly the same as something before it is left out.

    Args:
        spec: resolved.
        dataset: as it is stored.
        memory: whether earlier studies of this database are asked.
    """
    room = min(MOST, max(1, budget // SHARE), budget - 1)
    default = WarmStart(params=spec.default_params(), origin=f"{DEFAULT}: the study's own recipe")
    planned = [default]
    earlier = _nearest_studies(stores, dataset) if memory else []
    metric = spec.protocol.metric
    alike = [study for study in earlier if study.metric == metric]
    others = [study for study in earlier if study.metric != metric]
    for offers in (_recollected(spec, alike), _portfolio(spec), _recollected(spec, others)):
        for offer in offers:
            if len(planned) <= room and not any(is_near(spec.space, offer.params, had.params) for had in planned):
                planned.append(offer)
    return planned


def origins_of(stores: Stores, study: str) -> dict[int, str]:
    """Who proposed the trials of a study that no sampler did, by number."""
    origins = user_attribute(stores.database, study, ORIGIN_ATTRIBUTE)
    return {number: str(origin) for number, origin in origins.items()}


def _portfolio(spec: StudySpec) -> Iterator[WarmStart]:
    for entry, params in spec.portfolio_params():
        yield WarmStart(params=params, origin=f"{PORTFOLIO}: {entry.source}")


def _recollected(spec: StudySpec, earlier: Sequence[EarlierStudy]) -> Iterator[WarmStart]:
    for remembered in remembered_recipes(earlier, spec.space, spec.recipe):
        yield WarmStart(params=remembered.params, origin=_remembered(remembered))


def _remembered(remembered: RememberedRecipe) -> str:
    study, result = remembered.study, remembered.trial.result
    where = "these images" if study.same_data else f"other images, distance {study.distance:.2f}"
    return f"{MEMORY}: {study.name} trial {result.number} ({study.metric} {result.value:.4f} on {where})"


def _nearest_studies(stores: Stores, dataset: StoredDataset) -> list[EarlierStudy]:
    """The nearest studies that have finished trials; of those on the same data the latest first."""
    here = _traits(dataset)
    known: dict[str, DatasetTraits] = {}
    studies = stores.studies.all()
    for study in studies:
        if study.fingerprint not in known:
            known[study.fingerprint] = _traits(stores.datasets.get(study.fingerprint))

    def farness(study: StoredStudy) -> tuple[bool, float, int]:
        away = distance(here, known[study.fingerprint])
        return study.fingerprint != dataset.fingerprint, away, -study.id

    nearest = sorted(studies, key=farness)[:LOOKED_AT]
    read = (_read(stores, study, dataset.fingerprint, farness(study)[1]) for study in nearest)
    return [study for study in read if study is not None and study.trials]


def _read(stores: Stores, study: StoredStudy, fingerprint: str, away: float) -> EarlierStudy | None:
    """A study with its finished trials; None where its specification is none that this release knows."""
    try:
        metric = Study.of(study).metric
    except StudyError as error:
        log.info("study %s is not remembered: %s", study.name, error)
        return None
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    recipes = {record.number: record.recipe for record in records}
    trials = []
    for result in candidates(records, metric):
        try:
            recipe = Recipe.from_flat(recipes[result.number] or {}).to_flat()
        except RecipeError as error:
            log.info("trial %d of study %s is not remembered: %s", result.number, study.name, error)
            continue
        trials.append(EarlierTrial(result=result, recipe=recipe))
    same_data = study.fingerprint == fingerprint
    return EarlierStudy(name=study.name, same_data=same_data, distance=away, metric=metric, trials=trials)


def _traits(dataset: StoredDataset) -> DatasetTraits:
    pictures = ImageStatistics.from_dict(dataset.summary[PICTURES])
    return traits_of(dataset.fingerprint, dataset.y, len(dataset.class_names), pictures)
