"""Names of processes, and what they tell about the processes' lives."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from search.runtime.process_names import full_name, is_dead, new_suffix, process_name, short_name
from search.runtime.worker_environment import SUFFIX_VARIABLE


def ended_process() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_process_is_dead_once_its_id_has_gone() -> None:
    assert is_dead(full_name(ended_process(), new_suffix()))
    assert not is_dead(process_name()) and not is_dead(full_name(1, new_suffix()))


def test_a_process_of_another_host_boot_or_container_may_live() -> None:
    assert not is_dead(full_name(ended_process(), "0" * 8 + new_suffix()[8:]))


@pytest.mark.parametrize("name", ["", "worker-a", "host-12", f"host-{'9' * 30}-{'0' * 20}", "-1-zz", "a-b-c"])
def test_nothing_is_known_of_a_process_with_another_name(name: str) -> None:
    assert not is_dead(name)
    assert not is_dead(f"{name}\n-x-{new_suffix()}")


def test_an_impossible_process_id_belongs_to_no_process() -> None:
    assert is_dead(full_name(10**30, new_suffix()))
    assert not is_dead(f"host-{'9' * 5000}-{new_suffix()}"), "not a name of ours"


def test_people_see_host_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SUFFIX_VARIABLE, raising=False)
    name = process_name()
    assert short_name(name).endswith(f"-{os.getpid()}") and name.startswith(short_name(name))
    assert process_name() != name, "random"
    assert short_name("worker-a") == "worker-a"
