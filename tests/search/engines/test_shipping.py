"""Packing and unpacking a folder: complete, once per machine, and inside its target."""

from __future__ import annotations

import io
import multiprocessing
import os
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from search.engines import shipping
from search.engines.shipping import Shipment, ShippingError, pack, unpack

pytestmark = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="Python before 3.11.4 unpacks nothing: its tarfile has no filters"
)


class Transport:
    """Stores chunks by number, and records which were fetched."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.fetched: list[int] = []

    def put(self, chunk: bytes) -> int:
        self.chunks.append(chunk)
        return len(self.chunks) - 1

    def get(self, number: int) -> bytes:
        self.fetched.append(number)
        return self.chunks[number]

    def archive(self, *entries: tarfile.TarInfo) -> Shipment:
        """An archive that `pack` would never make."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for entry in entries:
                archive.addfile(entry, io.BytesIO(b"x" * entry.size))
        data = packed.getvalue()
        return Shipment(digest=sha256(data).hexdigest(), chunks=(self.put(data),))


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "train" / "rotes Haus").mkdir(parents=True)
    (folder / "train" / "empty").mkdir()
    (folder / "train.csv").write_text("id,label\n1,a\n")
    (folder / "train" / "rotes Haus" / "große.png").write_bytes(os.urandom(300_000))
    return folder


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def test_the_unpacked_folder_equals_the_packed_one(
    data: Path, tmp_path: Path, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "CHUNK", 70_001)
    shipment = pack(data, transport.put)
    assert len(shipment.chunks) >= 5 and max(map(len, transport.chunks)) == 70_001
    there = unpack(shipment, tmp_path / "there", transport.get)
    assert there == tmp_path / "there" / shipment.digest
    assert contents(there) == contents(data)


def test_the_digest_depends_on_contents_alone_and_an_unpacked_folder_is_reused(
    data: Path, tmp_path: Path, transport: Transport
) -> None:
    first = pack(data, transport.put)
    unpack(first, tmp_path / "there", transport.get)
    transport.fetched.clear()
    os.utime(data / "train.csv", (0, 0))
    second = pack(data, transport.put)
    assert second.digest == first.digest
    unpack(second, tmp_path / "there", transport.get)
    assert transport.fetched == []
    (data / "train.csv").write_text("id,label\n1,b\n")
    assert pack(data, transport.put).digest != first.digest


def test_links_are_replaced_by_their_targets_and_cycles_are_skipped(
    data: Path, tmp_path: Path, transport: Transport
) -> None:
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    (elsewhere / "t1.png").write_bytes(b"pixels")
    (data / "test").symlink_to(elsewhere)
    (data / "train" / "round").symlink_to(data)
    (data / "gone.png").symlink_to(tmp_path / "nothing")
    there = unpack(pack(data, transport.put), tmp_path / "there", transport.get)
    assert (there / "test" / "t1.png").read_bytes() == b"pixels"
    assert not (there / "test").is_symlink()
    assert not (there / "train" / "round").exists() and not (there / "gone.png").exists()


def test_excluded_folders_are_not_packed(data: Path, tmp_path: Path, transport: Transport) -> None:
    (data / "retable" / ".cache").mkdir(parents=True)
    (data / "retable" / ".cache" / "pixels").write_bytes(b"many")
    there = unpack(pack(data, transport.put, leave_out=[data / "retable"]), tmp_path / "there", transport.get)
    assert not (there / "retable").exists() and (there / "train.csv").exists()


def entry(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 4) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size if kind == tarfile.REGTYPE else 0
    return made


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../evil.txt")],
        [entry("train/../../evil.txt")],
        [entry("link", kind=tarfile.SYMTYPE, link="../.."), entry("link/evil.txt")],
        [entry("hard", kind=tarfile.LNKTYPE, link="../../evil.txt")],
        [entry("device", kind=tarfile.CHRTYPE)],
    ],
    ids=["above", "roundabout", "link", "hard link", "device"],
)
def test_nothing_is_written_outside_the_folder(
    entries: list[tarfile.TarInfo], tmp_path: Path, transport: Transport
) -> None:
    shipment = transport.archive(*entries)
    with pytest.raises(ShippingError, match="cannot be unpacked"):
        unpack(shipment, tmp_path / "home" / "data", transport.get)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left in ([], [f"{shipment.digest}.lock"])
    assert not (tmp_path / "home" / "data" / shipment.digest).exists()


def test_absolute_names_become_names_below_the_folder(tmp_path: Path, transport: Transport) -> None:
    outside = tmp_path / "outside.txt"
    there = unpack(transport.archive(entry(str(outside))), tmp_path / "there", transport.get)
    assert not outside.exists()
    assert (there / str(outside).lstrip("/")).exists()


def test_a_damaged_archive_is_rejected_and_leaves_no_partial_folder(
    data: Path, tmp_path: Path, transport: Transport
) -> None:
    shipment = pack(data, transport.put)
    whole = transport.chunks[0]
    for damaged in (whole[: len(whole) // 2], whole.replace(b"1,a", b"1,b"), b""):
        transport.chunks[0] = damaged
        with pytest.raises(ShippingError, match="cannot be unpacked"):
            unpack(shipment, tmp_path / "there", transport.get)
        assert [path.suffix for path in (tmp_path / "there").iterdir()] in ([], [".lock"])
    transport.chunks[0] = whole
    # As left by a process that was killed while unpacking.
    (tmp_path / "there" / f"{shipment.digest}.partial").mkdir()
    (tmp_path / "there" / f"{shipment.digest}.partial" / "old.png").touch()
    assert contents(unpack(shipment, tmp_path / "there", transport.get)) == contents(data)


def test_an_unreadable_folder_is_named(tmp_path: Path, transport: Transport) -> None:
    with pytest.raises(ShippingError, match=r"nowhere cannot be packed for other machines: .*No such file"):
        pack(tmp_path / "nowhere", transport.put)


def _unpack_in_a_process(shipment: Shipment, root: Path, chunk: bytes, fetches: Path, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]

    def get(number: int) -> bytes:
        with fetches.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return chunk

    unpack(shipment, root, get)


@pytest.mark.slow
def test_one_of_several_processes_unpacks(data: Path, tmp_path: Path, transport: Transport) -> None:
    shipment = pack(data, transport.put)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    fetches = tmp_path / "fetches"
    arguments = (shipment, tmp_path / "there", transport.chunks[0], fetches, start)
    processes = [context.Process(target=_unpack_in_a_process, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        assert process.exitcode == 0
    assert len(fetches.read_text().splitlines()) == len(shipment.chunks) == 1
    assert contents(tmp_path / "there" / shipment.digest) == contents(data)


def test_an_older_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    transport = Transport()
    shipment = pack(tmp_path / "data", transport.put)
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(ShippingError, match=r"Python 3\.11\.4 or newer is needed"):
        unpack(shipment, tmp_path / "node", transport.get)
    assert not any((tmp_path / "node").glob("*/a.txt"))
