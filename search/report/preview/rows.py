"""The augmentations, policies and blends (mixup, cutmix) of a study as rows, and random examples of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from studies.space.dimension import written
from studies.spec import StudySpec
from trainer.batches.augmenter import Augmenter
from trainer.common.randomness import random_generator, random_key
from trainer.recipe.augmentation_table import AUGMENTATIONS, POLICIES
from trainer.recipe.recipe import FIELDS, Augment, Recipe, Scalar

Image = NDArray[np.uint8]

DRAWS = 24
"""Number of random draws from which the examples are chosen."""
PROBABILITY = ": probability"
"""Ending of the explanation of an augmentation whose strength is the probability that it is applied."""

POLICY_KNOBS: dict[str, tuple[str, ...]] = {
    "autoaugment": ("policy_prob",),
    "randaugment": ("policy_magnitude", "policy_ops", "policy_prob"),
    "trivialaugment": ("policy_prob",),
}
"""The recipe fields that set the strength of each policy."""
KNOB_WORDS = {
    "policy_magnitude": "magnitude {:g}",
    "policy_ops": "{:g} operations",
    "policy_prob": "{:.0%} of the images",
}

POLICY_DOCS = {
    "autoaugment": "one of 25 pairs of changes that were found on ImageNet",
    "randaugment": "some of 14 changes at one magnitude",
    "trivialaugment": "one of 14 changes at a random magnitude",
}
MIX_DOCS = {
    "mixup": "two images of a batch laid over each other",
    "cutmix": "a rectangle of another image of the batch",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One end of a range, or a fixed value."""

    caption: str
    """Such as ``low: 0 (off)`` or ``fixed: 0.5``."""
    augment: Augment
    """This augmentation alone."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One augmentation, policy or blend."""

    name: str
    doc: str
    settings: tuple[Setting, ...]
    """The low and the high end, or the one fixed value."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """An image to augment."""

    whole: Image
    """uint8 ``(size, size, 3)``, the input size of the network."""
    larger: Image
    """uint8 ``(side, side, 3)``, from which crops are cut."""


def rows_of(spec: StudySpec) -> list[Row]:
    """Every augmentation that the study samples, or fixes above 0, in the order of their application."""
    recipe = Recipe.from_flat(spec.default_recipe())
    off = Augment()
    rows = []
    for name, entry in AUGMENTATIONS.items():
        ends = _ends(spec, f"augment.{name}")
        if max(ends) > 0.0:
            describe = _probability if entry.doc.endswith(PROBABILITY) else _strength
            settings = {describe(end): replace(off, strengths={name: end}) for end in ends}
            rows.append(Row(name=name, doc=entry.doc, settings=_captioned(settings)))
    # Policies are applied after the crop, which is the first row if there is one.
    place = sum(row.name == "crop" for row in rows)
    rows[place:place] = _policy_rows(spec, recipe)
    return [*rows, *_mix_rows(spec)]


def examples(row: Row, setting: Setting, subject: Subject, others: Sequence[Subject], count: int) -> list[Image]:
    """``count`` of `DRAWS` random draws, each uint8 ``(size, size, 3)``, the strongest first. Deterministic.

    Args:
        others: images to blend the subject with, one at least.
    """
    blends = setting.augment.mix != "none"
    drawn = list((_blended if blends else _augmented)(row, setting.augment, subject, others))
    change = _distances(drawn, subject.whole)
    if blends or row.doc.endswith(PROBABILITY):
        # From the strongest to the median, so that a higher probability shows more changed images.
        order = np.argsort(-change, kind="stable")
        return [drawn[order[place]] for place in np.linspace(0, (DRAWS - 1) // 2, count).astype(int)]
    # Each time the draw that differs most from those chosen, so that both directions of a change appear.
    chosen = [int(np.argmax(change))]
    while len(chosen) < count:
        nearest = np.min([_distances(drawn, drawn[place]) for place in chosen], axis=0)
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
    return [drawn[place] for place in chosen]


def _distances(images: Sequence[Image], other: Image) -> NDArray[np.float64]:
    """Mean absolute difference of each image from ``other``, ``(n,)``."""
    return np.array([np.abs(image.astype(np.int16) - other).mean() for image in images])


def _augmented(row: Row, augment: Augment, subject: Subject, others: Sequence[Subject]) -> Iterator[Image]:
    augmenter = Augmenter(augment, len(subject.whole))
    source = subject.larger if augment.strengths.get("crop", 0.0) > 0.0 else subject.whole
    for draw in range(DRAWS):
        yield augmenter.apply(source, random_key("preview", row.name, draw))


def _blended(row: Row, augment: Augment, subject: Subject, others: Sequence[Subject]) -> Iterator[Image]:
    import torch

    from trainer.batches.mixup import apply_mix, draw_mix

    for draw in range(DRAWS):
        pair = np.stack([subject.whole, others[draw % len(others)].whole])
        generator = random_generator("preview", row.name, draw)
        mix = draw_mix(augment, batch_size=2, size=len(subject.whole), generator=generator)
        assert mix is not None, "blends have probability 1 here"
        images = torch.from_numpy(pair).permute(0, 3, 1, 2).float()
        blended, _ = apply_mix(images, torch.eye(2), replace(mix, partner=(1, 0)))
        yield blended[0].permute(1, 2, 0).round().to(torch.uint8).numpy()


def _policy_rows(spec: StudySpec, recipe: Recipe) -> Iterator[Row]:
    for name in _chosen(spec, "augment.policy", POLICIES):
        knobs = POLICY_KNOBS[name]
        ends = [_ends(spec, f"augment.{knob}") for knob in knobs]
        if max(ends[knobs.index("policy_prob")]) == 0.0:
            continue
        settings = {}
        for end in (0, -1):
            values = {knob: found[end] for knob, found in zip(knobs, ends, strict=True)}
            flat = {f"augment.{knob}": value for knob, value in values.items()}
            alone = replace(recipe.replace({**flat, "augment.policy": name}).augment, strengths={}, mix="none")
            settings[", ".join(KNOB_WORDS[knob].format(value) for knob, value in values.items())] = alone
        yield Row(name=name, doc=POLICY_DOCS[name], settings=_captioned(settings))


def _mix_rows(spec: StudySpec) -> Iterator[Row]:
    if max(_ends(spec, "augment.mix_prob")) == 0.0:
        return
    for name in _chosen(spec, "augment.mix", tuple(MIX_DOCS)):
        settings = {
            f"alpha {alpha:g}": Augment(strengths={}, mix=name, mix_alpha=alpha, mix_prob=1.0)
            for alpha in _ends(spec, "augment.mix_alpha")
        }
        yield Row(name=name, doc=MIX_DOCS[name], settings=_captioned(settings))


def _captioned(settings: dict[str, Augment]) -> tuple[Setting, ...]:
    """Settings with captions.

    Args:
        settings: by description, from low to high.
    """
    ends = ("low", "high") if len(settings) > 1 else ("fixed",)
    return tuple(
        Setting(caption=f"{end}: {name}", augment=augment)
        for end, (name, augment) in zip(ends, settings.items(), strict=True)
    )


def _strength(value: float) -> str:
    return f"{value:g}" if value else "0 (off)"


def _probability(value: float) -> str:
    return f"{value:g} ({value:.0%} of the images)" if value else _strength(value)


def _ends(spec: StudySpec, field: str) -> list[float]:
    """The lowest and the highest value of a numeric field over all trials; a single one if they are equal."""
    found: list[Scalar] = []
    for dimension in spec.space:
        if dimension.field == field:
            found += dimension.choices or [end for end in (dimension.low, dimension.high) if end is not None]
    numbers = [float(value) for value in found or [spec.recipe[field]]]
    return sorted({min(numbers), max(numbers)})


def _chosen(spec: StudySpec, field: str, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that a field has in some trial, without "none"."""
    values = spec.values_of(field)
    return [name for name in names if name in values and name != "none"]


def example_settings() -> str:
    """Examples of augmentation settings, for a study without any."""
    policies = written(FIELDS["augment.policy"].choices[1:], " or ")
    return (
        '"augment.hflip" = { low = 0.0, high = 0.5 } in its [space], '
        f"--set recipe.augment.hflip=0.5, or --set recipe.augment.policy=NAME with {policies}"
    )
