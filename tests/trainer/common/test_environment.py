"""A torch and a torchvision that do not fit are found out, and the cure is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.common.environment import check_torch_pair, library_versions, looks_unpaired, thread_limit

ROOT = Path(__file__).parents[3]


def test_versions_are_those_installed() -> None:
    import numpy
    import timm

    versions = library_versions()
    assert versions["numpy"] == numpy.__version__
    assert versions["timm"] == timm.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_this_installation_fits() -> None:
    check_torch_pair(thorough=True)


@pytest.mark.parametrize(
    ("torch", "vision", "requires", "unpaired"),
    [
        ("2.6.0", "0.21.0", ["numpy", "torch==2.6.0"], False),
        ("2.6.0", "0.21.0", ["torch (==2.6.0)"], False),
        ("2.15.0", "0.29.2", ["torch (>=2.14.0)"], False),
        ("2.6.0+cpu", "0.21.0+cpu", ["torch==2.6.0"], False),
        ("2.6.0+cpu", "0.21.0", ["torch==2.6.0"], True),
        ("2.6.0", "0.21.0+cpu", ["torch==2.6.0"], True),
        ("2.7.0", "0.21.0", ["torch==2.6.0"], True),
        ("2.7.0", "0.21.0", ["torch (==2.6.0)"], True),
    ],
)
def test_hints_in_versions(torch: str, vision: str, requires: list[str], unpaired: bool) -> None:
    assert looks_unpaired(torch, vision, requires) is unpaired


def install(site: Path, name: str, version: str, code: str) -> None:
    """A distribution with metadata and a module of one file."""
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text(code)
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"


def check_in(site: Path, call: str) -> str:
    """The message of the error that ``call`` raises where the packages of ``site`` come first; "" if none."""
    code = f"""
import sys
from trainer.common.environment import EnvironmentProblem, check_torch_pair
try:
    {call}
except EnvironmentProblem as problem:
    print(problem)
"""
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.slow
def test_a_cpu_torch_beside_the_usual_torchvision_is_found_out(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.6.0+cpu", "")
    install(tmp_path, "torchvision", "0.21.0", BROKEN)
    message = check_in(tmp_path, "check_torch_pair()")
    for said in ("2.6.0+cpu", "0.21.0", "nms does not exist", "pip install --force-reinstall torch torchvision"):
        assert said in message


@pytest.mark.slow
def test_a_pair_that_only_breaks_at_import_is_found_out_by_the_thorough(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.6.0", "")
    install(tmp_path, "torchvision", "0.21.0", BROKEN)
    assert check_in(tmp_path, "check_torch_pair()") == ""
    assert "nms does not exist" in check_in(tmp_path, "check_torch_pair(thorough=True)")


@pytest.mark.slow
def test_an_odd_pair_that_works_is_left_alone(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.6.0a0+git123", "")
    install(tmp_path, "torchvision", "0.21.0", "")
    assert check_in(tmp_path, "check_torch_pair()") == ""


@pytest.mark.slow
def test_nothing_is_imported_for_a_pair_that_looks_right() -> None:
    assert check_in(ROOT, "check_torch_pair(); print({'torch', 'torchvision'} & {*sys.modules})") == "set()\n"


@pytest.mark.slow
def test_what_is_missing_is_named() -> None:
    # Without site-packages, nothing is installed.
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; from trainer.common.environment import *; check_torch_pair()"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert "not installed: torch and torchvision" in done.stderr
    assert "pip install torch torchvision" in done.stderr


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ("2", 2),
        ("2,1", 2),
        (" 08 , 4,2", 8),
        ("", None),
        ("0", None),
        ("-1", None),
        ("two", None),
        (",2", None),
        ("²", None),
        ("9" * 5000, None),
        (None, None),
    ],
)
def test_the_limit_of_threads_is_the_first_number_of_a_list(
    value: str | None, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert thread_limit() == limit
