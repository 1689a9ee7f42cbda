"""Read a study from a study file, and check everything in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from studies.errors import Problems, shown
from studies.file.catalog import StudyFile, find_study
from studies.file.document import Document, known_field, parse_document, warn_of_renamed_values
from studies.file.overrides import apply_overrides, fit_to_fixed
from studies.portfolio import PortfolioEntry, read_portfolio, settle_portfolio
from studies.settings import (
    MAX_TEXT,
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
from studies.space.parse_dimensions import check_backbone_name, read_dimensions
from studies.spec import StudySpec
from trainer.recipe.recipe import FIELDS, RecipeError, Scalar


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
    spec = build_spec(document, problems, lenient=False)
    warn_of_renamed_values(document)
    if not overrides and recipe is None:
        return spec
    if recipe is not None:
        document = dataclasses.replace(document, recipe=dict(recipe))
    document = fit_to_fixed(apply_overrides(document, overrides))
    return build_spec(document, Problems(file.label, document.overridden), lenient=True)


def build_spec(document: Document, problems: Problems, *, lenient: bool) -> StudySpec:
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
