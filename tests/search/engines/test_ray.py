"""Workers on a Ray cluster with several nodes on this machine: real Ray, real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.cluster_utils import Cluster

from search.engines.interface import EngineError, Fleet, WorkerCommand
from search.engines.ray import RayFleet
from search.engines.restarts import SHORT_LIVES
from search.study_setup.create_study import create_study
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import search_is_over
from search.workflow.watch import expire_dead_workers
from storage.stores import Stores
from storage.values import TrialStatus
from tests.search.small_study import study_plan

pytestmark = pytest.mark.slow

SECRET = "hunter2"
OBJECT_STORE = 80 * 2**20  # bytes; Ray takes no less
CLUSTER_OPTIONS = {
    "worker_niceness": 0,
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""Ray declares a silent node dead after seconds instead of minutes, and does not let busy processes starve its own.

By default Ray runs its processes at niceness 15: beside ten busy ones, each took 17 s to start.
"""

WAITING = "echo $$ $PPID > {folder}/$RETABLE_PLACE.pid\nwhile true; do sleep 0.05; done"

AddNode = Callable[..., Any]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster whose head node has no room for workers."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    head = {
        "num_cpus": 0,
        "object_store_memory": OBJECT_STORE,
        "include_dashboard": False,
        "_system_config": CLUSTER_OPTIONS,
    }
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()
    patch.undo()


@pytest.fixture
def add_node(cluster: Cluster) -> Iterator[AddNode]:
    """Adds nodes for one test."""

    def add(**arguments: Any) -> Any:
        return cluster.add_node(**{"num_cpus": 1, "object_store_memory": OBJECT_STORE, **arguments})

    yield add
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def command(tmp_path: Path) -> WorkerCommand:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "train.csv").write_text("id,label\n")
    return WorkerCommand(
        study="colours",
        storage_url=f"postgresql://team:{SECRET}@nowhere/retable",
        data=tmp_path / "images",
        home=tmp_path / "home",
        options=("--stay",),
    )


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """A few lines of shell that run in the place of a worker."""

    def write(lines: str) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{lines.format(folder=tmp_path)}\n")
        path.chmod(0o755)
        return str(path)

    return write


