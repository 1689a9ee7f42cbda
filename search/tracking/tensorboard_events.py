"""TensorBoard: scalars after each epoch, hyperparameters with the final score, and pictures, as event files.

DIR/STUDY/trial-7/events.out.tfevents...
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from search.tracking.tracker import EpochScores, TrackedExport, TrackedStudy, Training, scalars
from storage.values import TrialRecord


class TensorBoardTracker:
    """Writes one folder for each training.

    A new attempt begins a new event file. Its first event lets TensorBoard drop the epochs that the attempt repeats.

    Args:
        folder: of all studies; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._open: tuple[str, int] | None = None  # training and attempt of the writer

    def on_epoch(self, training: Training, scores: EpochScores) -> None:
        writer = self._writer_of(training, purge_from=scores.epoch)
        for name, value in scalars(training.study, scores).items():
            writer.add_scalar(name, value, scores.epoch)
        writer.flush()  # raises what went wrong, such as a full disk

    def on_trial_end(self, training: Training, record: TrialRecord, pictures: Sequence[Path]) -> None:
        writer = self._writer_of(training, purge_from=None)
        if record.value is not None:
            sampled = {n: v for n, v in training.settings.items() if n in training.study.sampled}
            settings = sampled or dict(training.settings)
            name = f"score/{training.study.metric}"
            # As `SummaryWriter.add_hparams`, which would write into a folder of its own.
            for summary in hparams(settings, {name: record.value}):  # type: ignore[no-untyped-call]
                writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]
            writer.add_scalar(name, record.value, record.epochs_done)
        writer.add_text("end", record.reason or str(record.status), record.epochs_done)
        _add_pictures(writer, pictures)
        self.close()

    def on_export(self, study: TrackedStudy, export: TrackedExport) -> None:
        self.close()
        with SummaryWriter(str(self._folder / study.name / "export")) as writer:
            if export.score is not None:
                writer.add_scalar(f"score/{study.metric}", export.score)
            _add_pictures(writer, export.pictures)
            writer.flush()

    def close(self) -> None:
        writer, self._writer, self._open = self._writer, None, None
        if writer is not None:
            writer.flush()
            writer.close()

    def _writer_of(self, training: Training, *, purge_from: int | None) -> SummaryWriter:
        key = training.key, training.attempt
        if self._writer is None or self._open != key:
            self.close()
            folder = self._folder / training.study.name / training.name
            self._writer, self._open = SummaryWriter(str(folder), purge_step=purge_from), key
        return self._writer


def _add_pictures(writer: SummaryWriter, pictures: Sequence[Path]) -> None:
    for picture in pictures:
        with Image.open(picture) as image:
            writer.add_image(picture.stem, np.asarray(image.convert("RGB")), dataformats="HWC")
