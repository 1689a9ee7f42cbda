"""What is said of a single network: on the console, and in the MODEL_CARD.md of its folder."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.export.model_card import plain
from search.statistics.paired_gain import Gain, shown_gain
from search.workflow.single.comparison import Comparison
from search.workflow.single.held_out import HeldOut


@dataclass(frozen=True, kw_only=True)
class Taught:
    """Scores of students by cross-validation, on the training images."""

    images: int
    ensemble: float
    """Out-of-fold score of the ensemble."""
    single: float
    error: float
    """Standard error of ``single``."""
    gain: Gain
    """Of the students over the ensemble."""


@dataclass(frozen=True, kw_only=True)
class SingleFacts:
    """How a single network was made and how it compares with the ensemble."""

    study: str
    metric: str
    networks: int
    """Of the ensemble."""
    averaged: int
    """Networks whose weights were averaged; 0: the network was taught instead."""
    statistics: int
    """Training images from which statistics of batch normalisation were computed again; 0: they are as they were."""
    held_out: HeldOut | None = None
    taught: Taught | None = None
    comparison: Comparison | None
    """On test images; None without any."""
    speed: Comparison
    """On whichever images there are."""

    def to_json(self) -> dict[str, Any]:
        """The same numbers, for ``extra`` in config.json."""
        kept: dict[str, Any] = {
            "study": self.study,
            "networks": self.networks,
            "averaged": self.averaged,
            "milliseconds": [self.speed.ensemble_ms, self.speed.single_ms],
        }
        if self.comparison is not None:
            kept["test_images"] = {
                "images": self.comparison.images,
                "differing": self.comparison.differing,
                "expected_loss": self.comparison.expected_loss,
            }
        for name, scored in (("held_out", self.held_out), ("taught", self.taught)):
            if scored is not None:
                kept[name] = {"images": scored.images, "single": scored.single, **_gain(scored.gain)}
        return kept


def _gain(gain: Gain) -> Mapping[str, float]:
    return {"gain": gain.mean, "error": gain.error}


def origin_line(facts: SingleFacts) -> str:
    """What the network was made of."""
    if not facts.averaged:
        return (
            f"One network, taught by the ensemble of {facts.networks}: half of each target is the label, half the "
            "ensemble's out-of-fold prediction (distillation, Hinton et al. 2015)."
        )
    of_all = "" if facts.averaged == facts.networks else f" of {facts.networks}"
    renewed = f" Batch normalisation has statistics of {facts.statistics} training images." * (facts.statistics > 0)
    return f"One network, the mean of the weights of {facts.averaged}{of_all} networks (Wortsman et al. 2022).{renewed}"


def loss_lines(facts: SingleFacts) -> list[str]:
    """The loss in score, and how it was estimated, a sentence or two each."""
    lines = []
    if facts.taught is not None:
        taught = facts.taught
        lines.append(
            f"Change of the score: students of the same recipe, cross-validated, score {facts.metric} "
            f"{taught.single:.4f} ± {taught.error:.4f} on {taught.images} training images, the ensemble out-of-fold "
            f"{taught.ensemble:.4f}: a change of {shown_gain(taught.gain, facts.metric)}. The students' teachers saw "
            "none of their held-out images."
        )
    if facts.held_out is not None:
        held = facts.held_out
        lines.append(
            f"Change of the score: on {held.images} held-out training images, means of the weights of "
            f"{held.networks:.3g} networks score {facts.metric} {held.single:.4f}, their averaged predictions "
            f"{held.averaged:.4f} ± {held.averaged_error:.4f}: a change of {shown_gain(held.gain, facts.metric)}. The "
            "mean of all networks has no such score, because each training image was seen by some of them. It may lose "
            "more."
        )
    if facts.comparison is not None and facts.comparison.several_labels:
        compared = facts.comparison
        lines.append(
            f"Loss in right labels: about {100 * compared.expected_loss:.1f} points of all decisions whether an image "
            "has a label, by the ensemble's calibrated probabilities. A bound: "
            f"{compared.differing} of {compared.images} test images have other labels than with the ensemble "
            f"({compared.share:.1%}); of further images like them {100 * compared.bound:.1f}% at most, with 95% "
            "confidence."
        )
    elif facts.comparison is not None:
        compared = facts.comparison
        lines.append(
            f"Loss in accuracy: about {100 * compared.expected_loss:.1f} points, by the ensemble's calibrated "
            "probabilities of what both predict. A bound: "
            f"{compared.differing} of {compared.images} test images have another prediction "
            f"than with the ensemble ({compared.share:.1%}), so accuracy on them changes by "
            f"{100 * compared.share:.1f} points at most; on further images like them by {100 * compared.bound:.1f}, "
            "with 95% confidence."
        )
    if not lines:
        lines.append(
            "Loss in score: unknown. There are no test images, and no training image was held out by two networks."
        )
    return lines


def speed_line(facts: SingleFacts) -> str:
    """The gain in speed."""
    speed = facts.speed
    return (
        f"Speed: {_shown(speed.single_ms)} ms an image instead of {_shown(speed.ensemble_ms)} ms, "
        f"{speed.speed:.1f} times as fast, on the CPU that made it ({speed.images} images, without reading and "
        "resizing)."
    )


def _shown(milliseconds: float) -> str:
    return f"{milliseconds:.3g}" if milliseconds < 1000.0 else f"{milliseconds:.0f}"


def write_single_card(facts: SingleFacts) -> str:
    """The card as Markdown."""
    lines = [origin_line(facts), *loss_lines(facts), speed_line(facts)]
    return (
        "\n\n".join(
            [
                "# One network instead of an ensemble",
                f"Made by Retable from the export of study {plain(facts.study)} {datetime.date.today()}. "
                "`../../MODEL_CARD.md` describes the ensemble.",
                "\n".join(f"- {plain(line)}" for line in lines),
                "## Use it",
                "    python predict.py FOLDER_OF_IMAGES --output predictions.csv",
            ]
        )
        + "\n"
    )
