"""The files that a project is run by agree with each other: CI, pre-commit, Makefile, packaging."""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGES = ("search", "storage", "studies", "trainer")


def ci_commands() -> list[str]:
    """The commands of ``.ci/run``, one a line, ``a && b`` as two."""
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    plain = (line.strip() for line in lines if line.strip() and not line.startswith("#"))
    return [command.strip() for line in plain for command in line.split("&&")]


def ci_linters() -> list[str]:
    """What ``.ci/run`` runs beside the tests, without the check of the site."""
    commands = ci_commands()
    begin, end = (
        next(i for i, each in enumerate(commands) if each.startswith(word)) for word in ("renice", ".ci/site")
    )
    return commands[begin + 1 : end]


def hooks() -> list[dict[str, Any]]:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    return [hook for repository in config["repos"] for hook in repository["hooks"]]


def workflow() -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    return loaded


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def recipe_of(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    (found,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return [line.strip() for line in found.splitlines()]


def test_the_workflow_runs_what_ci_runs() -> None:
    (job,) = workflow()["jobs"].values()
    assert [step["run"] for step in job["steps"] if step.get("run", "").startswith(".ci/")] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_workflow_runs_for_pull_requests_and_for_main() -> None:
    triggers = workflow()[True]  # YAML 1.1 reads the key `on` as true
    assert triggers["push"]["branches"] == ["main"]
    assert "pull_request" in triggers


def test_the_workflow_uses_the_oldest_python_that_is_supported() -> None:
    (job,) = workflow()["jobs"].values()
    (version,) = (step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", ""))
    assert setup_cfg()["options"]["python_requires"] == f">={version}"


def test_the_hooks_are_the_linters_of_ci() -> None:
    assert [hook["entry"] for hook in hooks()] == ci_linters()
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks())


def test_make_runs_the_same_linters_and_tests() -> None:
    assert recipe_of("lint") == ci_linters()
    assert recipe_of("test") == ["pytest"]
    assert recipe_of("install")[0].replace("-e", "--editable") in (ROOT / ".ci" / "install").read_text()
    assert ".ci/install" in ci_commands()


def test_the_quickstart_of_make_is_the_readmes() -> None:
    (command,) = recipe_of("run")
    assert f"    pip install -e . && {command} " in (ROOT / "README.md").read_text()


def test_the_fast_tests_leave_out_a_marker_that_exists() -> None:
    (command,) = recipe_of("test-fast")
    (marker,) = re.findall(r'-m "not (\w+)"', command)
    markers = setup_cfg()["tool:pytest"]["markers"].split("\n")
    assert marker in {line.partition(":")[0].strip() for line in markers}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_tells_type_checkers_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
    data = setup_cfg()["options.package_data"]
    assert "py.typed" in f"{data.get(package, '')} {data.get('*', '')}".split()


def test_the_licence_that_is_declared_is_the_one_that_is_there() -> None:
    metadata = setup_cfg()["metadata"]
    assert metadata["license_expression"] == "MIT"
    assert (ROOT / metadata["license_files"]).read_text().startswith("MIT License\n")


PAGES = [*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", sorted(PAGES), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\((?!https://)([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        assert not heading or heading in headings(linked.read_text()), target


def headings(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.replace("`", "").lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.name == "README.md" or f"]({page.relative_to(ROOT / 'docs')})" in index


def test_the_readme_names_every_shipped_study() -> None:
    shipped = {path.stem for path in (ROOT / "studies").rglob("*.toml")}
    assert len(shipped) >= 5
    for name in shipped:
        assert f"| `{name}` |" in (ROOT / "README.md").read_text()


# --- What pages name, in backticks and in commands ------------------------------------------------------------------

NAMED_IN = [ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", ROOT / "README.md", ROOT / "benchmarks" / "README.md"]
NAMED_IN += sorted((ROOT / "docs").rglob("*.md"))
TOP = r"(?:search|trainer|storage|studies|benchmarks|tests|docs|deploy|\.ci|\.github)"


def missing_paths(text: str) -> list[str]:
    """The paths below a folder of the repository that a page names in backticks and that do not exist.

    ``NAME`` stands for any name: its folder has to exist. ``*`` has to match something.
    """
    named = re.findall(rf"`({TOP}/[^`\s:]*)`", text)
    missing = []
    for path in named:
        fixed = re.split(r"/[^/]*NAME", path)[0]
        if not list(ROOT.glob(fixed.rstrip("/"))):
            missing.append(path)
    return missing


def missing_modules(text: str) -> list[str]:
    """Modules of this repository in ``python -m MODULE`` that are no files."""
    named = re.findall(r"python -m ((?:benchmarks|search|trainer)[\w.]*)", text)
    return [
        module
        for module in named
        if not any((ROOT / f"{module.replace('.', '/')}{end}").is_file() for end in (".py", "/__main__.py"))
    ]


@pytest.mark.parametrize("page", NAMED_IN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_paths_and_modules_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    assert missing_paths(text) == []
    assert missing_modules(text) == []


@pytest.mark.parametrize(
    "wrong", ["see `trainer/nowhere.py`", "see `studies/elsewhere/NAME.toml`", "see `tests/*.rs`", "see `docs/none.md`"]
)
def test_a_path_that_does_not_exist_is_noticed(wrong: str) -> None:
    assert len(missing_paths(wrong)) == 1


def test_a_module_that_does_not_exist_is_noticed() -> None:
    assert missing_modules("python -m benchmarks.nowhere") == ["benchmarks.nowhere"]
