"""Read a study as the database keeps it, and check it like a study file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from studies.errors import Problems, StudyError, shown
from studies.file.document import PORTFOLIO, TABLES, Document
from studies.file.overrides import apply_overrides, fit_to_fixed
from studies.load_study import build_spec
from studies.settings import REMOVED_PRUNERS, REMOVED_SETTINGS
from studies.spec import BEGUN_FROM, MOST_SEEDS, PSEUDO_LABELS, PURPOSES, SEARCH, TWO_STAGE, StudySpec


def spec_from_dict(stored: object, overrides: Sequence[str] = ()) -> StudySpec:
    """The reverse of `StudySpec.to_dict`; ``stored`` is checked like a study file.

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
    spec = build_spec(document, problems, lenient=False)
    spec.require_resolved()
    if overrides:
        # An override of one key of a range needs the range by itself.
        single = {path: entry[0] if len(entry) == 1 else entry for path, entry in space.items()}
        document = fit_to_fixed(apply_overrides(dataclasses.replace(document, space=single), overrides))
        spec = build_spec(document, Problems("the stored study", document.overridden), lenient=True)
    if removed is not None:
        spec = dataclasses.replace(spec, search_settings=dataclasses.replace(spec.search_settings, pruner=removed))
    if purpose == PSEUDO_LABELS and not spec.rules.use_test_images:
        raise StudyError(
            "a study with pseudo-labels learns from the test images, which [rules] use_test_images = false forbids"
        )
    return dataclasses.replace(spec, begun_from=begun_from, purpose=purpose, compared_seeds=seeds, class_groups=groups)


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


def _stored_space(stored: object, problems: Problems) -> dict[str, list[object]]:
    """Stored dimensions as entries of a study file's [space]: the tables of each field."""
    by_field: dict[str, list[object]] = {}
    for entry in stored if isinstance(stored, list) else [stored]:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("field"), str):
            problems.add("space", f"{shown(entry)} is no dimension")
            continue
        by_field.setdefault(entry["field"], []).append({key: entry[key] for key in entry if key != "field"})
    return dict(by_field)
