"""The batch loader: the same batches for any number of workers, and no leaks when a process dies."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from trainer.batches import processes
from trainer.batches.augmenter import Augmenter
from trainer.batches.batch_loader import BATCHES_AHEAD, Batch, BatchLoader, BatchStream, fitting_workers
from trainer.batches.batch_plan import BatchPlan, plan_epoch
from trainer.batches.shared_memory import LEFT_FREE, PREFIX, Slots, remove_leftovers
from trainer.common.errors import LoaderError
from trainer.common.files import process_space
from trainer.recipe.recipe import Augment, Recipe

SETTINGS = Augment(
    strengths={"hflip": 0.5, "rotate": 20.0, "brightness": 0.3, "noise": 0.1, "erase": 0.3},
    policy="randaugment",
)
PLAIN = Recipe().augment
SIZE = 24  # pixels


@dataclass(frozen=True)
class ArrayPixels:
    """Decoded images in memory."""

    train: npt.NDArray[np.uint8]
    test: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DeadlyPixels:
    """Kills the process that reads it, as the kernel does when memory runs out; not the one that made it."""

    maker: int

    @property
    def train(self) -> npt.NDArray[np.uint8]:
        if os.getpid() != self.maker:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((4, 8, 8, 3), np.uint8)

    test = train


def pixels(n: int = 40, size: int = SIZE, seed: int = 0) -> ArrayPixels:
    generator = np.random.default_rng(seed)
    return ArrayPixels(
        train=generator.integers(0, 256, (n, size, size, 3), np.uint8), test=np.empty((0, size, size, 3), np.uint8)
    )


def plans(n: int = 40, epoch: int = 1) -> tuple[BatchPlan, ...]:
    return plan_epoch(np.arange(n), np.arange(n) % 3, batch_size=7, balance=0.0, seed=1, fold=0, epoch=epoch)


def copied(stream: BatchStream) -> list[Batch]:
    """All batches: from processes they lie in memory that is used again."""
    return [batch.copy() for batch in stream]


def test_batches_are_the_planned_images_augmented_by_their_keys() -> None:
    source = pixels()
    with BatchLoader() as loader:
        batches = list(loader.stream(source, SETTINGS, SIZE, [plans()]))
        plain = list(loader.stream(source, PLAIN, SIZE, [plans()]))
    assert len(batches) == len(plans())
    for batch, unchanged, plan in zip(batches, plain, plans(), strict=True):
        assert batch.dtype == np.uint8
        assert np.array_equal(unchanged, source.train[plan.indices])
        for image, row, key in zip(batch, plan.indices, plan.keys, strict=True):
            assert np.array_equal(image, Augmenter(SETTINGS, SIZE).apply(source.train[row], key))


@pytest.mark.slow
def test_any_number_of_workers_makes_the_same_batches() -> None:
    """Also over a change of recipe and of data with the same pool, with two streams open at once."""
    jobs = [
        (pixels(), SETTINGS, SIZE),
        (pixels(), Augment(strengths={"vflip": 0.5}), SIZE),
        (pixels(seed=1, size=32), replace(SETTINGS, strengths={"crop": 0.5, "hue": 0.1}), 16),
    ]
    with BatchLoader() as alone, BatchLoader(workers=2) as pool:
        expected = [list(alone.stream(*job, [plans()])) for job in jobs]
        first, second = (pool.stream(*job, [plans()]) for job in jobs[:2])
        results = [copied(first), copied(second), copied(pool.stream(*jobs[2], [plans()]))]
    for wanted, got in zip(expected, results, strict=True):
        assert len(wanted) == len(got)
        assert all(np.array_equal(a, b) for a, b in zip(wanted, got, strict=True))


def test_a_closed_stream_ends_and_the_loader_goes_on() -> None:
    with BatchLoader() as loader:
        stream = loader.stream(pixels(), PLAIN, SIZE, [plans()])
        next(stream)
        stream.close()
        assert list(stream) == []
        assert len(list(loader.stream(pixels(), PLAIN, SIZE, [plans(epoch=2)]))) == len(plans(epoch=2))


def test_a_stream_goes_on_from_one_epoch_to_the_next() -> None:
    drawn: list[int] = []

    def epochs() -> Iterator[tuple[BatchPlan, ...]]:
        for epoch in (1, 2, 3):
            drawn.append(epoch)
            yield plans(epoch=epoch)

    with BatchLoader() as loader:
        stream = loader.stream(pixels(), SETTINGS, SIZE, epochs())
        assert drawn == [1]
        got = [next(stream).copy() for _ in plans()]
        assert drawn == [1, 2], "no plan is drawn before its first batch is due"
        got += copied(stream)
        expected = [
            batch for epoch in (1, 2, 3) for batch in loader.stream(pixels(), SETTINGS, SIZE, [plans(epoch=epoch)])
        ]
    assert len(got) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_an_error_while_reading_reaches_the_reader() -> None:
    outside = (BatchPlan(indices=np.array([0, 99]), keys=(1, 2)),)
    with BatchLoader() as loader, pytest.raises(IndexError):
        list(loader.stream(pixels(), PLAIN, SIZE, [outside]))


def blocks() -> set[str]:
    """Shared memory that this process made."""
    return {path.name for path in Path("/dev/shm").glob(f"{PREFIX}{os.getpid()}_*")}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory shows as files on Linux only")
def test_processes_share_a_few_blocks_of_memory_and_leave_none() -> None:
    before = blocks()
    with BatchLoader(workers=1) as loader:
        for epoch in (1, 2, 3):
            stream = loader.stream(pixels(), SETTINGS, SIZE, [plans(epoch=epoch)])
            next(stream)
            stream.close()
            assert len(list(loader.stream(pixels(), SETTINGS, SIZE, [plans(epoch=epoch)]))) == len(plans())
            assert len(blocks() - before) <= 2 * BATCHES_AHEAD + 1
        held = next(loader.stream(pixels(), PLAIN, SIZE, [plans()]))
        expected = held.copy()
    assert blocks() <= before
    assert np.array_equal(held, expected)  # an array that is still in use stays readable


def refuse(*_: object, **__: object) -> None:
    """What the system does where shared memory is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def almost_full(block: int) -> os.statvfs_result:
    """A file system on which nothing would be left for others."""
    found = list(os.statvfs("/"))
    found[1], found[2], found[4] = 1, LEFT_FREE, LEFT_FREE - 1  # size and number of its pieces, and those left
    return os.statvfs_result(found)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "answer"), [("posix_fallocate", refuse), ("fstatvfs", almost_full)])