def eventually(condition: Callable[[], object], patience: float = 100.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pid_of(place: int, folder: Path) -> int:
    """Process id of the latest worker at that place; 0: none yet."""
    file = folder / f"{place}.pid"
    text = file.read_text() if file.exists() else ""
    return int(text.split()[0]) if text else 0


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def process_titles() -> bytes:
    titles = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            titles += path.read_bytes()
        except OSError:
            continue  # it has just ended
    return titles


def test_workers_run_where_there_is_room_without_showing_the_url(
    cluster: Cluster,
    add_node: AddNode,
    command: WorkerCommand,
    program: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = [add_node(), add_node()]
    python = program('echo "$@"; env > {folder}/$RETABLE_PLACE.env\n' + WAITING)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    fleet: Fleet = RayFleet(command, 3, tmp_path / "logs", python=python)
    with fleet:
        eventually(lambda: fleet.poll() and sum(pid_of(place, tmp_path) > 0 for place in range(3)) == 2)
        eventually(
            lambda: (
                fleet.poll()
                and fleet.waits_for() == "waiting for room on the cluster: 1 of 3 workers (CPUs each: 1, GPUs: 0)"
            )
        )
        assert not fleet.dead_workers() and not fleet.crash_report()
        place = next(place for place in range(3) if pid_of(place, tmp_path))
        pid, parent = map(int, (tmp_path / f"{place}.pid").read_text().split())
        environment = (tmp_path / f"{place}.env").read_text().splitlines()
        assert {
            f"RETABLE_STORAGE={command.storage_url}",
            f"RETABLE_PARENT={parent}",
            "OMP_NUM_THREADS=1",
            "OMP_WAIT_POLICY=PASSIVE",
            "CUDA_VISIBLE_DEVICES=",
        } <= set(environment)
        assert b"NodeWorker" in Path(f"/proc/{parent}/cmdline").read_bytes()
        log = (command.home / ".cache" / "logs" / "colours" / f"ray-{place}.log").read_text()
        assert log == f"-P -m search.cli worker --study colours --data {command.data} --home {command.home} --stay\n"
        assert SECRET.encode() not in process_titles()

        os.kill(pid, signal.SIGKILL)
        dead: list[str] = []
        eventually(lambda: dead.extend(fleet.dead_workers()) or not fleet.poll() or dead)
        assert [name.rpartition("-")[0] for name in dead] == [f"{socket.gethostname()}-{pid}"]
        eventually(lambda: fleet.poll() and sum(is_alive(pid_of(place, tmp_path)) for place in range(3)) == 2)
        assert (
            f"worker {place} on {socket.gethostname()} ended with exit code -9"
            in (tmp_path / "logs" / "ray-workers.log").read_text()
        )

        fleet.ask_to_stop()
        assert fleet.wait(100.0), "the worker that waited for room is withdrawn"
        assert not fleet.poll() and fleet.waits_for() == ""
        assert not any(is_alive(pid_of(place, tmp_path)) for place in range(3))
    for node in [*nodes, cluster.head_node]:
        for log in Path(node.get_logs_dir_path()).rglob("*"):
            assert not log.is_file() or SECRET.encode() not in log.read_bytes(), log


def test_a_worker_lost_with_its_node_is_restarted_on_another(
    cluster: Cluster, add_node: AddNode, command: WorkerCommand, program: Callable[[str], str], tmp_path: Path
) -> None:
    nodes = [add_node(), add_node()]
    # They ignore SIGTERM and have to be killed.
    python = program("trap '' TERM\n" + WAITING)
    clock = Clock()
    with RayFleet(command, 2, tmp_path / "logs", address=cluster.address, python=python, clock=clock) as fleet:
        eventually(lambda: fleet.poll() and pid_of(0, tmp_path) and pid_of(1, tmp_path) and not fleet.waits_for())
        node_of = {slot.place: slot.node.node_id for slot in fleet._slots if slot.node is not None}
        assert len(set(node_of.values())) == 2, "one worker per node"
        place = next(place for place, node_id in node_of.items() if node_id == nodes[0].node_id)
        lost = pid_of(place, tmp_path)

        cluster.remove_node(nodes[0], allow_graceful=False)
        dead: list[str] = []
        eventually(lambda: dead.extend(fleet.dead_workers()) or not fleet.poll() or dead)
        assert [name.rpartition("-")[0] for name in dead] == [f"{socket.gethostname()}-{lost}"]
        assert fleet.poll() and "waiting for room on the cluster: 1 of 2 workers" in fleet.waits_for()
        assert fleet.crash_report() == "", "the loss of a node is no crash"

        add_node()
        # The clock stands still: a worker that had crashed would wait for its pause to end.
        eventually(lambda: fleet.poll() and pid_of(place, tmp_path) != lost and not fleet.waits_for())
        assert not fleet.dead_workers()
        pids = [lost, pid_of(0, tmp_path), pid_of(1, tmp_path)]
        assert is_alive(pids[1]) and is_alive(pids[2])

        fleet.ask_to_stop()
        assert not fleet.wait(0.5)
        fleet.kill()
        eventually(lambda: not any(is_alive(pid) for pid in pids))
        assert fleet.wait(0.0) and not fleet.poll()


def test_exit_codes_are_distinguished_and_a_crashing_worker_is_given_up(
    cluster: Cluster, add_node: AddNode, command: WorkerCommand, program: Callable[[str], str], tmp_path: Path
) -> None:
    add_node(num_cpus=3)
    python = program(
        "case $RETABLE_PLACE in 0) exit 0 ;; 1) echo 'error: there is no database'; exit 2 ;; esac\n"
        "echo another life; exit 1"
    )
    clock = Clock()
    with RayFleet(command, 3, tmp_path / "logs", address=cluster.address, python=python, clock=clock) as fleet:
        for life in range(1, SHORT_LIVES):
            pause = 2.0 ** (life - 1)
            eventually(lambda pause=pause: fleet.poll() and fleet.waits_for() == f"worker 2 restarts in {pause:.0f} s")
            clock.now += pause
        eventually(lambda: not fleet.poll())
        report = fleet.crash_report()
        assert "worker 0" not in report, "its work was done"
        assert f"worker 1 on {socket.gethostname()} ended with exit code 2; the end of " in report
        assert "  error: there is no database" in report
        assert f"worker 2 on {socket.gethostname()} ended with exit code 1; the end of " in report
        assert len(fleet.dead_workers()) == 2 + SHORT_LIVES
    said = (tmp_path / "logs" / "ray-workers.log").read_text()
    assert said.count("ended with exit code") == 1 + SHORT_LIVES
    log = command.home / ".cache" / "logs" / "colours" / "ray-2.log"
    assert log.read_text() == "another life\n" * SHORT_LIVES


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python before 3.11.4 unpacks nothing")
def test_the_data_is_sent_once_per_node_and_workers_share_a_gpu(
    cluster: Cluster, add_node: AddNode, command: WorkerCommand, program: Callable[[str], str], tmp_path: Path
) -> None:
    add_node(num_cpus=4, num_gpus=1)
    (command.data / "train").mkdir()
    (command.data / "train" / "p1.png").write_bytes(os.urandom(40 * 2**20))  # several chunks
    command = replace(command, home=command.data / "retable")
    python = program('echo "$@" > {folder}/$RETABLE_PLACE.args; env > {folder}/$RETABLE_PLACE.env\n' + WAITING)
    logs = command.home / ".cache" / "logs"
    with RayFleet(
        command,
        2,
        logs,
        address=cluster.address,
        ship_data=True,
        gpus_per_worker=0.5,
        cpus_per_worker=2,
        python=python,
    ) as fleet:
        eventually(lambda: fleet.poll() and pid_of(0, tmp_path) and pid_of(1, tmp_path))
        assert fleet.crash_report() == ""
    arguments = [(tmp_path / f"{place}.args").read_text().split() for place in (0, 1)]
    folders = {Path(words[words.index("--data") + 1]) for words in arguments}
    shipped = command.home / ".cache" / "data"
    assert len(folders) == 1 and {path for path in shipped.iterdir() if path.is_dir()} == folders
    there = folders.pop()
    assert (there / "train" / "p1.png").read_bytes() == (command.data / "train" / "p1.png").read_bytes()
    assert not (there / "retable").exists(), "neither caches nor logs travel with the data"
    for place in (0, 1):
        environment = (tmp_path / f"{place}.env").read_text().splitlines()
        assert {
            "CUDA_VISIBLE_DEVICES=0",
            "RETABLE_DEVICE=cuda",
            "RETABLE_GPU_SHARE=0.5",
            "OMP_NUM_THREADS=2",
            "RETABLE_CORES=2",
        } <= set(environment)


def test_missing_data_is_named_and_a_worker_gets_a_gpu_if_the_cluster_has_one(
    cluster: Cluster, add_node: AddNode, command: WorkerCommand, tmp_path: Path
) -> None:
    add_node(num_gpus=1, num_cpus=6)
    add_node(num_gpus=2, num_cpus=7)
    command = replace(command, data=tmp_path / "nowhere")
    with RayFleet(command, 1, tmp_path / "logs", address=cluster.address) as fleet:
        assert fleet.waits_for() == "waiting for room on the cluster: 1 of 1 workers (CPUs each: 3, GPUs: 1)"
        with pytest.raises(EngineError, match="nowhere cannot be packed for other machines"):
            eventually(lambda: not fleet.poll())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gpus_per_worker": 1.5}, "1.5 GPUs a worker: give a whole number, or a part"),
        ({"gpus_per_worker": -1}, "-1 GPUs a worker"),
        ({"cpus_per_worker": 0}, "0 CPUs a worker"),
        ({"address": "127.0.0.1:1"}, "the Ray cluster at 127.0.0.1:1 cannot be used: .*refused"),
    ],
)
def test_invalid_requests_are_explained(
    arguments: dict[str, Any], message: str, command: WorkerCommand, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=message), RayFleet(command, 1, tmp_path, **arguments):
        pass


