"""Made-up galleries and an export of a made-up study."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search.export.notes import ExportNotes
from search.page.gallery.contents import TEST, TRAIN, Gallery, Picture
from search.study_state.study import Study
from storage.stores import Stores
from trainer.evaluation.examples.example import Reason


def jpeg(seed: int = 0, size: tuple[int, int] = (160, 120), quality: int = 80) -> bytes:
    """A small noisy JPEG."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def picture(row: int, label: int | None, predicted: int, **changes: object) -> Picture:
    """A picture of a training image, or of a test image without a label."""
    rest = {} if label in (None, predicted, (predicted + 1) % 3) else {label: 0.05}
    made = Picture(
        part=TEST if label is None else TRAIN,
        row=row,
        reasons=(Reason.FAR,) if label is None else (Reason.LOSS, Reason.SUSPECT),
        labels=None if label is None else (label,),
        predicted=(predicted,),
        shares=tuple({predicted: 0.8, (predicted + 1) % 3: 0.15, **rest}.items()),
        jpeg=jpeg(row),
        map=jpeg(row + 1),
        mapped=predicted,
        focus="top left",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def of_sets(row: int, labels: tuple[int, ...] | None, predicted: tuple[int, ...], **changes: object) -> Picture:
    """A picture of an image that may have several labels; its map is that of the first class."""
    made = replace(
        picture(row, None if labels is None else 0, 0),
        reasons=(Reason.FAR,) if labels is None else (Reason.LOSS, Reason.MISSED),
        labels=labels,
        predicted=predicted,
        shares=((0, 0.9), (1, 0.4), (2, 0.2)),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def second_labels(classes: int, per_class: int = 20) -> NDArray[np.int64]:
    """Labels of ``per_class`` images a class, as a matrix: every second image also has the next label."""
    one, of_image = np.eye(classes, dtype=np.int64), np.arange(classes * per_class)
    return np.maximum(one[of_image % classes], one[(of_image + of_image % 2) % classes])


def gallery_of(study: Study, *pictures: Picture, trial: int = 0, notes: tuple[str, ...] = ()) -> Gallery:
    """A gallery of the study's leader."""
    return Gallery(
        fingerprint=study.fingerprint,
        study=study.name,
        trial=trial,
        source=f"Out-of-fold predictions of trial {trial}.",
        notes=notes,
        pictures=pictures,
    )


def record_export(stores: Stores, study: Study, trial: int = 0) -> None:
    """An export whose leader is the given trial."""
    notes = ExportNotes(
        trial=trial, seeds=1, trainings=((0, 0),), full_data=False, views=("identity",), temperature=1.0,
        offsets=(), cuts=(),
    )  # fmt: skip
    stores.exports.add(
        study.id,
        folder="/exports",
        recipe=study.spec.default_recipe(),
        score=0.8,
        score_se=0.01,
        notes=notes.to_json(),
    )