def test_without_room_for_shared_memory_batches_go_through_pipes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, function: str, answer: Callable[..., object]
) -> None:
    monkeypatch.setattr(os, function, answer)
    before = blocks()
    with BatchLoader() as alone, BatchLoader(workers=1) as pool:
        expected = list(alone.stream(pixels(), SETTINGS, SIZE, [plans()]))
        got = list(pool.stream(pixels(), SETTINGS, SIZE, [plans()]))
        assert blocks() <= before
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))
    assert [record for record in caplog.messages if "Shared memory is short" in record] == caplog.messages[:1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory shows as files on Linux only")
def test_blocks_that_another_removes_are_replaced_by_pipes() -> None:
    """As systemd does with the shared memory of a user who logs out."""
    with BatchLoader() as alone, BatchLoader(workers=1) as pool:
        expected = list(alone.stream(pixels(), SETTINGS, SIZE, [plans()]))
        stream = pool.stream(pixels(), SETTINGS, SIZE, [plans()])
        for name in blocks():
            (Path("/dev/shm") / name).unlink()
        got = copied(stream)
    assert len(got) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


def test_blocks_of_dead_processes_are_removed(tmp_path: Path) -> None:
    asked = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, own = int(asked.stdout), process_space()
    for name in (
        f"{PREFIX}{dead}_{own}_0a1b2c",
        *(f"{PREFIX}{os.getpid()}_{own}_0a1b2c", f"{PREFIX}{dead}_{'0' * 8}_0a1b2c"),  # it lives; of another container
        *(f"{PREFIX}{dead}_0a1b2c", f"other_{dead}_{own}_0a1b2c"),
    ):
        (tmp_path / name).touch()
    assert remove_leftovers(tmp_path) == 1
    assert not (tmp_path / f"{PREFIX}{dead}_{own}_0a1b2c").exists()
    assert remove_leftovers(tmp_path) == remove_leftovers(tmp_path / "missing") == 0


def test_the_names_of_blocks_say_whose_they_are() -> None:
    slots = Slots()
    block = slots.take(100)
    assert block is not None and block.name.startswith(f"{PREFIX}{os.getpid()}_{process_space()}_")
    slots.close()


def test_without_processes_a_thread_makes_the_batches(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full /dev/shm has no room for the semaphores of a pool."""
    monkeypatch.setattr(processes, "ProcessPoolExecutor", refuse)
    before = blocks()
    with BatchLoader() as alone, BatchLoader(workers=2) as pool:
        expected = list(alone.stream(pixels(), SETTINGS, SIZE, [plans()]))
        got = list(pool.stream(pixels(), SETTINGS, SIZE, [plans()]))
        assert blocks() <= before
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))
    assert caplog.messages == [
        "Processes that augment images cannot be started (No space left on device): a thread does it, which is slower."
    ]


@pytest.mark.slow
def test_a_killed_worker_is_an_error_and_the_next_stream_has_new_ones() -> None:
    with BatchLoader(workers=1) as loader:
        with pytest.raises(LoaderError, match="out of memory"):
            list(loader.stream(DeadlyPixels(os.getpid()), PLAIN, SIZE, [plans(4)]))
        assert len(list(loader.stream(pixels(), PLAIN, SIZE, [plans()]))) == len(plans())


@pytest.mark.slow
def test_a_worker_that_died_before_a_stream_begins_is_the_same_error() -> None:
    with BatchLoader(workers=1) as loader:
        dead = loader.stream(DeadlyPixels(os.getpid()), PLAIN, SIZE, [plans(4)])
        assert isinstance(dead._pending[0][1].exception(), BrokenProcessPool)
        with pytest.raises(LoaderError, match="out of memory"):
            loader.stream(pixels(), PLAIN, SIZE, [plans()])
        dead.close()
        assert len(list(loader.stream(pixels(), PLAIN, SIZE, [plans()]))) == len(plans())


@pytest.mark.slow
def test_a_worker_that_dies_for_one_stream_ends_the_others_as_well() -> None:
    with BatchLoader(workers=1) as loader:
        other = loader.stream(pixels(), PLAIN, SIZE, [plans()])
        other._pending[-1][1].result()  # its first batches wait in shared memory
        with pytest.raises(LoaderError, match="out of memory"):
            list(loader.stream(DeadlyPixels(os.getpid()), PLAIN, SIZE, [plans(4)]))
        with pytest.raises(LoaderError, match="out of memory"):
            list(other)
        assert len(list(loader.stream(pixels(), PLAIN, SIZE, [plans()]))) == len(plans())


@pytest.mark.slow
def test_workers_die_with_a_killed_training(tmp_path: Path) -> None:
    """A training that is killed cannot close its pool."""
    script = tmp_path / "training.py"
    script.write_text(
        "import os, signal\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from trainer.batches.processes import start_processes\n"
        "if __name__ == '__main__':\n"
        "    print(start_processes(1).submit(os.getpid).result(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    # The worker holds the output's other end too, so this returns only when it is gone as well.
    killed = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert int(killed.stdout) > 0


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        BatchLoader(workers=-1)


@pytest.mark.parametrize(
    ("device", "cores", "gibibytes", "workers"),
    [
        ("cuda", 128, None, 24),
        ("cuda", 16, None, 16),
        ("cuda", 16, 1000.0, 16),
        ("cuda", 16, 8.0, 10),
        ("cuda", 16, 0.1, 1),
        ("cuda", 1, None, 1),
        ("cpu", 16, None, 4),
        ("cpu", 16, 1.6, 2),
        ("cpu", 16, 0.0, 1),
        ("cpu", 1, 1000.0, 0),
    ],
)
def test_the_number_of_workers_follows_cores_and_memory(
    device: str, cores: int, gibibytes: float | None, workers: int
) -> None:
    memory = None if gibibytes is None else int(gibibytes * 2**30)
    assert fitting_workers(device, cores, memory) == workers
