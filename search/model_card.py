"""MODEL_CARD.md: what a model is, how good it is, and how far to believe that."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.recipe import FIELDS, Scalar


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the card is written from. ``score`` is None where all images were trained on and nothing was held out."""

    study: str
    title: str
    metric: str
    trial: int
    trials_finished: int
    trials_pruned: int
    search_score: float
    search_error: float
    score: float | None
    score_error: float | None
    folds: int
    seeds: int
    full_data: bool
    views: Sequence[str]
    class_names: Sequence[str]
    class_counts: Sequence[int]
    test_images: int
    fingerprint: str
    recipe: Mapping[str, Scalar]
    versions: Mapping[str, Scalar]
    warnings: Sequence[str]


def write_card(facts: CardFacts) -> str:
    """The card as Markdown. Class names come from the data, so they are escaped."""
    parts = [
        f"# {_plain(facts.title)}",
        f"Made by Retable from study `{facts.study}`, trial {facts.trial}, on {datetime.date.today().isoformat()}.",
        "## How good it is",
        _how_good(facts),
        "## What it is",
        _what(facts),
        "## Data",
        _data(facts),
    ]
    if facts.warnings:
        parts += ["## Warnings", "\n".join(f"- {_plain(line)}" for line in facts.warnings)]
    parts += [
        "## Use it",
        "    python model/predict.py FOLDER_OF_IMAGES --output predictions.csv\n\n"
        "needs torch, timm, numpy and Pillow, nothing of Retable; `search predict model FOLDER_OF_IMAGES` is the same.",
        "## Recipe",
        "Settings that differ from their defaults stand first.\n\n" + _recipe_table(facts.recipe),
        "## Made with",
        "\n".join(f"- {name} {value}" for name, value in facts.versions.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _how_good(facts: CardFacts) -> str:
    lines = []
    if facts.score is not None and facts.score_error is not None:
        lines.append(
            f"- Out-of-fold {facts.metric}: **{facts.score:.4f} ± {facts.score_error:.4f}** (one standard error), of "
            f"{facts.folds} folds x {facts.seeds} seed{'s' * (facts.seeds > 1)}, averaged as the submission is."
        )
    else:
        lines.append("- Trained on all images: nothing was held out, so this model itself has no score.")
    lines += [
        f"- In the search, trial {facts.trial} scored {facts.search_score:.4f} ± {facts.search_error:.4f}.",
        f"- It is the best of {facts.trials_finished} finished trials ({facts.trials_pruned} more were stopped early). "
        "The best of many is partly lucky: expect somewhat less on new images.",
    ]
    return "\n".join(lines)


def _what(facts: CardFacts) -> str:
    models = facts.seeds * (1 if facts.full_data else facts.folds)
    trained = "all images" if facts.full_data else f"{facts.folds} folds"
    return "\n".join(
        [
            f"- {models} network{'s' * (models > 1)} (`{facts.recipe['backbone']}`), trained on {trained} with "
            f"{facts.seeds} seed{'s' * (facts.seeds > 1)}; their probabilities are averaged.",
            f"- Test-time augmentation: {', '.join(facts.views)}.",
            f"- Input: {facts.recipe['image_size']} x {facts.recipe['image_size']} pixels, {facts.recipe['resize']}.",
        ]
    )


def _data(facts: CardFacts) -> str:
    rows = [f"| {_plain(name)} | {count} |" for name, count in zip(facts.class_names, facts.class_counts, strict=True)]
    images = f"{sum(facts.class_counts)} training and {facts.test_images} test images"
    head = f"{images}; fingerprint `{facts.fingerprint[:16]}`."
    return head + "\n\n| class | training images |\n| --- | --- |\n" + "\n".join(rows)


def _recipe_table(recipe: Mapping[str, Scalar]) -> str:
    changed = [name for name in recipe if recipe[name] != FIELDS[name].default]
    rest = [name for name in recipe if name not in changed]
    rows = [f"| `{name}` | {recipe[name]} | {FIELDS[name].doc.replace('|', '/')} |" for name in changed + rest]
    return "| setting | value | meaning |\n| --- | --- | --- |\n" + "\n".join(rows)


def _plain(text: str) -> str:
    """Text from outside, harmless in Markdown tables and in the HTML that Markdown may hold."""
    for character, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(character, escaped)
    return text
