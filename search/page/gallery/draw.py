"""Draws the pictures of the report while the fold networks of the leading recipe are at hand, in bounded time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search.export.final_model import Refits
from search.page.gallery.contents import MOST_PICTURES, MOST_SHARES, SHOWN_CLASSES, SIDE, TEST, TRAIN, Gallery, Picture
from search.page.gallery.networks import Clock, FoldNetworks, HeldOut, TimeIsOver, devices_for, held_out
from search.page.gallery.thumbnails import encoded, focus_of, shrunk, under_map
from search.page.labels.candidates import NothingToJudge, find_candidates
from search.runtime.home import Home
from search.statistics.blending.blends import with_label_count
from search.statistics.ranking import average
from search.study_state.study import Study
from storage.stores import Stores
from storage.values import WorkKind
from trainer.common.arrays import Float32Array
from trainer.common.errors import BackboneError, DataError
from trainer.data.image_set import ImageSet
from trainer.evaluation.examples.example import Example, Reason
from trainer.evaluation.examples.one_label import choose_examples
from trainer.evaluation.examples.several_labels import choose_label_examples
from trainer.evaluation.several_labels import label_numbers
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend
from trainer.inference.errors import ImageError
from trainer.inference.images import resize_image
from trainer.inference.printable import cause_of, excerpt
from trainer.maps.errors import NoMap

FAR = 8
"""Test images that are unlike the training images."""

_SIMILAR = (
    " They differ a little from those in the tables of this report, which average all exported networks and views."
)

log = logging.getLogger(__name__)


def draw_gallery(
    stores: Stores, refits: Refits, images: ImageSet, home: Home, *, seconds: float, limit: str
) -> Gallery:
    """Draw the pictures of the leading recipe.

    What the time does not suffice for is left out, and ``notes`` say so. Images are read and networks run one at a
    time, which bounds the memory.

    Args:
        seconds: that this may take.
        limit: what sets this limit, as the end of a sentence.
    """
    leader = refits.members[0]
    held = held_out(stores, home, leader.member.study, leader.member.trial, leader.records)
    blend = with_label_count(refits.blend, Targets(images.y))
    artist = _Artist(held, images, blend, home, Clock(seconds), limit)
    oof = stores.trials.prediction(held.record.id, "oof")
    in_tables = average(leader.oof_by_training) if leader.oof_by_training else oof
    test = leader.test
    if "test" in stores.trials.prediction_names(held.record.id):
        test = stores.trials.prediction(held.record.id, "test")
    most = MOST_PICTURES - (0 if test is None else FAR)
    suspects = _suspects(stores, held.study)
    examples = (
        choose_label_examples(images.y, oof, blend, most, suspects)
        if images.several_labels
        else choose_examples(images.y, oof, most, list(suspects))
    )
    artist.add_training_images(examples, oof)
    artist.use_networks(test)
    return Gallery(
        fingerprint=held.study.fingerprint,
        study=held.study.name,
        trial=leader.member.number,
        source=_source(held, leader.member.number) + _SIMILAR * (not np.array_equal(oof, in_tables)) + _rule(blend),
        notes=tuple(excerpt(note) for note in artist.notes),
        pictures=tuple(shot.finished() for shot in artist.shots),
    )


def _suspects(stores: Stores, study: Study) -> dict[int, NDArray[np.int64]]:
    """The images whose labels may be wrong, with the proposed labels: those that the rest of the report names."""
    try:
        found = find_candidates(stores, study)
    except NothingToJudge:
        return {}
    return {} if found.too_many else {each.row: each.proposed_label for each in found.candidates}


def _source(held: HeldOut, number: int) -> str:
    record = held.record
    trial = f"{'probe' if record.is_probe else 'trial'} {number}"
    if record.kind is WorkKind.SEARCH:
        return f"Out-of-fold predictions of {trial}."
    again = "the training for the export" if record.kind is WorkKind.REFIT else "the training on a fresh split"
    return (
        f"Out-of-fold predictions of the recipe of {trial} in {again} (split {record.split}, seed {record.seed}), "
        "whose networks were kept."
    )


def _rule(blend: Blend) -> str:
    """How labels are decided, as a further sentence; empty where an image has the most probable class."""
    if not blend.several_labels:
        return ""
    above = "the threshold that the export fitted for it" if blend.offsets else "0.5"
    least = " An image of which no label is above gets its most probable one." * blend.at_least_one
    return f" A label is predicted if its probability is above {above}.{least}"


@dataclass(kw_only=True, eq=False)
class _Shot:
    """An image while its picture is drawn."""

    part: str
    row: int
    reasons: tuple[Reason, ...]
    labels: tuple[int, ...] | None
    predicted: tuple[int, ...]
    mapped: int
    """Class of the map."""
    proba: Float32Array
    """``(C,)``."""
    picture: Image.Image
    square: NDArray[np.uint8]
    """As the network sees it, uint8 ``(size, size, 3)``."""
    map: Float32Array | None = None
    """``(height, width)`` of the picture."""

    def finished(self) -> Picture:
        return Picture(
            part=self.part,
            row=self.row,
            reasons=self.reasons,
            labels=self.labels,
            predicted=self.predicted,
            shares=shares_of(self.proba, self.labels, self.predicted, self.mapped),
            jpeg=encoded(self.picture),
            map=None if self.map is None else encoded(under_map(self.picture, self.map)),
            mapped=None if self.map is None else self.mapped,
            focus="" if self.map is None else focus_of(self.map),
        )


def shares_of(
    proba: Float32Array, labels: tuple[int, ...] | None, predicted: tuple[int, ...], mapped: int
) -> tuple[tuple[int, float], ...]:
    """The probabilities of an image that are shown: the largest ones, that of the map, and those of its labels.

    Args:
        proba: ``(C,)``.
        labels: true classes; None: unknown.
        predicted: predicted classes.
        mapped: class of the map.

    Returns:
        Classes and probabilities, the largest first. Of many labels some are left out; the clearest errors stay.
    """
    order = np.argsort(-proba, kind="stable").tolist()
    true, given = set(predicted if labels is None else labels), set(predicted)
    errors = sorted(true ^ given, key=lambda c: (proba[c] if c in true else 1.0 - proba[c], c))
    wanted = dict.fromkeys([*order[:SHOWN_CLASSES], mapped, *errors, *sorted(true & given)])
    shown = set(list(wanted)[:MOST_SHARES])
    return tuple((index, float(proba[index])) for index in order if index in shown)


class _Artist:
    """Reads images and draws maps as long as there is time."""

    def __init__(self, held: HeldOut, images: ImageSet, blend: Blend, home: Home, clock: Clock, limit: str) -> None:
        self._held, self._images, self._home, self._clock, self._limit = held, images, home, clock, limit
        self._blend = blend
        self.shots: list[_Shot] = []
        self.notes: list[str] = []

    @cached_property
    def _form(self) -> tuple[int, str, str]:
        return self._held.form

    def add_training_images(self, examples: Sequence[Example], proba: Float32Array) -> None:
        """
        Args:
            proba: out-of-fold probabilities, ``(n, C)``.
        """
        self._add(examples, TRAIN, proba)

    def use_networks(self, test: Float32Array | None) -> None:
        """Draw maps, and add the test images that are unlike the training images.

        Args:
            test: probabilities, ``(m, C)``; None without test images.
        """
        if not self._held.networks:
            self.notes.append(
                "There are neither class-activation maps nor test images: the networks that held the images out were "
                "not kept, or are in another home folder."
            )
            return
        for device in devices_for(self._held.record):
            try:
                networks = FoldNetworks(self._held, self._images, device, self._clock)
                networks.load(min(self._held.networks))
                self._draw_maps(networks)
                if test is not None:
                    self._add_far(networks, test)
            except BackboneError as problem:
                self.notes.append(f"There are no further class-activation maps: {problem}.")
            except RuntimeError as problem:  # the base class of all that CUDA and torch raise
                if device != "cpu":
                    log.warning("the GPU fails, so the CPU draws the report's pictures: %s", cause_of(problem))
                    continue
                self.notes.append(f"There are no further class-activation maps: {cause_of(problem)}.")
            return

    def _add(self, examples: Sequence[Example], part: str, proba: Float32Array) -> list[_Shot]:
        source = self._images.train_images if part == TRAIN else self._images.test_images
        added: list[_Shot] = []
        unread: list[str] = []
        for place, example in enumerate(examples):
            try:
                self._clock.check()
                image = source.read(example.row)
            except TimeIsOver:
                left = len(examples) - place
                self.notes.append(f"{left} of {len(examples)} {part} images are left out for {self._limit}.")
                break
            except ImageError as problem:
                unread.append(f"{source.name(example.row)}: {problem}")
                continue
            shot = _Shot(
                part=part,
                row=example.row,
                reasons=example.reasons,
                labels=tuple(label_numbers(self._images.y[example.row])) if part == TRAIN else None,
                predicted=self._predicted(proba[example.row]),
                mapped=int(proba[example.row].argmax()) if example.label is None else example.label,
                proba=proba[example.row],
                picture=shrunk(image, SIDE),
                square=resize_image(image, *self._form),
            )
            added.append(shot)
        if unread:
            self.notes.append(f"{len(unread)} of the {part} images can no longer be read, such as {unread[0]}.")
        self.shots += added
        return added

    def _predicted(self, proba: Float32Array) -> tuple[int, ...]:
        """The classes that an image is predicted to have by its probabilities ``(C,)``."""
        if self._blend.several_labels:
            return tuple(label_numbers(self._blend.labels(proba[None])[0]))
        return (int(proba.argmax()),)

    def _draw_maps(self, networks: FoldNetworks) -> None:
        for fold in sorted(self._held.networks):
            shots = [shot for shot in self.shots if shot.part == TRAIN and shot.map is None]
            shots = [shot for shot in shots if self._held.folds[shot.row] == fold]
            if shots:
                networks.load(fold)
            if not self._draw_each(networks, shots):
                return

    def _draw_each(self, networks: FoldNetworks, shots: Sequence[_Shot]) -> bool:
        """Draw maps with the loaded network; False: no further ones can be drawn, and ``notes`` say why."""
        from trainer.maps.class_activation import fit_to_image

        for shot in shots:
            try:
                found = networks.draw(shot.square, shot.mapped)
            except TimeIsOver:
                self.notes.append(f"Some class-activation maps are left out for {self._limit}.")
                return False
            except NoMap as reason:
                self.notes.append(f"There are no class-activation maps of {self._held.recipe.backbone}: {reason}.")
                return False
            shot.map = fit_to_image(found, shot.picture.height, shot.picture.width, self._form[1])
        return True

    def _add_far(self, networks: FoldNetworks, test: Float32Array) -> None:
        shots = [shot for shot in self.shots if shot.part == TEST]  # those of a GPU that failed afterwards
        if not shots:
            left_out = "Test images unlike the training images are left out"
            try:
                rows = networks.far_test_images(self._home, FAR)
            except TimeIsOver:
                self.notes.append(f"{left_out} for {self._limit}.")
                return
            except (BackboneError, DataError) as problem:
                self.notes.append(f"{left_out}: {problem}.")
                return
            shots = self._add([Example(row=int(row), reasons=(Reason.FAR,)) for row in rows], TEST, test)
        if all(shot.map is not None for shot in self.shots if shot.part == TRAIN):
            self._draw_each(networks, shots)
