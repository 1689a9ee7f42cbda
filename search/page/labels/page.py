"""The page of a review: each candidate with its picture, its label, the proposed one and its nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.page import text
from search.page.cached_features import features_by_preference, read_features
from search.page.gallery.thumbnails import data_uri, encoded, shrunk
from search.page.labels.candidates import Candidates
from search.page.picture_sheet import read_thumbnails
from search.page.render import render_template
from search.runtime.home import Home
from storage.stores import Stores
from trainer.data.names.own_files import REVIEW_TABLE
from trainer.data.readers.columns.several_labels import NO_LABELS
from trainer.evaluation.label_errors.candidate import CandidateLabel
from trainer.evaluation.several_labels import label_names, rarest_label
from trainer.formats.label_tables import DROP, KEEP
from trainer.inference.predictions import SEPARATOR
from trainer.probing.image_map import stratified_sample
from trainer.probing.nearest_images import nearest_images

MOST_SHOWN = 200
"""Candidates on the page; the table lists all."""
NEIGHBOURS = 5
MOST_COMPARED = 10_000
"""Training images among which neighbours are searched; of more, a sample in which each class has its share."""
SIDE, NEIGHBOUR_SIDE = 128, 64  # pixels of the pictures


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A training image that looks like the candidate to the backbone."""

    image: str
    labels: tuple[str, ...]
    """Its label; of several all of them, or none."""
    picture: str
    """Data URI; empty: there is none."""


@dataclass(frozen=True, kw_only=True)
class ShownCandidate:
    """An image with a suspicious label."""

    number: int
    """From 1, in the order of the table."""
    image: str
    given: tuple[CandidateLabel, ...]
    """Its label; of several all of them, or none."""
    proposed: tuple[CandidateLabel, ...]
    picture: str
    """Data URI; empty: there is none."""
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, kw_only=True)
class ReviewPage:
    """Everything that the page shows."""

    study: str
    title: str
    written: str
    """Time of the review."""
    summary: tuple[str, ...]
    candidates: tuple[ShownCandidate, ...]
    left_out: int
    """Candidates that only the table lists."""
    several_labels: bool
    """Whether an image may have several labels."""
    neighbours_by: str
    """The backbone whose features gave the neighbours, and its image size; empty: there are no neighbours."""
    has_pictures: bool
    table: str
    """Name of the table to fill in."""
    steps: tuple[tuple[str, str], ...]
    """What to do next: a command and what it does."""


def review_page(stores: Stores, home: Home, found: Candidates, summary: Sequence[str], apply: str) -> ReviewPage:
    """Compute the page.

    Args:
        summary: sentences on the candidates.
        apply: the command that applies the table.
    """
    rows = np.array([each.row for each in found.candidates[:MOST_SHOWN]], np.int64)
    near, backbone = _neighbours(home, found, rows)
    pictures = _pictures(stores, home, found, [*rows.tolist(), *np.unique(near).tolist()])
    shown = tuple(_candidate(found, i, near[i].tolist(), pictures) for i in range(len(rows)))
    return ReviewPage(
        study=found.study.name,
        title=found.study.spec.title,
        written=text.moment(stores.database.now()),
        summary=tuple(summary),
        candidates=shown,
        left_out=len(found.candidates) - len(rows),
        several_labels=found.several_labels,
        neighbours_by=backbone,
        has_pictures=bool(pictures),
        table=REVIEW_TABLE,
        steps=tuple(_steps(apply, found.several_labels)),
    )


def render_review(page: ReviewPage) -> str:
    """The HTML of a page. Every text from outside is escaped, its control characters are shown as escapes."""
    return render_template("label_review.html", page=page)


def _steps(apply: str, several_labels: bool) -> Iterator[tuple[str, str]]:
    yield (
        apply,
        f"after you have filled in the column decision of {REVIEW_TABLE}: {right_label(several_labels)}, or {DROP} to "
        "leave the image out of training. An empty cell leaves the label as it is.",
    )


def right_label(several_labels: bool) -> str:
    """What to write into a review if the given label is right, and if another is."""
    if not several_labels:
        return f"{KEEP} if the label is right, the name of the right class"
    return (
        f"{KEEP} if the labels are right, all right labels as in the column proposed ({SEPARATOR} between them, "
        f"{NO_LABELS} for none)"
    )


def _candidate(
    found: Candidates, place: int, near: Sequence[int], pictures: dict[int, NDArray[np.uint8]]
) -> ShownCandidate:
    dataset, own = found.dataset, found.candidates[place]
    return ShownCandidate(
        number=place + 1,
        image=dataset.train_ids[own.row],
        given=own.given,
        proposed=own.proposed,
        picture=_uri(pictures.get(own.row), SIDE),
        neighbours=tuple(
            Neighbour(
                image=dataset.train_ids[other],
                labels=tuple(label_names(dataset.y[other], dataset.class_names)),
                picture=_uri(pictures.get(other), NEIGHBOUR_SIDE),
            )
            for other in near
        ),
    )


def _uri(picture: NDArray[np.uint8] | None, side: int) -> str:
    return "" if picture is None else data_uri(encoded(shrunk(picture, side)))


def _pictures(stores: Stores, home: Home, found: Candidates, rows: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Pictures of training images by row; empty where this machine has no images."""
    wanted = list(dict.fromkeys(rows))
    pictures = read_thumbnails(stores, found.study, home, wanted, SIDE)
    return dict(zip(wanted, pictures, strict=True)) if len(pictures) else {}


def _neighbours(home: Home, found: Candidates, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """The nearest training images of each of ``rows``, (s, k), k of 0 without features; and the backbone."""
    dataset = found.dataset
    strata = rarest_label(dataset.y, len(dataset.class_names))
    compared = np.union1d(stratified_sample(strata, MOST_COMPARED, seed=0), rows)
    total = len(dataset.y) + len(dataset.test_ids)
    best = found.averaged[0]
    for path, origin in features_by_preference(home, found.study.fingerprint, found.averaged, best):
        features = read_features(path, total, compared)
        if features is not None and len(rows):
            near = nearest_images(features, np.searchsorted(compared, rows), NEIGHBOURS)
            return compared[near], f"{origin.backbone} at {origin.image_size} px"
    return np.empty((len(rows), 0), np.int64), ""
