"""A map of the images: what looks alike to a backbone lies close together; mistakes and likeness to the test images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.page import text
from search.page.facts import Facts
from search.page.image_map import LIKE_TEST, MOST_IMAGES, ImageMap, read_map
from search.page.picture_sheet import SIDES, Sheet, read_thumbnails, sheet_of
from trainer.evaluation.several_labels import label_text

COLOURS, SHAPES = 6, 4
MARKED_CLASSES = COLOURS * SHAPES
"""Classes with a mark of their own; the images of further ones, the smallest, share a mark."""
BANDS = 24  # rows in which the arrow keys walk over the map


@dataclass(frozen=True, kw_only=True)
class MapClass:
    """A class of the map and its row in the table."""

    name: str
    """Empty: the test images."""
    style: str
    """Classes of its mark in the style sheet."""
    images: int
    mistakes: int
    alike: int
    """Images among ``images`` that are the most like test images."""
    same: float | None
    """Share of its images' nearest training images that are of the class as well, 0 to 1; None without any."""
    neighbour: str
    """The other class that is most frequent among these; empty without any."""
    neighbour_share: float


@dataclass(frozen=True, kw_only=True)
class MapPoint:
    """An image."""

    left: float
    """Percent of the map's width from its left side."""
    top: float
    """Percent of its height from its upper side."""
    style: str
    label: str
    """Image, class and, of a mistake, what it is taken for."""
    column: int
    """Of its picture in the sheet."""
    row: int


@dataclass(frozen=True, kw_only=True)
class MapView:
    """The map, or the reason why there is none."""

    missing: str
    """A sentence; empty if there is a map."""
    summary: str = ""
    notes: tuple[str, ...] = ()
    classes: tuple[MapClass, ...] = ()
    """The largest first, then the test images."""
    points: tuple[MapPoint, ...] = ()
    """In the order of the arrow keys."""
    sheet: Sheet | None = None
    """None: there are no pictures."""
    has_mistakes: bool = False
    has_alike: bool = False


def image_map(facts: Facts) -> MapView:
    """The map of the study's images."""
    if facts.home is None:
        again = text.command("search", "report", "--study", facts.study.name)
        return MapView(missing=f"The map was left out, because the deadline was near: `{again}` draws it.")
    found = read_map(facts, facts.home)
    if found is None:
        return MapView(missing=_missing(facts))
    dataset, n = facts.dataset, len(facts.dataset.y)
    training = found.rows[found.rows < n]
    predicted = None if facts.oof is None else _predicted(facts, facts.oof)[training]
    wrong = np.zeros(len(training), bool) if predicted is None else _differ(predicted, dataset.y[training])
    alike = _most_alike(found)
    marks = _marks(np.bincount(facts.strata[training], minlength=len(facts.strata_names)))
    pictures = read_thumbnails(facts.stores, facts.study, facts.home, found.rows.tolist(), SIDES[0])
    sheet = sheet_of(pictures)
    points = _points(facts, found, marks, predicted, wrong, alike, sheet)
    return MapView(
        missing="",
        summary=_summary(facts, found),
        notes=tuple(_notes(facts, found, int(wrong.sum()), sheet)),
        classes=tuple(_classes(facts, found, marks, wrong, alike)),
        points=points,
        sheet=sheet,
        has_mistakes=bool(wrong.any()),
        has_alike=bool(alike.any()),
    )


def _predicted(facts: Facts, oof: NDArray[np.float32]) -> NDArray[np.int64]:
    """The predicted class of each training image, ``(n,)``; of several labels 0 and 1, ``(n, C)``."""
    return (oof > 0.5).astype(np.int64) if facts.several_labels else oof.argmax(axis=1).astype(np.int64)


