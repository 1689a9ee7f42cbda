"""The layout: small folders, and imports that never run in a circle."""

from __future__ import annotations

import ast
import builtins
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import optuna
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
KNOW_OPTUNA = (
    *(f"storage/optuna_storage/{name}.py" for name in ("fleet_storage", "optuna_trials", "optuna_rows")),
    "search/tuning/cost_aware_tpe.py",
    "search/tuning/probing/sampler.py",
)
"""Modules that may use Optuna's private names."""


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


def test_optunas_private_names_stay_in_a_few_modules() -> None:
    private = optuna_attributes()
    assert {"_trial_id", "_storage", "_study_id", "_get_trials"} <= private
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    uses = {str(path.relative_to(ROOT)): uses_of_optuna(path, private) for path in sources}
    assert all(uses.pop(module) for module in KNOW_OPTUNA), "the search finds what is known to be there"
    assert {module: found for module, found in uses.items() if found} == {}


def optuna_attributes() -> set[str]:
    """Private attributes of Optuna's studies, trials, storages, samplers and pruners."""
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    trial = study.ask()
    known = (study, trial, study.trials[0], trial.storage, study.sampler, study.pruner, optuna.storages.RDBStorage)
    return {name for thing in known for name in dir(thing) if name.startswith("_") and not name.startswith("__")}


def uses_of_optuna(path: Path, private: set[str]) -> list[str]:
    """Imports of Optuna's private modules and names, and private attributes of anything but ``self``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "optuna":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("optuna.")]
        elif isinstance(node, ast.Attribute):
            owner, whole = ast.unparse(node.value), ast.unparse(node)
            names = [whole] if owner.startswith("optuna") or (owner != "self" and node.attr in private) else []
        found += [f"line {node.lineno}: {name}" for name in names if "._" in name]
    return found
