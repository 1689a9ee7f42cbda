"""Pictures of the errors, with class-activation maps: stored by an export (`search.page.gallery`), listed here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from search.page import text
from search.page.facts import Facts
from search.page.gallery.contents import TRAIN, Gallery, Picture, size_of_jpeg
from search.page.gallery.thumbnails import data_uri
from trainer.evaluation.examples.example import Reason

_TITLES = {
    Reason.LOSS: ("Largest losses", "The images whose label has the lowest probability."),
    Reason.MISTAKE: ("Most confident mistakes", "The errors in which another class has the highest probability."),
    Reason.PAIR: ("Most frequent confusions", "Examples of the pairs of classes that are confused most often."),
    Reason.SUSPECT: ("Labels that may be wrong", "A hard image looks the same, so look at each one."),
    Reason.WEAK_CLASS: (
        "Errors of the weakest classes",
        "Classes with a low F1 that few pictures above show.",
    ),
    Reason.FAR: (
        "Test images unlike the training images",
        "The farthest from the training images by the features of one network. Nothing says that they are predicted "
        "wrongly.",
    ),
}
_SHORT = {
    Reason.LOSS: "large loss",
    Reason.MISTAKE: "confident mistake",
    Reason.PAIR: "frequent confusion",
    Reason.SUSPECT: "label may be wrong",
    Reason.WEAK_CLASS: "weak class",
    Reason.FAR: "unlike the training images",
}


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
    label: str | None
    """None: a test image."""
    predicted: str
    shares: tuple[Share, ...]
    """The most probable classes, and the label."""
    also: tuple[str, ...]
    """Further reasons."""
    classes: tuple[int, ...]
    """Indices of the true and the predicted class."""
    width: int
    height: int
    picture: str
    """Data URI, like ``map``."""
    map: str | None
    focus: str

    @property
    def is_wrong(self) -> bool:
        """Whether the prediction is not the label."""
        return self.label is not None and len(self.classes) > 1


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
    if facts.several_labels:
        return _nothing("There are no pictures where an image may have several labels.")
    if found is None or (found.trial, found.study) != (facts.leader.number, facts.leader_study.name):
        return _nothing(
            "There are no pictures of this final model here: its export left them out for a deadline, or ran "
            f"with another home folder. `{text.command('search', 'export-best', '--study', facts.study.name)}` draws "
            "them."
        )
    groups = _groups(facts, found)
    counts = Counter(index for group in groups for image in group.images for index in image.classes)
    names = facts.dataset.class_names
    return GalleryView(
        missing="",
        source=found.source,
        notes=found.notes,
        groups=groups,
        has_maps=any(picture.map is not None for picture in found.pictures),
        classes=tuple((index, names[index], counts[index]) for index in sorted(counts)),
    )


def _nothing(why: str) -> GalleryView:
    return GalleryView(missing=why, source="", notes=(), groups=(), has_maps=False, classes=())


def _groups(facts: Facts, found: Gallery) -> tuple[Group, ...]:
    groups, number = [], 0
    for reason, (title, note) in _TITLES.items():
        pictures = [picture for picture in found.pictures if picture.reasons[0] is reason]
        images = tuple(_shown(facts, picture, number + i) for i, picture in enumerate(pictures, 1))
        number += len(images)
        if images:
            groups.append(Group(title=title, note=note, images=images))
    return tuple(groups)


def _shown(facts: Facts, picture: Picture, number: int) -> Shown:
    dataset = facts.dataset
    names, ids = dataset.class_names, dataset.train_ids if picture.part == TRAIN else dataset.test_ids
    shares = [Share(name=names[i], probability=p, is_label=i == picture.label) for i, p in picture.top]
    if picture.label is not None and picture.label not in dict(picture.top):
        shares.append(Share(name=names[picture.label], probability=picture.label_probability or 0.0, is_label=True))
    width, height = size_of_jpeg(picture.jpeg)
    return Shown(
        number=number,
        image=ids[picture.row],
        label=None if picture.label is None else names[picture.label],
        predicted=names[picture.predicted],
        shares=tuple(shares),
        also=tuple(_SHORT[reason] for reason in picture.reasons[1:]),
        classes=tuple(sorted({picture.predicted if picture.label is None else picture.label, picture.predicted})),
        width=width,
        height=height,
        picture=data_uri(picture.jpeg),
        map=None if picture.map is None else data_uri(picture.map),
        focus=picture.focus,
    )
