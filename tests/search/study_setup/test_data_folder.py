"""The images of a study are decoded by every worker as when the study was created."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from sqlalchemy import update

from search.study_setup.create_study import create_study
from search.study_setup.data_folder import VALUE_RANGES, progress_line
from search.study_setup.open_images import open_for_training
from storage.database.tables import Dataset
from storage.stores import Stores
from tests.search.small_study import study_plan


def wide_images(folder: Path) -> Path:
    """Two classes of 16-bit images that use 10 bits."""
    rng = np.random.default_rng(0)
    for number in range(8):
        path = folder / ("sick" if number % 2 else "well") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 1024, (24, 24)).astype(np.uint16)).save(path)
    return folder


def test_recorded_ranges_are_used(stores: Stores, study_file: Path, tmp_path: Path) -> None:
    folder = wide_images(tmp_path / "data")
    plan = study_plan(study_file, folder)
    study = create_study(stores, plan)
    assert stores.datasets.get(study.fingerprint).summary[VALUE_RANGES] == {"integer": [0.0, 1023.0]}
    opened = open_for_training(folder, study, stores)
    assert opened.value_ranges == {"integer": (0.0, 1023.0)}
    np.testing.assert_array_equal(opened.train_images.read(0), plan.competition.images.train_images.read(0))


def test_a_data_set_without_a_record_is_decoded_as_before(stores: Stores, study_file: Path, tmp_path: Path) -> None:
    folder = wide_images(tmp_path / "data")
    study = create_study(stores, study_plan(study_file, folder))
    summary = stores.datasets.get(study.fingerprint).summary
    with stores.database.writing() as connection:
        del summary[VALUE_RANGES]
        connection.execute(update(Dataset).values(summary=summary))
    assert open_for_training(folder, study, stores).train_images.read(0).max() <= 4, "0..65535"


def test_a_log_shows_now_and_then_how_far_the_reading_is() -> None:
    output, now = io.StringIO(), [0.0]
    console = Console(file=output, width=30)
    with progress_line(console, "Reading [b]data …", lambda: now[0]) as show:
        for done in range(1, 300):
            now[0] += 0.1
            show(f"Reading [b]data … {done} of 300 images\x1b[2J")
    lines = output.getvalue().splitlines()
    assert len(lines) == 2 and all(line.startswith("Reading [b]data … ") for line in lines)
    assert "\x1b" not in output.getvalue()
