"""The Dockerfile: checked by hadolint, and for what workers and the Kubernetes manifest need. It is not built here."""

from __future__ import annotations

import configparser
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.test_deploy import FAREWELL, MANIFEST, grace_of, worker_options

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
PACKAGES = ("search", "storage", "studies", "trainer")

Instruction = tuple[str, str]
"""Name in capital letters, and arguments."""


def stages(text: str) -> list[list[Instruction]]:
    """The instructions of each stage; the first of each is its ``FROM``."""
    without_comments = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = without_comments.replace("\\\n", " ").splitlines()
    instructions = [
        (line.split(None, 1)[0], " ".join(line.split(None, 1)[1].split())) for line in lines if line.strip()
    ]
    found: list[list[Instruction]] = []
    for instruction in instructions:
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def last(stage: list[Instruction], name: str) -> str:
    return next((arguments for found, arguments in reversed(stage) if found == name), "")


def is_sent(path: str) -> bool:
    """Whether ``.dockerignore`` lets a file of the repository into the build."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        parents = [path, *map(str, Path(path).parents)]
        if any(fnmatch.fnmatch(name, pattern.replace("**/", "*")) for name in parents if name != "."):
            sent = line.startswith("!")
    return sent


def image_problems(text: str, folder: Path) -> list[str]:
    """Problems of a Dockerfile."""
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert hadolint is not None, "pip install -e '.[test]'"
    path = folder / "Dockerfile"
    path.write_text(text)
    ended = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    return ([ended.stdout + ended.stderr] if ended.returncode else []) + list(_unsuitable(stages(text)))


def _unsuitable(found: list[list[Instruction]]) -> Iterator[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    python = config["options"]["python_requires"].removeprefix(">=")
    (deployment,) = (d for d in yaml.safe_load_all(MANIFEST.read_text()) if d["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    if container["image"] != f"retable:{config['metadata']['version']}":
        yield "the manifest names another image"
    build, run = found
    if any(not stage[0][1].startswith(f"python:{python}-slim") for stage in found):
        yield "not the Python of the constraints"
    copied = " ".join(arguments for name, arguments in build if name == "COPY").split()
    for wanted in (*PACKAGES, "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        if wanted not in copied or not (ROOT / wanted).exists() or not is_sent(wanted):
            yield f"{wanted} is not copied"
    installs = [arguments for name, arguments in build if name == "RUN" and "pip install" in arguments]
    if any("--constraint constraints.txt" not in line and "--no-deps" not in line for line in installs):
        yield "libraries are not pinned"
    if "[postgres]" not in installs[0]:
        yield "no driver for PostgreSQL"
    allowed = pod["securityContext"]
    if last(run, "USER") != f"{allowed['runAsUser']}:{allowed['runAsGroup']}":
        yield "not the user of the manifest"
    environment = dict(re.findall(r"(\w+)=(\S+)", last(run, "ENV")))
    folders = {entry["name"]: entry.get("value") for entry in container["env"]}
    for name in ("HOME", "RETABLE_HOME", "RETABLE_DATA"):
        if environment.get(name) != folders[name]:
            yield f"{name} differs from the manifest"
    if environment.get("NO_ALBUMENTATIONS_UPDATE") != "1":
        yield "Albumentations looks for releases on the network"
    if "RETABLE_STORAGE" in str(found):
        yield "a database is part of the image"
    entry_point, command = json.loads(last(run, "ENTRYPOINT")), json.loads(last(run, "CMD"))
    if entry_point != container["command"] or command != container["args"]:
        yield "the image does not run what the manifest runs"
    unknown = {word for word in command if word.startswith("--")} - worker_options()
    if unknown:
        yield f"`search worker` has no option {unknown}"


@pytest.mark.slow
def test_the_image_is_suitable(tmp_path: Path) -> None:
    assert image_problems(DOCKERFILE.read_text(), tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("FROM python:3.11-slim-bookworm AS build", "FROM python AS build"),
        ("RUN pip install --no-cache-dir --constraint", "RUN cd /src && pip install --constraint"),
        ("--constraint constraints.txt ", ""),
        ("COPY studies studies\n", ""),
        (" README.md", ""),
        (".[postgres]", "."),
        ("USER 10001:10001\n", ""),
        ("USER 10001:10001\n", "USER root\n"),
        ("HOME=/srv/retable ", "HOME=/root "),
        ("RETABLE_DATA=/data", "RETABLE_DATA=/images"),
        ("    NO_ALBUMENTATIONS_UPDATE=1 \\\n", ""),
        ("    PYTHONUNBUFFERED=1", "    RETABLE_STORAGE=postgresql://a:b@c/d"),
        ('ENTRYPOINT ["search"]', 'ENTRYPOINT ["python"]'),
        ('"--stay"', '"--forever"'),
    ],
)
def test_an_unsuitable_image_has_problems(right: str, wrong: str, tmp_path: Path) -> None:
    text = DOCKERFILE.read_text()
    assert right in text
    assert image_problems(text.replace(right, wrong), tmp_path) != []


def test_nothing_private_is_sent_to_the_build() -> None:
    for private in (".git/config", "retable.db", "retable/full/model/fold0.safetensors", "database.env", "tests/a.py"):
        assert not is_sent(private), private
    assert not is_sent("search/__pycache__/app.pyc")
    assert is_sent("studies/shipped/full.toml") and is_sent("search/cli/app.py")


def test_the_commands_in_the_head_leave_time_for_a_farewell() -> None:
    head = DOCKERFILE.read_text().partition("FROM")[0]
    (patience,) = re.findall(r"--stop-timeout (\d+)", head)
    command = json.loads(last(stages(DOCKERFILE.read_text())[-1], "CMD"))
    assert int(patience) >= grace_of(command) + FAREWELL
    assert re.search(r"--shm-size \d+g", head)
