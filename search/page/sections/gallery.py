"""Pictures of the errors, with class-activation maps: stored by an export (`search.page.gallery`), listed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from search.page import text
from search.page.facts import Facts
from search.page.gallery.contents import TRAIN, Gallery, Picture, size_of_jpeg
from search.page.gallery.thumbnails import data_uri
from trainer.evaluation.examples.example import Reason

_FAR = (
    "Test images unlike the training images",
    "The farthest from the training images by the features of one network. Nothing says that they are predicted "
    "wrongly.",
)
_SUSPECT = "By the mean predictions of all trials, as listed with the data. A hard image looks the same: look at each."
_TITLES = {
    Reason.LOSS: ("Largest losses", "The images whose label has the lowest probability."),
    Reason.MISTAKE: ("Most confident mistakes", "The errors in which another class has the highest probability."),
    Reason.PAIR: ("Most frequent confusions", "Examples of the pairs of classes that are confused most often."),
    Reason.SUSPECT: ("Labels that may be wrong", _SUSPECT),
    Reason.WEAK_CLASS: (
        "Errors of the weakest classes",
        "Classes with a low F1 that few pictures above show.",
    ),
    Reason.FAR: _FAR,
}
_TITLES_OF_SEVERAL = {
    Reason.LOSS: ("Largest losses", "The images with the largest log loss, the mean over all labels."),
    Reason.MISSED: ("Labels that are missed", "The labels with the lowest probability for an image that has them."),
    Reason.WRONG: (
        "Labels that are predicted wrongly",
        "The labels with the highest probability for an image without them.",
    ),
    Reason.UNSURE: (
        "Close decisions",
        "The images with a label whose probability is nearest to the threshold that decides about it.",
    ),
    Reason.SUSPECT: ("Labels that may be wrong or missing", _SUSPECT),
    Reason.WEAK_CLASS: ("Errors of the weakest labels", "Labels with a low F1 that few pictures above show."),
    Reason.FAR: _FAR,
}
"""Where an image may have several labels."""
_SHORT = {
    Reason.LOSS: "large loss",
    Reason.MISTAKE: "confident mistake",
    Reason.PAIR: "frequent confusion",
    Reason.SUSPECT: "label may be wrong",
    Reason.MISSED: "missed label",
    Reason.WRONG: "label predicted wrongly",
    Reason.UNSURE: "close decision",
    Reason.WEAK_CLASS: "weak class",
    Reason.FAR: "unlike the training images",
}
SHOWN_NAMES = 8
"""Names of several labels that are written out for an image, at most."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of classes, of which many are shortened."""

    shown: tuple[str, ...]
    more: int
    """Number of further ones."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A class and its probability."""

    name: str
    probability: float
    is_label: bool


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One image."""

    number: int
    """From 1, in the order of the page."""
    image: str
    """Name."""
    labels: Names | None
    """None: a test image."""
    predicted: Names
    missed: Names
    """Labels that are not predicted."""
    wrong: Names
    """Predicted classes that are no labels; empty of a test image."""
    shares: tuple[Share, ...]
    """The most probable classes, and the labels."""
    also: tuple[str, ...]
    """Further reasons."""
    classes: tuple[int, ...]
    """Indices of the true and the predicted classes."""
    width: int
    height: int
    picture: str
    """Data URI, like ``map``."""
    map: str | None
    mapped: str | None
    """Class of the map."""
    focus: str

    @property
    def is_wrong(self) -> bool:
        """Whether the prediction differs from the labels."""
        return bool(self.missed.shown or self.wrong.shown)


@dataclass(frozen=True, kw_only=True)
class Group:
    """The images of one reason."""

    title: str
    note: str
    images: tuple[Shown, ...]


@dataclass(frozen=True, kw_only=True)
class GalleryView:
    """All pictures, or why there are none."""

    missing: str
    """Why there are no pictures, with a command in backticks; empty if there are some."""
    several_labels: bool
    """Whether an image may have several labels."""
    source: str
    notes: tuple[str, ...]
    """What is missing among them and why, a sentence each."""
    groups: tuple[Group, ...]
    has_maps: bool
    classes: tuple[tuple[int, str, int], ...]
    """Index, name and number of pictures of each class that has some, in the order of the class table."""

    @property
    def labels(self) -> frozenset[int]:
        """Indices of the classes that have pictures."""
        return frozenset(index for index, _, _ in self.classes)


def gallery(facts: Facts) -> GalleryView | None:
    """The pictures of the leader; None before an export.

    Pictures of an earlier leader are not shown: they would not fit the tables.
    """
    if facts.export is None or facts.leader is None:
        return None
    found = facts.gallery
    if found is None or (found.trial, found.study) != (facts.leader.number, facts.leader_study.name):
        return _nothing(
            facts,
            "There are no pictures of this final model here: its export left them out for a deadline, or ran "
            f"with another home folder. `{text.command('search', 'export-best', '--study', facts.study.name)}` draws "
            "them.",
        )
    groups = _groups(facts, found)
    counts = Counter(index for group in groups for image in group.images for index in image.classes)
    names = facts.dataset.class_names
    return GalleryView(
        missing="",
        several_labels=facts.several_labels,
        source=found.source,
        notes=found.notes,
        groups=groups,
        has_maps=any(picture.map is not None for picture in found.pictures),
        classes=tuple((index, names[index], counts[index]) for index in sorted(counts)),
    )


def _nothing(facts: Facts, why: str) -> GalleryView:
    return GalleryView(
        missing=why,
        several_labels=facts.several_labels,
        source="",
        notes=(),
        groups=(),
        has_maps=False,
        classes=(),
    )


def _groups(facts: Facts, found: Gallery) -> tuple[Group, ...]:
    groups, number = [], 0
    for reason, (title, note) in (_TITLES_OF_SEVERAL if facts.several_labels else _TITLES).items():
        pictures = [picture for picture in found.pictures if picture.reasons[0] is reason]
        images = tuple(_shown(facts, picture, number + i) for i, picture in enumerate(pictures, 1))
        number += len(images)
        if images:
            groups.append(Group(title=title, note=note, images=images))
    return tuple(groups)


def _shown(facts: Facts, picture: Picture, number: int) -> Shown:
    dataset = facts.dataset
    names, ids = dataset.class_names, dataset.train_ids if picture.part == TRAIN else dataset.test_ids
    width, height = size_of_jpeg(picture.jpeg)
    labels, predicted = set(picture.labels or ()), set(picture.predicted)
    known = picture.labels is not None

    def named(indices: Iterable[int]) -> Names:
        every = [names[index] for index in sorted(indices)]
        return Names(shown=tuple(every[:SHOWN_NAMES]), more=max(0, len(every) - SHOWN_NAMES))

    return Shown(
        number=number,
        image=ids[picture.row],
        labels=named(labels) if known else None,
        predicted=named(predicted),
        missed=named(labels - predicted),
        wrong=named(predicted - labels if known else ()),
        shares=tuple(Share(name=names[i], probability=p, is_label=i in labels) for i, p in picture.shares),
        also=tuple(_SHORT[reason] for reason in picture.reasons[1:]),
        classes=tuple(sorted(labels | predicted)),
        width=width,
        height=height,
        picture=data_uri(picture.jpeg),
        map=None if picture.map is None else data_uri(picture.map),
        mapped=None if picture.mapped is None else names[picture.mapped],
        focus=picture.focus,
    )
