"""What the wheel declares is what the packages need; ``.ci/wheel`` builds, installs and runs it."""

from __future__ import annotations

import ast
import configparser
import fnmatch
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from search.cli.program.version import REPORTED, version_line

ROOT = Path(__file__).parents[1]
PACKAGES = ("search", "storage", "studies", "trainer")
EXTRAS = {
    "mlflow-skinny": "mlflow",
    "onnxruntime": "onnx",
    "pillow-heif": "heic",
    "psycopg": "postgres",
    "ray": "ray",
    "tensorboard": "tensorboard",
}
"""Distributions that only an extra installs. Each is imported where it is needed, if it is there."""
USED_BY_OTHERS = {"plotly": "optuna-dashboard", "torchvision": "timm"}
"""Requirements that no package imports, and the requirement that uses them."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def names_in(requirements: str) -> set[str]:
    """Distributions of a list of requirements, one a line."""
    lines = [line.strip() for line in requirements.splitlines()]
    return {normal(re.split(r"[<>=!~\[; ]", line)[0]) for line in lines if line and not line.startswith("#")}


def imported_modules(folder: Path) -> dict[str, str]:
    """Top-level modules that the files of a folder import, also inside functions, with one of the files."""
    found: dict[str, str] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {module.partition(".")[0]: str(path.relative_to(ROOT)) for module in modules}
    return found


def third_party(folder: Path) -> dict[str, str]:
    """Distributions that the files of a folder import, with one of the files."""
    providers = packages_distributions()
    own = {*PACKAGES, *sys.stdlib_module_names}
    return {
        normal(providers.get(module, [module])[0]): path
        for module, path in imported_modules(folder).items()
        if module not in own
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_every_imported_library_is_a_requirement(package: str) -> None:
    declared = names_in(setup_cfg()["options"]["install_requires"])
    imported = third_party(ROOT / package)
    assert {name: path for name, path in imported.items() if name not in declared and name not in EXTRAS} == {}
    extras = setup_cfg()["options.extras_require"]
    assert all(name in names_in(extras[extra]) for name, extra in EXTRAS.items())


def test_every_requirement_is_used() -> None:
    declared = names_in(setup_cfg()["options"]["install_requires"])
    imported = set().union(*(third_party(ROOT / package) for package in PACKAGES))
    assert declared - imported == set(USED_BY_OTHERS)
    assert set(USED_BY_OTHERS.values()) <= declared
    assert any(normal(line).startswith("torchvision") for line in requires("timm") or [])


def test_an_import_inside_a_function_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module.py").write_text("def f():\n    from yaml.loader import Loader\n    import os, tqdm\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert set(third_party(tmp_path)) == {"pyyaml", "tqdm"}


def test_the_constraints_name_every_requirement() -> None:
    config = setup_cfg()
    pinned = dict(
        re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    wanted = names_in(config["options"]["install_requires"])
    for extra in ("docs", "postgres", "ray", "test"):
        wanted |= names_in(config["options.extras_require"][extra])
    wanted -= {"retable"}  # an extra that brings another one
    assert wanted - {normal(name) for name in pinned} == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_the_wheel(package: str) -> None:
    data = setup_cfg()["options.package_data"]
    for path in (ROOT / package).rglob("*"):
        if path.is_dir() or path.suffix in (".py", ".pyc"):
            continue
        folder = ".".join(path.parent.relative_to(ROOT).parts)
        patterns = f"{data.get('*', '')} {data.get(folder, '')}".split()
        assert any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns), path
        assert (path.parent / "__init__.py").is_file(), "setuptools finds only folders that are packages"


def test_ci_checks_the_wheel() -> None:
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    beside = run[run.index("\n(\n") : run.index("\n) >")]
    assert "\n    .ci/wheel" in beside and "\nset -e" in run, "and fails with it"
    assert 'wait "$checks" || {' in run and "exit 1" in run
    assert os.access(ROOT / ".ci" / "wheel", os.X_OK)
    subprocess.run(["shellcheck", *sorted(map(str, (ROOT / ".ci").iterdir()))], cwd=ROOT, check=True)


def test_the_classifiers_name_the_oldest_python_that_is_supported() -> None:
    config = setup_cfg()
    (oldest,) = re.findall(r">=(\d+\.\d+)", config["options"]["python_requires"])
    assert f"Programming Language :: Python :: {oldest}" in config["metadata"]["classifiers"].splitlines()
    assert "License ::" not in config["metadata"]["classifiers"], "the licence expression replaces it"


def test_the_version_line_names_what_a_bug_report_needs() -> None:
    line = version_line()
    assert line.startswith("retable 0.1.0: Python 3.")
    for name in REPORTED:
        assert re.search(rf", {name} \d+\.\d+|: Python \S+, {name} \d", line), name


@pytest.mark.slow
def test_the_version_is_printed_without_importing_a_library() -> None:
    code = (
        "import sys; sys.argv = ['search', '--version']\n"
        "from search.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in ('torch', 'optuna', 'timm', 'numpy', 'sqlalchemy') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    version, modules = done.stdout.splitlines()
    assert version == version_line()
    assert modules == "[]"
