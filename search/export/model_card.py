"""MODEL_CARD.md: what a model consists of, its scores, and how reliable they are."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from search.export.exported_model import TOLERANCE_ON_GPUS
from search.statistics.estimates import Estimate
from search.statistics.member_names import MemberName, members_named
from trainer.common.errors import first_lines
from trainer.inference.printable import excerpt, printable
from trainer.recipe.recipe import FIELDS, LINEAR_PROBE, USED_BY_PROBES, Scalar

_SPECIAL = re.compile(r"[&<>\\`*\[\]|~$]|^[-+=#]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""Characters that Markdown, GitHub's extensions of it or HTML interpret. An entity also breaks addresses of pages."""
MOST_CLASSES = 6  # classes that the title names
_NAME = 30  # characters of a class in the title
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", ":": "&#58;", ".": "&#46;"}


@dataclass(frozen=True, kw_only=True)
class CardMember:
    """A row of the table of members; imported predictions have neither networks nor a recipe."""

    name: MemberName
    backbone: str = "-"
    weight: float | None
    """In the weighted mean of all members; None if a regression blends them, or for a second stage."""
    is_second_stage: bool = False
    """Whether it tells the classes of some groups apart, whose probabilities the other members give."""
    networks: int = 0
    views: Sequence[str] = ()
    recipe: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the card is written from."""

    studies: Sequence[str]
    """Names of the studies whose trials take part, the export's own first."""
    study_title: str
    """Title of the first of them."""
    folder: str = ""
    """Name of the folder of images; empty if it is not known."""
    metric: str
    members: Sequence[CardMember]
    """The leader first."""
    trials_finished: int
    probes_finished: int = 0
    """Linear probes that finished; they do not count as trials."""
    trials_pruned: int
    search_score: float
    """The leader's score in the search."""
    search_error: float
    estimate: Estimate | None
    """The leader's, from fresh splits; None if it was not confirmed."""
    score: float | None
    """Of the model, out-of-fold or from confirmations; None if it trained on all images and none was confirmed."""
    score_error: float | None
    """Standard error of ``score``."""
    optimistic: bool = True
    """Whether ``score`` is too high because its images chose the recipe."""
    lucky: bool = True
    """Whether the leader's score in the search is too high because it is the best of several. Not examined where fresh
    splits give an ``estimate``."""
    folds: int
    seeds: int
    full_data: bool
    reasons: Sequence[str]
    """Why these recipes were chosen; see `search.export.rationale`."""
    expected: str
    """The forecast for the test images as a sentence; empty if there is none."""
    chances: str
    """Probability of each finalist to be the best; empty with a single one."""
    weighting: str = ""
    """Which images count more in all scores, a sentence; empty: all count the same."""
    class_names: Sequence[str]
    class_counts: Sequence[int]
    numbered: bool = False
    """Whether the picture of the confusion matrix gives the numbers of classes whose names it cannot write."""
    train_images: int | None = None
    """None: as many as ``class_counts`` says, which counts an image with several labels more than once."""
    several_labels: bool = False
    """Whether an image may have several of the classes, or none."""
    test_images: int
    fingerprint: str
    corrections: str = ""
    """What label corrections have changed (`trainer.data.image_set.AppliedCorrections.sentence`); empty: nothing."""
    starts: Sequence[str] = ()
    """Weights from which the networks began, and the images that these were trained on, a sentence each."""
    second_studies: Sequence[str] = ()
    """What the networks have learned from beside labels, and whether that helped, a sentence each; empty: nothing."""
    rules: str = ""
    """What the rules of the study forbid, see `studies.settings.RulesSettings.forbidden`; empty: nothing."""
    versions: Mapping[str, Scalar]
    warnings: Sequence[str]
    tolerance: float = 0.0
    """Largest difference of a probability of the exported model from its refits that the check allowed; 0: no check."""


