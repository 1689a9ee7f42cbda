"""Starting weights that a study may not use: by the rules of a competition (``[rules]``), or for honest scores.

The setting ``protocol.weighting`` is checked with the study file itself (`studies.spec`), which needs no weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.runtime.errors import SearchError
from studies.resolve_backbones import backbones_of
from studies.settings import RulesSettings
from studies.spec import StudySpec
from trainer.data.image_set import ImageSet
from trainer.formats.weights.origin import read_origin
from trainer.formats.weights.trained_on import TrainedOn
from trainer.networks.custom_weights import BUILT_IN, learned_from

EXTERNAL, TEST_IMAGES = "[rules] external_data = false", "[rules] use_test_images = false"


class AgainstTheRules(SearchError):
    """A study could use what its rules forbid."""


FEW_KNOWN = 0.01
"""Share of the training images up to which starting weights may know the labels: the score rises by less than that."""


class LearnedLabels(SearchError):
    """Weights have learned the labels of a study's own training images."""


def check_learned_labels(spec: StudySpec, images: ImageSet, weights_dir: Path | None) -> list[str]:
    """Check that no starting weights have learned the labels on which the study scores its trials.

    Such weights predict a held-out image by its own label. Images are recognised by the content of their files. Weights
    of self-supervised pre-training know no labels.

    Returns:
        A sentence for each start that knows at most `FEW_KNOWN` of the training images, and for each start whose
        images are unknown.

    Raises:
        LearnedLabels: listing every start that knows more.
        BackboneError: a file of weights or a description is damaged.
        DataError: an image file cannot be read.
    """
    notes: list[str] = []
    problems: list[str] = []
    for start in _starts(spec, weights_dir):
        if start.trained_on is None:
            notes.append(
                f"{start.name}: nothing says which images trained these weights. If they have learned labels of the "
                "training images, scores of networks from them are too high"
            )
        for trained in start.trained_on or ():
            count = _known_images(trained, images)
            if count is None:
                notes.append(
                    f"{start.name}: {trained.words} trained these weights, and nothing says which files these are. If "
                    "training images are among them, scores of networks from these weights are too high"
                )
                continue
            line = (
                f"{start.name}: these weights have learned the labels of {count:,} of the {len(images.y):,} "
                f"training images: {trained.words}"
            )
            if count > FEW_KNOWN * len(images.y):
                problems.append(line)
            elif count:
                notes.append(f"{line}. Scores of networks from them are slightly too high")
    if problems:
        raise LearnedLabels(
            "\n".join(problems) + "\nCross-validation from them would score too high, because it holds out images that "
            "they know. Leave them out; `search pretrain --self-supervised` learns from the images without their labels"
        )
    return notes


@dataclass(frozen=True, kw_only=True)
class _Start:
    """Weights from which trials of a study may begin, or networks that they have trained."""

    name: str
    """For people."""
    trained_on: Sequence[TrainedOn] | None
    """The images that trained them, as far as they are recorded; None: nothing is."""


def _starts(spec: StudySpec, weights_dir: Path | None) -> Iterator[_Start]:
    """The starting weights of a study but for random ones and for published ones, which know no image of it.

    Raises:
        BackboneError: a file of weights or a description is damaged.
    """
    for init in map(str, spec.values_of("init")):
        if init not in BUILT_IN:
            yield _Start(name=f"init = {init!r}", trained_on=learned_from(init, "", weights_dir))
    if weights_dir is None or "pretrained" not in spec.values_of("init"):
        return
    for backbone in backbones_of(spec):
        trained_on = learned_from("pretrained", backbone, weights_dir)
        if trained_on is None:
            name = f"the file of {backbone} in --weights, whose number of classes is not that of the published weights"
            yield _Start(name=name, trained_on=None)
        elif trained_on:
            yield _Start(name=f"the file of {backbone} in --weights", trained_on=trained_on)


def _known_images(trained: TrainedOn, images: ImageSet) -> int | None:
    """Number of training images whose labels were learned; None: the description does not list the images."""
    if not trained.classes:
        return 0
    if trained.fingerprint == images.fingerprint:  # also of a description that holds no contents
        return len(images.y)
    return trained.known_among(images.training_contents) if trained.contents else None


def check_rules(spec: StudySpec, fingerprint: str, weights_dir: Path | None) -> None:
    """Check that no trial of a study begins with weights that its rules forbid.

    timm's published weights and random weights are always allowed.

    Args:
        fingerprint: of the study's images; empty for images that ship with Retable.

    Raises:
        AgainstTheRules: listing every starting weight that is forbidden, and why.
        BackboneError: a file of weights or a description is damaged.
    """
    _check_starts(spec.rules, fingerprint, _starts(spec, weights_dir))


def check_networks(rules: RulesSettings, fingerprint: str, networks: Iterable[tuple[str, Path]]) -> None:
    """Check that no stored network has learned from what rules forbid, by the entry in its own file.

    The weights from which it began may have been replaced since. A network without an entry, of an earlier release,
    passes: `check_rules` judges it by the weights that are there now.

    Args:
        fingerprint: of the study's images.
        networks: name for people and file of each network.

    Raises:
        AgainstTheRules: listing every network that has, and why.
        BackboneError: the entry of a file is damaged.
    """
    origins = ((name, read_origin(file)) for name, file in networks)
    starts = [_Start(name=name, trained_on=origin) for name, origin in origins if origin is not None]
    _check_starts(rules, fingerprint, starts)


def _check_starts(rules: RulesSettings, fingerprint: str, starts: Iterable[_Start]) -> None:
    """
    Raises:
        AgainstTheRules: listing every start that is forbidden, and why.
    """
    problems: list[str] = []
    for start in starts:
        if not rules.external_data:
            problems += _external(start, fingerprint)
        if not rules.use_test_images:
            problems += _of_test_images(start)
    if problems:
        before = (
            ". Weights that these images trained before a change of their labels count as weights of other images: "
            "train them again"
        )
        raise AgainstTheRules(
            "\n".join(problems)
            + "\nLeave them out, or change the rules if the competition allows it"
            + before * (not rules.external_data)
        )


def _external(start: _Start, fingerprint: str) -> Sequence[str]:
    """Why weights are forbidden without external data; nothing if the study's own images trained them."""
    if start.trained_on is None:
        return [
            f"{start.name}: {EXTERNAL} forbids weights of other images, and nothing says which images trained these "
            "(`search pretrain` registers weights with their data)"
        ]
    others = [trained for trained in start.trained_on if trained.fingerprint != fingerprint]
    return [f"{start.name}: {EXTERNAL} forbids weights of other images: {trained.words}" for trained in others]


def _of_test_images(start: _Start) -> Sequence[str]:
    """Why weights are forbidden where test images may not be learned from; nothing if they have not seen any.

    Weights of which nothing is recorded pass: nothing says what they have seen.
    """
    return [
        f"{start.name}: {TEST_IMAGES} forbids weights that have learned from test images: {trained.words}"
        for trained in start.trained_on or ()
        if trained.test_images
    ]