def test_without_ray_the_error_names_the_installation() -> None:
    program = "import sys; sys.modules['ray'] = None; import search.engines.ray"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1] == (
        "search.engines.interface.EngineError: the Ray engine needs the ray package: pip install -e '.[ray]'"
    )


def test_the_loss_of_a_node_neither_loses_nor_adds_a_trial(
    cluster: Cluster, add_node: AddNode, stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    nodes = {node.node_id: node for node in (add_node(), add_node())}
    stored = create_study(stores, study_plan(study_file, competition_folder, "recipe.epochs=20", budget=3))
    optuna_study = stores.optuna_study(stored.name)
    command = WorkerCommand(
        study=stored.name,
        storage_url=stores.database.url.render_as_string(hide_password=False),
        data=competition_folder,
        home=tmp_path / "home",
    )

    def node_in_mid_trial(fleet: RayFleet) -> str | None:
        """The node of a worker with a trial that is neither new nor near its end."""
        epochs = {
            trial.number: trial.last_step or 0
            for trial in optuna_study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        }
        for item in stores.queue.held(stored.id):
            if item.trial_number is not None and 2 <= epochs.get(item.trial_number, 0) <= 12:
                for slot in fleet._slots:
                    if item.worker == slot.worker and slot.node is not None:
                        return slot.node.node_id
        return None

    removed = None
    with RayFleet(command, 2, tmp_path / "logs", address=cluster.address) as fleet:
        deadline = time.monotonic() + 200.0
        while not search_is_over(read_snapshot(stores, stored.name)):
            assert time.monotonic() < deadline
            assert fleet.poll(), fleet.crash_report()
            expire_dead_workers(stores, fleet)
            if removed is None and (node_id := node_in_mid_trial(fleet)) is not None:
                removed = nodes.pop(node_id)
                cluster.remove_node(removed, allow_graceful=False)
            time.sleep(0.05)
        assert fleet.crash_report() == ""
    assert removed is not None
    records = stores.trials.records(stored.id)
    assert sorted(record.number for record in records) == [0, 1, 2]
    assert all(record.status is TrialStatus.FINISHED and record.epochs_done == 20 for record in records)
    assert [trial.state for trial in optuna_study.get_trials()] == [TrialState.COMPLETE] * 3