def _differ(predicted: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether an image is predicted another class, or another set of labels."""
    different = predicted != y
    return np.asarray(different.any(axis=1) if different.ndim == 2 else different)


def _missing(facts: Facts) -> str:
    check = text.command("search", "check", "--study", facts.study.name, "--weights", "FOLDER")
    again = text.command("search", "report", "--study", facts.study.name)
    return (
        "There is no map, because this home holds no features of the images by a pre-trained backbone: "
        f"`{check}` computes them, with the weights of a backbone in FOLDER, and `{again}` then draws the map."
    )


def _summary(facts: Facts, found: ImageMap) -> str:
    n, m = len(facts.dataset.y), len(facts.dataset.test_ids)
    training = int((found.rows < n).sum())
    shown = f"{text.counted(training, 'training image')} and {text.counted(len(found.rows) - training, 'test image')}"
    if len(found.rows) < n + m:
        shown = f"A sample of {MOST_IMAGES:,} of {n + m:,} images, each class with its share: {shown}"
    return (
        f"{shown}, placed by the features of {found.origin.backbone} at {found.origin.image_size} px (PCA, t-SNE). "
        "Images that lie close together look alike to this backbone. Sizes of groups and distances between them mean "
        "nothing."
    )


def _notes(facts: Facts, found: ImageMap, wrong: int, sheet: Sheet | None) -> Iterator[str]:
    if facts.predictions is not None:
        yield f"A ring marks the {text.counted(wrong, 'mistake')} of {facts.predictions.subject} (out-of-fold)."
    if found.likeness is not None:
        yield (
            f"A halo marks the {LIKE_TEST:.0%} of the training images that are most like test images, by a classifier "
            "that tells the two apart."
        )
    elif facts.dataset.test_ids:
        yield "No classifier tells the test images from the training images by these features."
    if sheet is None:
        yield "There are no pictures, because this machine no longer has the images."


def _most_alike(found: ImageMap) -> NDArray[np.bool_]:
    """Which training images of the map are marked as like test images."""
    if found.likeness is None:
        return np.zeros(len(found.rows), bool)
    count = max(1, round(LIKE_TEST * len(found.likeness)))
    marked = np.zeros(len(found.rows), bool)
    marked[np.argsort(-found.likeness, kind="stable")[:count]] = True  # training images come first
    return marked


def _marks(counts: NDArray[np.int64]) -> list[str]:
    """The mark of each class: colour and shape, so that no two of the largest ones share both."""
    order = np.argsort(-counts, kind="stable")
    own = order if len(order) <= MARKED_CLASSES else order[: MARKED_CLASSES - 1]
    marks = ["other"] * len(counts)
    for place, label in enumerate(own):
        marks[label] = f"c{place % COLOURS} s{(place + place // (COLOURS * 2)) % SHAPES}"
    return marks


def _points(
    facts: Facts,
    found: ImageMap,
    marks: list[str],
    predicted: NDArray[np.int64] | None,
    wrong: NDArray[np.bool_],
    alike: NDArray[np.bool_],
    sheet: Sheet | None,
) -> tuple[MapPoint, ...]:
    dataset, n = facts.dataset, len(facts.dataset.y)
    columns, names, strata = 1 if sheet is None else sheet.columns, dataset.class_names, facts.strata
    points = []
    for i, row in enumerate(found.rows.tolist()):
        left, top = 100.0 * float(found.places[i, 0]), 100.0 * (1.0 - float(found.places[i, 1]))
        if row < n:
            name = text.name(label_text(dataset.y[row], names))
            label, style = f"{text.name(dataset.train_ids[row])}: {name}", marks[strata[row]]
            if wrong[i] and predicted is not None:
                label, style = f"{label}, taken for {text.name(label_text(predicted[i], names))}", f"{style} wrong"
            style += " alike" * bool(alike[i])
        else:
            label, style = f"{text.name(dataset.test_ids[row - n])}: test image", "test"
        style += " west" * (left > 50.0) + " north" * (top > 50.0)
        points.append(MapPoint(left=left, top=top, style=style, label=label, column=i % columns, row=i // columns))
    return tuple(sorted(points, key=_walk))


def _walk(point: MapPoint) -> tuple[int, float]:
    """The order of the arrow keys: rows from top to bottom, to the right and to the left in turn."""
    band = min(BANDS - 1, int(point.top * BANDS / 100.0))
    return band, -point.left if band % 2 else point.left


def _classes(
    facts: Facts,
    found: ImageMap,
    marks: list[str],
    wrong: NDArray[np.bool_],
    alike: NDArray[np.bool_],
) -> Iterator[MapClass]:
    """The classes, the largest first, then the test images, with the classes of their nearest training images."""
    names, y = facts.strata_names, facts.strata
    k = int((found.rows < len(y)).sum())
    labels = np.full(len(found.rows), len(names), np.int64)  # one more for the test images
    labels[:k] = y[found.rows[:k]]
    near = np.zeros((len(names) + 1, len(names) + 1), np.int64)
    np.add.at(near, (labels[:, None], labels[found.nearest]), 1)
    near = near[:, :-1]
    counts = np.bincount(labels, minlength=len(names) + 1)
    for label in (*np.argsort(-counts[:-1], kind="stable").tolist(), len(names)):
        of_class, total = labels == label, int(near[label].sum())
        is_test = label == len(names)
        others = near[label].copy()
        if not is_test:
            others[label] = 0
        if not counts[label]:
            continue
        other = int(others.argmax())
        yield MapClass(
            name="" if is_test else names[label],
            style="test" if is_test else marks[label],
            images=int(counts[label]),
            mistakes=int(wrong[of_class[:k]].sum()),
            alike=int(alike[of_class].sum()),
            same=None if is_test or not total else float(near[label, label]) / total,
            neighbour=names[other] if others[other] else "",
            neighbour_share=float(others[other]) / total if total else 0.0,
        )