def write_card(facts: CardFacts) -> str:
    """The card as Markdown. Names come from the data and the database, so they are escaped."""
    members = members_named(member.name for member in facts.members)
    origin = ("study " if len(facts.studies) == 1 else "studies ") + ", ".join(map(_code, facts.studies))
    parts = [
        f"# {_title(facts)}",
        f"Made by Retable from {origin} ({plain(facts.study_title)}), {plain(members)}, on "
        f"{datetime.date.today().isoformat()}.",
        "## How good it is",
        _how_good(facts),
        "## What it is",
        _what(facts),
        "## Data",
        _data(facts),
    ]
    if facts.warnings:
        parts += ["## Warnings", "\n".join(f"- {plain(line)}" for line in first_lines(facts.warnings, 20))]
    parts += [
        "## Use it",
        "    python model/predict.py FOLDER_OF_IMAGES --output predictions.csv\n\n"
        "This needs torch, timm, numpy, Pillow and safetensors, but not Retable. "
        "`search predict model FOLDER_OF_IMAGES` does the same." + _reproducibility(facts),
    ]
    for member in facts.members:
        if not member.recipe:
            continue
        parts += [
            f"## Recipe of {plain(str(member.name))}" if len(facts.members) > 1 else "## Recipe",
            "Settings that differ from their defaults come first.\n\n" + _recipe_table(member.recipe),
        ]
    parts += ["## Made with", "\n".join(f"- {name} {value}" for name, value in facts.versions.items())]
    return "\n\n".join(parts) + "\n"


def _title(facts: CardFacts) -> str:
    """What the model tells apart, in which images, and its backbones: ``cat or dog in pets: resnet18.a1_in1k``."""
    names = [excerpt(name, _NAME) for name in facts.class_names]
    few = len(names) <= MOST_CLASSES
    last = "and" if facts.several_labels else "or"
    task = f"{', '.join(names[:-1])} {last} {names[-1]}" if few else f"{len(names)} classes ({', '.join(names[:3])}, …)"
    data = f" in {facts.folder}" * bool(facts.folder)
    backbones = dict.fromkeys(m.backbone if m.networks else str(m.name) for m in facts.members)
    return f"{plain(task + data)}: {plain(' and '.join(backbones))}"


def _reproducibility(facts: CardFacts) -> str:
    """How exactly the model reproduces the probabilities of its refits."""
    if not facts.tolerance:
        return ""
    return (
        "\n\nThe export checked a few images: the model's probabilities differ from those of its trainings by at most "
        f"{facts.tolerance:g}. Another device, and on a GPU another number of images at a time, may change a "
        f"probability by {TOLERANCE_ON_GPUS:g}, because the algorithms add in another order."
    )


def _how_good(facts: CardFacts) -> str:
    lines = []
    leader, score = facts.members[0].name, f"**{facts.score or 0.0:.4f} ± {facts.score_error or 0.0:.4f}**"
    if facts.full_data:
        lines.append("- It trained on all images: nothing was held out, so this model itself has no score.")
        if facts.score is not None:
            lines.append(
                "- The same recipes, cross-validated on fresh splits and blended in the same way: "
                f"{facts.metric} {score} (± one standard error)."
            )
    else:
        lines.append(
            f"- Out-of-fold {facts.metric}: {score} (± one standard error). Each image is predicted by the networks "
            "that did not train on it, averaged as in the submission."
            + (
                " This score is optimistic, because the same images chose the recipe."
                * (facts.optimistic and facts.estimate is not None)
            )
        )
    if facts.weighting:
        lines.append(f"- {plain(facts.weighting)}")
    if facts.expected:
        lines += [f"- {plain(line)}" for line in (facts.expected, facts.chances) if line]
    lines.append(f"- In the search, {leader} scored {facts.search_score:.4f} ± {facts.search_error:.4f}.")
    trials, probes, pruned = facts.trials_finished, facts.probes_finished, facts.trials_pruned
    counts = [f"{trials} finished trial{'s' * (trials != 1)}"] * (trials > 0 or not probes)
    counts += [f"{probes} linear probe{'s' * (probes != 1)}"] * (probes > 0)
    stopped = f" ({pruned} more trial{'s were' if pruned > 1 else ' was'} stopped early)" * (pruned > 0)
    best = f"- It is the best of {' and '.join(counts)}{stopped}. "
    if facts.estimate is None:
        luck = "The best of many is partly lucky: expect a somewhat lower score on new images."
        none = "Nested selection finds no selection bias in its score."
        lines.append(best + (luck if facts.lucky else none))
    else:
        rounds = facts.estimate.rounds
        lines.append(
            f"- On {rounds} fresh split{'s' * (rounds > 1)}, {leader} has an estimated score of "
            f"**{facts.estimate.shrunk:.4f} ± {facts.estimate.error:.4f}** for one network. It is moved toward the "
            "finalists' mean, because noise exaggerates differences."
        )
    return "\n".join(lines)


