"""`StudySpec`: one study, complete and checked: fixed and sampled recipe fields, evaluation, budget and data.

`load_study` reads a spec from a study file, `StudySpec.from_dict` from the database. Both run the same checks, without
torch and timm; `studies.resolve_backbones.check_backbones` then checks that the backbones exist.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.errors import Problems, StudyError, shown
from studies.file.catalog import StudyFile, find_study
from studies.file.document import PORTFOLIO, TABLES, Document, known_field, parse_document, warn_of_renamed_values
from studies.file.overrides import apply_overrides, fit_to_fixed
from studies.portfolio import PortfolioEntry, portfolio_params, read_portfolio, settle_portfolio
from studies.settings import (
    MAX_TEXT,
    PRUNERS,
    REMOVED_PRUNERS,
    REMOVED_SETTINGS,
    SAMPLERS,
    ConfirmSettings,
    DataSettings,
    FinalSettings,
    ProbeSettings,
    ProtocolSettings,
    RulesSettings,
    SearchSettings,
    check_scalar,
    read_section,
)
from studies.space.combinations import check_combinations
from studies.space.conditions import settle
from studies.space.dimension import Dimension, assemble, choose, default_of
from studies.space.fit_recipe import starting_at
from studies.space.parse_dimensions import check_backbone_name, read_dimensions
from trainer.recipe.recipe import FIELDS, RecipeError, Scalar

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
    "load_study",
    "study_of",
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
        self._require_resolved()
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
        self._require_resolved()
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
        self._require_resolved()
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
        """The study as JSON values, for the database: ``StudySpec.from_dict(spec.to_dict()) == spec``.

        Raises:
            StudyError: the backbone filter is not resolved yet; a stored study lists the models that it found.
        """
        self._require_resolved()
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

    def _require_resolved(self) -> None:
        if not self.is_resolved:
            raise StudyError(f"the backbones of {self.title!r} are unknown until its filter is resolved")

    @staticmethod
    def from_dict(stored: object, overrides: Sequence[str] = ()) -> StudySpec:
        """The reverse of `to_dict`; ``stored`` is checked like a study file.

        Args:
            overrides: as for `load_study`.

        Raises:
            StudyError: ``stored`` is not a valid study, or an override is invalid; all problems are listed.
        """
        problems = Problems("the stored study")
        if isinstance(stored, Mapping):
            # Studies of earlier releases began without probes, and had neither rules nor another purpose than a search.
            begun = {"probe": {"enabled": False}, "rules": {}, "purpose": SEARCH, "compared_seeds": []}
            stored = {**begun, "class_groups": [], **stored}
        known = {"title", *TABLES, PORTFOLIO, "begun_from", "purpose", "compared_seeds", "class_groups"}
        if not isinstance(stored, Mapping) or set(stored) != known:
            raise StudyError(f"the stored study is a table of {', '.join(sorted(known))}, not {shown(stored)}")
        space = _stored_space(stored["space"], problems)
        tables = {name: stored[name] for name in TABLES if name != "space"}
        for name, table in tables.items():
            if not isinstance(table, Mapping):
                problems.add(name, f"is a table, not {shown(table)}")
        problems.raise_if_any()
        search = {key: value for key, value in stored["search"].items() if key not in REMOVED_SETTINGS}
        removed = search.pop("pruner") if search.get("pruner") in REMOVED_PRUNERS else None
        document = Document(
            label="the stored study",
            title=stored["title"],
            recipe=tables.pop("recipe"),
            space=space,
            portfolio=stored[PORTFOLIO],
            sections={**tables, "search": search},
        )
        begun_from = stored["begun_from"]
        if not isinstance(begun_from, str) or (begun_from and not BEGUN_FROM.fullmatch(begun_from)):
            problems.add("", f"begun_from is STUDY:TRIAL, not {shown(begun_from)}")
        purpose = stored["purpose"]
        if purpose not in PURPOSES:
            problems.add("", f"purpose is {', '.join(PURPOSES[:-1])} or {PURPOSES[-1]}, not {shown(purpose)}")
        seeds = _read_seeds(stored["compared_seeds"], problems)
        groups = _read_groups(stored["class_groups"], purpose, problems)
        spec = _build(document, problems, lenient=False)
        spec._require_resolved()
        if overrides:
            # An override of one key of a range needs the range by itself.
            single = {path: entry[0] if len(entry) == 1 else entry for path, entry in space.items()}
            document = fit_to_fixed(apply_overrides(dataclasses.replace(document, space=single), overrides))
            spec = _build(document, Problems("the stored study", document.overridden), lenient=True)
        if removed is not None:
            spec = dataclasses.replace(spec, search_settings=dataclasses.replace(spec.search_settings, pruner=removed))
        if purpose == PSEUDO_LABELS and not spec.rules.use_test_images:
            raise StudyError(
                "a study with pseudo-labels learns from the test images, which [rules] use_test_images = false forbids"
            )
        return dataclasses.replace(
            spec, begun_from=begun_from, purpose=purpose, compared_seeds=seeds, class_groups=groups
        )


def load_study(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, recipe: Mapping[str, Scalar] | None = None
) -> StudySpec:
    """Read a study file: a bundled one by name, any other by path.

    Args:
        overrides: ``FIELD=VALUE`` changes, applied in turn after the file is checked. A sampled field that one of them
            fixes (``recipe.backbone=resnet18``) is no longer sampled; dimensions whose conditions can then never hold
            are left out.
        recipe: flat and complete; replaces the file's [recipe] before the overrides, so that every field that is not
            sampled takes its value from here.

    Raises:
        StudyError: listing every problem with its file and key, or with the override that caused it.
    """
    return study_of(find_study(name_or_path), overrides, recipe=recipe)


def study_of(
    file: StudyFile, overrides: Sequence[str] = (), *, recipe: Mapping[str, Scalar] | None = None
) -> StudySpec:
    """The study in the text of a file; as `load_study`."""
    problems = Problems(file.label)
    document = parse_document(file, problems)
    spec = _build(document, problems, lenient=False)
    warn_of_renamed_values(document)
    if not overrides and recipe is None:
        return spec
    if recipe is not None:
        document = dataclasses.replace(document, recipe=dict(recipe))
    document = fit_to_fixed(apply_overrides(document, overrides))
    return _build(document, Problems(file.label, document.overridden), lenient=True)


def _build(document: Document, problems: Problems, *, lenient: bool) -> StudySpec:
    """Check everything in ``document``; see `studies.space.conditions.settle` for ``lenient``.

    Raises:
        StudyError: with all ``problems``, those recorded before included.
    """
    sections = document.sections
    base = _read_recipe(document, problems)
    candidates = {path: read_dimensions(path, raw, problems) for path, raw in document.space.items()}
    portfolio: Sequence[PortfolioEntry] = read_portfolio(document.portfolio, problems)
    if not problems:
        # Conditions refer to other entries, so every entry has to be valid first.
        space = settle(candidates, base, explicit=document.recipe.keys(), lenient=lenient, problems=problems)
    if not problems:
        check_combinations(space, base, problems)
    if not problems:
        portfolio = settle_portfolio(portfolio, space, base, lenient=lenient, problems=problems)
    spec = StudySpec(
        title=_read_title(document, problems),
        protocol=read_section("protocol", ProtocolSettings, sections.get("protocol", {}), problems),
        recipe=base,
        space=() if problems else space,
        search_settings=read_section("search", SearchSettings, sections.get("search", {}), problems),
        probe=read_section("probe", ProbeSettings, sections.get("probe", {}), problems),
        confirm=read_section("confirm", ConfirmSettings, sections.get("confirm", {}), problems),
        final=read_section("final", FinalSettings, sections.get("final", {}), problems),
        data=read_section("data", DataSettings, sections.get("data", {}), problems),
        rules=read_section("rules", RulesSettings, sections.get("rules", {}), problems),
        portfolio=() if problems else tuple(portfolio),
    )
    if spec.protocol.weighting != "none" and not spec.rules.use_test_images:
        problems.add(
            "protocol",
            f'weighting = "{spec.protocol.weighting}" learns from the test images, which [rules] use_test_images = '
            "false forbids. Leave one of the two out",
            "weighting",
        )
    problems.raise_if_any()
    return spec


def _read_title(document: Document, problems: Problems) -> str:
    title = document.title
    if not isinstance(title, str) or not 0 < len(title) <= MAX_TEXT or not title.isprintable():
        problems.add("", f"title takes up to {MAX_TEXT} printable characters, not {shown(title)}", "title")
        return ""
    return title


def _read_seeds(stored: object, problems: Problems) -> tuple[int, ...]:
    if (
        isinstance(stored, list)
        and len(stored) <= MOST_SEEDS
        and all(type(seed) is int and 0 <= seed < 2**31 for seed in stored)
    ):
        return tuple(stored)
    problems.add("", f"compared_seeds are up to {MOST_SEEDS} whole numbers of 31 bits, not {shown(stored)}")
    return ()


def _read_groups(stored: object, purpose: object, problems: Problems) -> tuple[tuple[int, ...], ...]:
    if isinstance(stored, list) and all(isinstance(group, list) and len(group) > 1 for group in stored):
        classes = [label for group in stored for label in group]
        known = all(type(label) is int and label >= 0 for label in classes)
        if known and len(set(classes)) == len(classes) and bool(stored) == (purpose == TWO_STAGE):
            return tuple(tuple(group) for group in stored)
    problems.add("", f"class_groups are groups of two classes or more of a second stage, not {shown(stored)}")
    return ()


def _read_recipe(document: Document, problems: Problems) -> dict[str, Scalar]:
    base = {path: info.default for path, info in FIELDS.items()}
    for path, value in document.recipe.items():
        try:
            base[path] = check_scalar(known_field(path), value)
            if path == "backbone":
                check_backbone_name(value)
        except RecipeError as error:
            problems.add("recipe", str(error), path)
    return base


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


def _stored_space(stored: object, problems: Problems) -> dict[str, list[object]]:
    """Stored dimensions as entries of a study file's [space]: the tables of each field."""
    by_field: dict[str, list[object]] = {}
    for entry in stored if isinstance(stored, list) else [stored]:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("field"), str):
            problems.add("space", f"{shown(entry)} is no dimension")
            continue
        by_field.setdefault(entry["field"], []).append({key: entry[key] for key in entry if key != "field"})
    return dict(by_field)
