"""`StudySpec`: one study, complete and checked: fixed and sampled recipe fields, evaluation, budget and data.

`studies.load_study.load_study` reads a spec from a study file, `studies.stored_spec.spec_from_dict` from the database.
Both run the same checks, without torch and timm; `studies.resolve_backbones.check_backbones` then checks that the
backbones exist.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studies.errors import Problems, StudyError
from studies.portfolio import PortfolioEntry, portfolio_params, settle_portfolio
from studies.settings import (
    PRUNERS,
    SAMPLERS,
    ConfirmSettings,
    DataSettings,
    FinalSettings,
    ProbeSettings,
    ProtocolSettings,
    RulesSettings,
    SearchSettings,
)
from studies.space.dimension import Dimension, assemble, choose, default_of
from studies.space.fit_recipe import starting_at
from trainer.recipe.recipe import Scalar

__all__ = [
    "PRUNERS",
    "SAMPLERS",
    "ConfirmSettings",
    "DataSettings",
    "FinalSettings",
    "ProbeSettings",
    "ProtocolSettings",
    "RulesSettings",
    "SearchSettings",
    "StudyError",
    "StudySpec",
]

FREE_TO_CHANGE = (
    "title",
    "search.trials",
    "search.patience",
    "search.pruner",
    "search.min_epochs",
    "search.reduction_factor",
    "search.startup_trials",
    "search.last_rung",
    "probe",
    "confirm",
    "final",
    "rules",
    "portfolio",
    "begun_from",
    "data.corrections",
    "purpose",
    "compared_seeds",
)
"""Settings that may change while a study runs: no result of a trial depends on them. Corrections change the data, and
with them the fingerprint, which binds a study."""

SEARCH, PRETRAINING, PSEUDO_LABELS = "search", "pretraining", "pseudo_labels"
SELF_DISTILLATION, TWO_STAGE = "self_distillation", "two_stage"
"""Purposes of a study: to find a recipe; to train weights from which other studies begin; to train a known recipe again
with pseudo-labelled test images, toward predictions of networks of the same recipe, or as a second stage that tells
confusable classes apart."""
SECOND_STUDIES = (PSEUDO_LABELS, SELF_DISTILLATION, TWO_STAGE)
"""Purposes of second studies: each trains the best recipe of an export again, in another way."""
PURPOSES = (SEARCH, PRETRAINING, *SECOND_STUDIES)
MOST_SEEDS = 1000
"""Trainings of a second study at most: far more than any export has."""

BEGUN_FROM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}:[0-9]{1,9}")
"""``STUDY:TRIAL``: the name of a study and the number of a trial."""


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """One study. Treat `recipe` as read-only."""

    title: str
    protocol: ProtocolSettings
    recipe: Mapping[str, Scalar]
    """Flat and complete: the value of every recipe field in all trials that do not sample the field."""
    space: tuple[Dimension, ...]
    """Ordered: a dimension comes after the dimensions that its conditions refer to."""
    search_settings: SearchSettings
    probe: ProbeSettings
    confirm: ConfirmSettings
    final: FinalSettings
    data: DataSettings
    rules: RulesSettings
    portfolio: tuple[PortfolioEntry, ...] = ()
    """Known recipes, tried right after the default recipe; see `studies.portfolio`."""
    begun_from: str = ""
    """``STUDY:TRIAL`` whose recipe this study starts from, see `load_study`; empty: none."""
    purpose: str = SEARCH
    """One of `PURPOSES`. No study file holds it."""
    compared_seeds: tuple[int, ...] = ()
    """Seeds of the trainings of a second study, the trial's first: trainings of the first study with the same seeds are
    compared with them. Empty: not a second study. No study file holds them."""
    class_groups: tuple[tuple[int, ...], ...] = ()
    """Groups of confusable classes, by number, that a second stage tells apart: it trains on images of these classes
    alone. Empty: not a second stage. No study file holds them."""

    @property
    def is_resolved(self) -> bool:
        """Whether no backbone filter is left; `studies.resolve_backbones.check_backbones` replaces it by names."""
        return all(dimension.match is None for dimension in self.space)

    def default_params(self) -> dict[str, Scalar]:
        """The sampled values of trial 0, the default recipe, by parameter name.

        Raises:
            StudyError: the backbone filter is not resolved yet.
        """
        self.require_resolved()
        return choose(self.space, self.recipe, default_of)

    def default_recipe(self) -> dict[str, Scalar]:
        """The flat recipe of trial 0.

        Raises:
            StudyError: as `default_params`.
        """
        return self.assemble(self.default_params())

    def portfolio_params(self) -> list[tuple[PortfolioEntry, Mapping[str, Scalar]]]:
        """The portfolio's entries with their sampled values, by parameter name; duplicates and trial 0 are left out.

        Raises:
            StudyError: as `default_params`.
        """
        self.require_resolved()
        known: list[Mapping[str, Scalar]] = [self.default_params()]
        distinct = []
        for entry, params in portfolio_params(self.portfolio, self.space, self.recipe):
            if params not in known:
                known.append(params)
                distinct.append((entry, params))
        return distinct

    def begun_at(
        self, begun_from: str, recipe: Mapping[str, Scalar], overrides: Sequence[str] = ()
    ) -> tuple[StudySpec, list[str]]:
        """The same study with another study's ``recipe`` as trial 0.

        Args:
            begun_from: ``STUDY:TRIAL`` of the recipe.
            recipe: flat and complete; the same that `load_study` was given.
            overrides: as for `load_study`; a default that one of them sets stays.

        Returns:
            The study, and the sampled fields whose range lacks the recipe's value; these keep their defaults.

        Raises:
            StudyError: the backbone filter is not resolved yet.
        """
        self.require_resolved()
        given = [text.partition("=")[0].strip().replace('"', "") for text in overrides]
        kept = {field for field in recipe if f"space.{field}.default" in given}
        wanted = {field: value for field, value in recipe.items() if field not in kept}
        space, lost = starting_at(self.space, self.recipe, wanted)
        problems = Problems(self.title)
        portfolio = settle_portfolio(self.portfolio, space, self.recipe, lenient=True, problems=problems)
        problems.raise_if_any()
        return dataclasses.replace(self, space=space, portfolio=portfolio, begun_from=begun_from), lost

    def assemble(self, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The flat recipe, complete, of the sampled values ``params``, by parameter name.

        Raises:
            StudyError: ``params`` is not what this study samples.
        """
        return assemble(self.space, params, self.recipe)

    def values_of(self, field: str) -> list[Scalar]:
        """Every value that a field without a range takes in some trial, each once."""
        sampled = [dimension for dimension in self.space if dimension.field == field]
        values = [value for dimension in sampled for value in dimension.choices or ()]
        # Where none of its conditions holds, the field has its value of [recipe].
        if all(dimension.when for dimension in sampled):
            values.append(self.recipe[field])
        return list(dict.fromkeys(values))

    @property
    def spec_hash(self) -> str:
        """SHA-256, hexadecimal, of everything except `FREE_TO_CHANGE`.

        Raises:
            StudyError: as `to_dict`.
        """
        binding = self.to_dict()
        for path in FREE_TO_CHANGE:
            table, _, key = path.partition(".")
            _ = binding[table].pop(key) if key else binding.pop(table)
        return hashlib.sha256(json.dumps(binding, sort_keys=True).encode()).hexdigest()

    @property
    def sections(self) -> dict[str, dict[str, Scalar | None]]:
        """All settings of the sections, by table and key of a study file."""
        return {
            "protocol": dataclasses.asdict(self.protocol),
            "search": dataclasses.asdict(self.search_settings),
            "probe": dataclasses.asdict(self.probe),
            "confirm": dataclasses.asdict(self.confirm),
            "final": dataclasses.asdict(self.final),
            "data": dataclasses.asdict(self.data),
            "rules": dataclasses.asdict(self.rules),
        }

    def to_dict(self) -> dict[str, Any]:
        """The study as JSON values, for the database: ``spec_from_dict(spec.to_dict()) == spec``.

        Raises:
            StudyError: the backbone filter is not resolved yet; a stored study lists the models that it found.
        """
        self.require_resolved()
        return {
            "title": self.title,
            "recipe": dict(self.recipe),
            "space": [_dimension_to_dict(dimension) for dimension in self.space],
            **self.sections,
            "portfolio": [entry.to_dict() for entry in self.portfolio],
            "begun_from": self.begun_from,
            "purpose": self.purpose,
            "compared_seeds": list(self.compared_seeds),
            # Left out without any, because the hash of other studies has to stay.
            **({"class_groups": [list(group) for group in self.class_groups]} if self.class_groups else {}),
        }

    def require_resolved(self) -> None:
        """Raise a `StudyError` if the backbone filter is not resolved yet."""
        if not self.is_resolved:
            raise StudyError(f"the backbones of {self.title!r} are unknown until its filter is resolved")


def _dimension_to_dict(dimension: Dimension) -> dict[str, Any]:
    """The dimension as an entry of a study file, with name and field; keys that do not apply are left out."""
    entry: dict[str, Any] = {"name": dimension.name, "field": dimension.field, "default": dimension.default}
    if dimension.choices is not None:
        entry["choices"] = list(dimension.choices)
    else:
        entry |= {"low": dimension.low, "high": dimension.high, "log": dimension.log}
        entry |= {key: value for key in ("step", "off") if (value := getattr(dimension, key)) is not None}
    if dimension.when:
        entry["when"] = {field: list(values) for field, values in dimension.when}
    return entry
