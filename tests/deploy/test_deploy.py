"""The files in deploy/: validated by the tools of their formats, checked for the needs of a fleet, and run if
possible."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from search.cli.app import app

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFEST = DEPLOY / "kubernetes" / "workers.yaml"
SCRIPT = DEPLOY / "slurm" / "workers.sh"
KUBERNETES = ("1.31", "1.36")  # releases that must accept the manifest
FAREWELL = 20  # seconds beyond --grace for writing a checkpoint and releasing the trial

SECRET = "hunter2"


def worker_options() -> set[str]:
    """All options of `search worker`."""
    command = typer.main.get_command(app).commands["worker"]  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in parameter.opts}


def grace_of(arguments: list[str]) -> float:
    return float(arguments[arguments.index("--grace") + 1])


# --- Kubernetes -----------------------------------------------------------------------------------------------------


def manifest_problems(text: str) -> list[str]:
    """Problems of a manifest of workers: invalid Kubernetes objects, or if there are none, unsuitable settings."""
    documents = list(yaml.safe_load_all(text))
    problems = []
    for document in documents:
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{document.get('kind')}: {error.message}")
    if problems:
        return problems
    return list(_unsuitable_settings(documents))


def _unsuitable_settings(documents: list[dict[str, Any]]) -> Iterator[str]:
    claims = {document["metadata"]["name"] for document in documents if document["kind"] == "PersistentVolumeClaim"}
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    template = deployment["spec"]["template"]
    pod, (container,) = template["spec"], template["spec"]["containers"]
    if not deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items():
        yield "the selector does not find the pods"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for volume in volumes.values():
        if "persistentVolumeClaim" in volume and volume["persistentVolumeClaim"]["claimName"] not in claims:
            yield f"the volume {volume['name']} has no claim"
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    if {mount["name"] for mount in mounts.values()} != set(volumes):
        yield "volumes and mounts differ"
    environment = {entry["name"]: entry for entry in container["env"]}
    if "secretKeyRef" not in environment["RETABLE_STORAGE"].get("valueFrom", {}):
        yield "the database URL is not from a secret"
    if not mounts[environment["RETABLE_DATA"]["value"]].get("readOnly"):
        yield "the data may be written to"
    if "/tmp" not in mounts:
        yield "nothing can be written to /tmp"
    shared = volumes.get(mounts.get("/dev/shm", {}).get("name"), {}).get("emptyDir", {})
    if shared.get("medium") != "Memory" or "sizeLimit" not in shared:
        yield "/dev/shm has the 64 MiB of a container, or no limit"
    for name in ("RETABLE_HOME", "HOME"):
        folder = Path(environment[name]["value"])
        if not any(folder.is_relative_to(path) for path, mount in mounts.items() if not mount.get("readOnly")):
            yield f"{name} cannot be written to"
    arguments = container["args"]
    if container["command"] != ["search"] or arguments[0] != "worker" or "--stay" not in arguments:
        yield "the container does not run `search worker --stay`"
    unknown = {word for word in arguments if word.startswith("--")} - worker_options()
    if unknown:
        yield f"`search worker` has no option {unknown}"
    if pod["terminationGracePeriodSeconds"] < grace_of(arguments) + FAREWELL:
        yield "a worker is killed before it has released its trial"
    resources = container["resources"]
    if any(resources[kind].get("nvidia.com/gpu") != 1 for kind in ("requests", "limits")):
        yield "the container does not get exactly one GPU"
    if environment["OMP_NUM_THREADS"]["value"] != resources["limits"]["cpu"]:
        yield "threads and CPUs differ"
    allowed = container["securityContext"]
    if (
        not pod["securityContext"].get("runAsNonRoot")
        or allowed.get("allowPrivilegeEscalation") is not False
        or not allowed.get("readOnlyRootFilesystem")
        or allowed.get("capabilities", {}).get("drop") != ["ALL"]
    ):
        yield "the container has more privileges than it needs"


def test_the_manifest_is_valid_and_suitable() -> None:
    assert manifest_problems(MANIFEST.read_text()) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        # Invalid objects.
        ("replicas: 4", "replica: 4"),
        ("replicas: 4", "replicas: four"),
        ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: 'no'"),
        ("terminationGracePeriodSeconds: 90\n      ", "terminationGracePeriod: 90\n      "),
        ("        - name: worker\n          image:", "        - image:"),
        ("[ReadWriteMany]", "ReadWriteMany"),
        ("  selector:\n    matchLabels:", "  selectors:\n    matchLabels:"),
        # Unsuitable settings.
        ("app.kubernetes.io/component: worker}\n    spec:", "app.kubernetes.io/component: other}\n    spec:"),
        ("claimName: retable-home", "claimName: retable-house"),
        ("valueFrom:\n                secretKeyRef: {name: retable-database, key: url}", "value: postgresql://a:b@c/d"),
        ("mountPath: /data, readOnly: true", "mountPath: /data"),
        ("{name: RETABLE_HOME, value: /srv/retable/home}", "{name: RETABLE_HOME, value: /home/retable}"),
        ("            - {name: tmp, mountPath: /tmp}\n", ""),
        ("mountPath: /dev/shm", "mountPath: /dev/mem"),
        ("medium: Memory, ", ""),
        ("medium: Memory, sizeLimit: 8Gi", "medium: Memory"),
        ("--stay, ", ""),
        ("--stay, ", "--stay, --forever, "),
        ("terminationGracePeriodSeconds: 90", "terminationGracePeriodSeconds: 60"),
        ("memory: 24Gi, nvidia.com/gpu: 1", "memory: 24Gi"),
        ('limits: {cpu: "8"', 'limits: {cpu: "16"'),
        ("runAsNonRoot: true", "runAsNonRoot: false"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
        ("drop: [ALL]", "drop: [NET_RAW]"),
    ],
)
def test_a_broken_manifest_has_problems(right: str, wrong: str) -> None:
    text = MANIFEST.read_text()
    assert right in text
    assert manifest_problems(text.replace(right, wrong)) != []


# --- Slurm ----------------------------------------------------------------------------------------------------------


def sbatch_options(text: str) -> dict[str, str]:
    """The options that ``sbatch`` reads: those before the first command. Later ones are comments."""
    options = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            break
        if match := re.fullmatch(r"#SBATCH --([a-z-]+)(?:=(\S+))?", line):
            options[match[1]] = match[2] or ""
    return options


def script_problems(script: Path) -> list[str]:
    """Problems of a batch script of workers."""
    problems = []
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert shellcheck is not None, "pip install -e '.[test]'"
    for tool in (["bash", "-n"], [shellcheck, "--severity=style"]):
        ended = subprocess.run([*tool, str(script)], capture_output=True, text=True, check=False)
        if ended.returncode:
            problems.append(ended.stdout + ended.stderr)
    text = script.read_text()
    if not text.startswith("#!/"):
        problems.append("sbatch needs an interpreter line")
    if "\nset -euo pipefail\n" not in text:
        problems.append("the script continues after an error")
    if len(re.findall(r"^ *# *SBATCH|^#SBATCH", text, re.MULTILINE)) != len(options := sbatch_options(text)):
        problems.append("sbatch does not read one of the #SBATCH lines")
    for name, pattern in {
        "array": r"\d+-\d+",
        "ntasks": "1",
        "gres": "gpu:1",
        "cpus-per-task": r"\d+",
        "mem": r"\d+G",
        "time": r"\d\d:\d\d:\d\d",
        "signal": r"B:USR1@\d+",
        "requeue": "",
        "open-mode": "append",
        "output": r".*%A_%a.*",
    }.items():
        if not re.fullmatch(pattern, options.get(name, "missing")):
            problems.append(f"--{name} is {options.get(name)}")
    (line,) = re.findall(r"^search (worker .*) \"\$@\" &$", text, re.MULTILINE) or [""]
    arguments = line.split()
    if arguments[:1] != ["worker"] or "--stay" not in arguments:
        problems.append("the script does not run `search worker --stay`")
    elif int(options.get("signal", "@0").partition("@")[2]) < grace_of(arguments) + FAREWELL:
        problems.append("a worker is killed before it has released its trial")
    problems += [
        f"`search worker` has no {word}" for word in arguments if word.startswith("--") and word not in worker_options()
    ]
    return problems


@pytest.mark.slow
def test_the_batch_script_is_valid_and_suitable() -> None:
    assert script_problems(SCRIPT) == []
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("done\n", "don\n"),
        ('"$(stat -L -c %a "$file")"', '"$(stat -L -c %a $file)"'),
        ('exit "$status"', 'exit "$statsu"'),
        ("#SBATCH --gres=gpu:1", "#SBATCH --gres=gpu:2"),
        ("#SBATCH --gres=gpu:1", "# SBATCH --gres=gpu:1"),
        ("#SBATCH --requeue\n", ""),
        ("set -euo pipefail\n", ""),
        ("#SBATCH --job-name=retable", "set -euo pipefail\n#SBATCH --job-name=retable"),
        ("--signal=B:USR1@120", "--signal=USR1@120"),
        ("--signal=B:USR1@120", "--signal=B:USR1@60"),
        ("--stay ", "--remain "),
        ("--grace 60", "--grace 60 --forever"),
    ],
)
def test_a_broken_batch_script_has_problems(right: str, wrong: str, tmp_path: Path) -> None:
    text = SCRIPT.read_text()
    assert right in text
    broken = tmp_path / "workers.sh"
    broken.write_text(text.replace(right, wrong))
    assert script_problems(broken) != []


FAKE_WORKER = """#!/bin/sh
trap 'echo asked >> {folder}/signals; exit 0' TERM
trap 'exit 7' USR2
echo "$@" > {folder}/arguments
echo "$RETABLE_STORAGE $OMP_NUM_THREADS" > {folder}/environment
echo $$ > {folder}/pid
while true; do sleep 0.02; done
"""


def eventually(condition: Callable[[], object], patience: float = 100.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has installed a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


class Node:
    """A machine with the batch script, a home folder and a fake program ``search``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "bin" / "search").write_text(FAKE_WORKER.format(folder=folder))
        (folder / "bin" / "search").chmod(0o755)
        self.secret_file = folder / "storage"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        job = subprocess.Popen(
            ["bash", str(SCRIPT), *arguments],
            env={
                "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(self.folder),
                "RETABLE_DATA": "/images",
                "RETABLE_STORAGE_FILE": str(self.secret_file),
                "SLURM_CPUS_PER_TASK": "8",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(job)
        return job

    def read(self, name: str) -> str:
        """Content of a file that the fake worker writes; empty if there is none."""
        path = self.folder / name
        return path.read_text().strip() if path.exists() else ""

    def write_secret(self, mode: int) -> None:
        self.secret_file.write_text(f"postgresql://team:{SECRET}@db/retable\n")
        self.secret_file.chmod(mode)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    for job in made.started:
        if job.poll() is None:
            job.kill()
            job.wait()
        assert job.stdout is not None
        job.stdout.close()
    if pid := made.read("pid"):
        eventually(lambda: not Path(f"/proc/{pid}").exists() or os.kill(int(pid), signal.SIGKILL))


@pytest.mark.slow
def test_a_warning_signal_is_forwarded_once_and_the_script_waits_for_the_worker(node: Node) -> None:
    node.write_secret(0o600)
    job = node.start("--study", "mushrooms")
    eventually(lambda: node.read("pid") and handles(job.pid, signal.SIGTERM))
    assert node.read("arguments") == "worker --stay --grace 60 --study mushrooms"
    assert node.read("environment") == f"postgresql://team:{SECRET}@db/retable 8"
    for pid in (job.pid, int(node.read("pid"))):
        assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    job.send_signal(signal.SIGUSR1)
    assert job.wait(100) == 0
    assert node.read("signals") == "asked"
    assert not Path(f"/proc/{node.read('pid')}").exists()


@pytest.mark.slow
def test_sigterm_is_not_forwarded_and_the_exit_code_is_the_workers(node: Node) -> None:
    job = node.start(RETABLE_STORAGE="postgresql://db/retable")
    eventually(lambda: node.read("pid") and handles(job.pid, signal.SIGTERM))
    job.send_signal(signal.SIGTERM)
    time.sleep(0.3)  # for a wrongly forwarded signal to arrive
    assert job.poll() is None and node.read("signals") == ""
    os.kill(int(node.read("pid")), signal.SIGUSR2)
    assert job.wait(100) == 7
    assert node.read("environment") == "postgresql://db/retable 8"


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_password_file_that_others_may_read_is_refused(node: Node, mode: int) -> None:
    node.write_secret(mode)
    job = node.start()
    output, _ = job.communicate(timeout=100)
    assert job.returncode == 2
    assert f"others may read {node.secret_file}" in output and SECRET not in output


@pytest.mark.slow
def test_missing_settings_are_named(node: Node) -> None:
    job = node.start()
    assert f"write its URL to {node.secret_file}" in job.communicate(timeout=100)[0]
    assert job.returncode == 2
    job = node.start(RETABLE_STORAGE="postgresql://db/retable", RETABLE_DATA="")
    assert "RETABLE_DATA: is the folder of images" in job.communicate(timeout=100)[0]
    assert job.returncode != 0
    assert node.read("pid") == ""
