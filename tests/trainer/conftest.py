"""Data folders for the trainer's tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.trainer.images import file_name, save


@pytest.fixture
def kaggle(tmp_path: Path) -> Callable[..., Path]:
    """Write a competition folder: a training table, a sample and PNG images named after ids; returns the folder."""

    def make(
        train: Sequence[tuple[str, str]] = tuple((f"a{i}", "cat" if i % 2 else "dog") for i in range(6)),
        *,
        train_header: Sequence[str] | None = ("id", "label"),
        sample: Sequence[Sequence[str]] | None = (("id", "label"), ("t2", "cat"), ("t0", "cat"), ("t1", "cat")),
        test_ids: Sequence[str] = ("t0", "t1", "t2"),
        folders: tuple[str, str] = ("train_images", "test_images"),
        delimiter: str = ",",
        ending: str = ".csv",
    ) -> Path:
        folder = tmp_path / "competition"
        folder.mkdir()
        rows = [*([train_header] if train_header else []), *train]
        text = "".join(delimiter.join(row) + "\n" for row in rows)
        (folder / f"train{ending}").write_text(text)
        if sample is not None:
            (folder / f"sample_submission{ending}").write_text("".join(delimiter.join(row) + "\n" for row in sample))
        for seed, (identifier, *_) in enumerate(train):
            save(folder / folders[0] / file_name(identifier), seed)
        for seed, identifier in enumerate(test_ids, 1000):
            save(folder / folders[1] / file_name(identifier), seed)
        return folder

    return make
