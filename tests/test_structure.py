"""The layout: small folders, and imports that never run in a circle."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("search", "studies", "trainer", "storage")
MOST_ENTRIES = 13
UNCOUNTED = {"__init__.py", "__pycache__", "py.typed"}


def test_no_folder_is_crowded() -> None:
    folders = [folder for package in PACKAGES for folder in (ROOT / package, *(ROOT / package).rglob("*"))]
    entries = {
        str(folder.relative_to(ROOT)): sum(entry.name not in UNCOUNTED for entry in folder.iterdir())
        for folder in folders
        if folder.is_dir() and folder.name != "__pycache__"
    }
    assert len(entries) > len(PACKAGES)
    assert {folder: count for folder, count in entries.items() if count > MOST_ENTRIES} == {}


def test_every_package_says_what_it_is_for() -> None:
    packages = [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    silent = [str(path.relative_to(ROOT)) for path in packages if not path.read_text(encoding="utf-8").strip()]
    assert silent == []


def test_imports_run_one_way() -> None:
    """Imports for type checking count, and so do those inside functions."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert any(imports.values())
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"an import circle: {' -> '.join(reversed(error.args[1]))}")
