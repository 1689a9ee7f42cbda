"""The layout: small folders, and imports that never run in a circle."""

from __future__ import annotations

import ast
import builtins
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from search.cli.app import EXPECTED

ROOT = Path(__file__).parents[1]
PACKAGES = ("search", "studies", "trainer", "storage")
MOST_ENTRIES = 13
ERROR_BASES = {
    "search": {"SearchError"},
    "studies": {"StudyError"},
    "trainer": {"TrainerError", "InferenceError"},
    "storage": {"StorageError"},
}
"""The classes of each package that derive from `Exception` itself; `search.cli.app.main` catches these."""
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


@pytest.mark.parametrize("package", PACKAGES)
def test_every_error_derives_from_its_packages_base(package: str) -> None:
    classes = [found for path in (ROOT / package).rglob("*.py") for found in _class_bases(path)]
    errors = {name for name, _ in classes if _is_exception(name, dict(classes))}
    own_bases = ERROR_BASES[package]
    assert own_bases <= errors
    assert [(name, bases) for name, bases in classes if name in own_bases and bases != ["Exception"]] == []
    orphans = [name for name, bases in classes if name in errors - own_bases and not errors & set(bases)]
    assert orphans == []


def test_main_catches_every_base_of_errors() -> None:
    assert {kind.__name__ for kind in EXPECTED} == set().union(*ERROR_BASES.values())


def _class_bases(path: Path) -> list[tuple[str, list[str]]]:
    """Name and names of the base classes of every class that a file defines."""
    classes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ClassDef)]
    return [(node.name, [ast.unparse(base).rpartition(".")[2] for base in node.bases]) for node in classes]


def _is_exception(name: str, bases: dict[str, list[str]]) -> bool:
    if name in bases:
        return any(_is_exception(base, bases) for base in bases[name] if base != name)
    builtin = getattr(builtins, name, None)
    # Classes of libraries are recognised by their names.
    return (isinstance(builtin, type) and issubclass(builtin, BaseException)) or name.endswith(("Error", "Exception"))