def _what(facts: CardFacts) -> str:
    networks = sum(member.networks for member in facts.members)
    trained = f"all images with {facts.seeds} seed{'s' * (facts.seeds > 1)}"
    trained = trained if facts.full_data else f"all but one of {facts.folds} folds each"
    rows = [
        f"| {plain(m.name.short)} | {_code(m.backbone)} | {_weight(m)} "
        f"| {m.networks or '-'} | {_input(m.recipe)} | {', '.join(m.views) or '-'} |"
        for m in facts.members
    ]
    head = "| recipe | backbone | weight | networks | input in pixels | test-time views |\n" + "| --- " * 6 + "|"
    return "\n".join(
        [
            f"- {networks} network{'s' * (networks > 1)}, trained on {trained}. The probabilities of a recipe's "
            "networks are averaged.",
            *(f"- {plain(line)}" for line in facts.reasons),
            "",
            head,
            *rows,
        ]
    )


def _weight(member: CardMember) -> str:
    if member.is_second_stage:
        return "second stage"
    return "regression" if member.weight is None else f"{member.weight:.3f}"


def _input(recipe: Mapping[str, Scalar]) -> str:
    return f"{recipe['image_size']} x {recipe['image_size']}, {recipe['resize']}" if recipe else "-"


def _data(facts: CardFacts) -> str:
    classes = enumerate(zip(facts.class_names, facts.class_counts, strict=True))
    rows = [f"| {f'{number} | ' * facts.numbered}{plain(name)} | {count} |" for number, (name, count) in classes]
    total = sum(facts.class_counts) if facts.train_images is None else facts.train_images
    images = f"{total} training and {facts.test_images} test images"
    head = f"{images}; fingerprint `{facts.fingerprint[:16]}`."
    lines = [f"{plain(facts.corrections)}."] if facts.corrections else []
    lines += [plain(line) for line in (*facts.starts, *facts.second_studies)]
    if facts.rules:
        lines.append(
            f"The rules of the study forbid {facts.rules}. Retable refuses settings that break them, and starting "
            "weights that are recorded to have learned from such images. Published weights do not count as external "
            "data."
        )
    if facts.numbered:
        lines.append(
            "confusion\\_matrix.png names a class by its number in the table if no installed font has its letters."
        )
    listed = "\n\n" * bool(lines) + "\n".join(f"- {line}" for line in lines)
    columns = [*(["number"] if facts.numbered else []), "class", "training images"]
    return f"{head}{listed}\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n" + "\n".join(rows)


def _recipe_table(recipe: Mapping[str, Scalar]) -> str:
    if recipe.get("method") == LINEAR_PROBE:
        recipe = {name: value for name, value in recipe.items() if name in USED_BY_PROBES}
    changed = [name for name in recipe if recipe[name] != FIELDS[name].default]
    rest = [name for name in recipe if name not in changed]
    rows = [
        f"| `{name}` | {plain(str(recipe[name]))} | {FIELDS[name].doc.replace('|', '/')} |" for name in changed + rest
    ]
    return "| setting | value | meaning |\n| --- | --- | --- |\n" + "\n".join(rows)


def plain(text: str) -> str:
    """Escape text from outside, so that Markdown and HTML show it as it is, on one line.

    Neither emphasis, code, links, tags, table cells nor headings come of it.
    """
    shown = printable(" ".join(text.split()))
    return _SPECIAL.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), shown)


def _code(text: str) -> str:
    """Text from outside as code."""
    return f"<code>{plain(text)}</code>" if re.search(r"[`|\s]|[^ -~]", text) else f"`{text}`"
