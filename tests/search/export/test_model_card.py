"""MODEL_CARD.md: scores, members, warnings, and escaped text."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import markdown_it
import pytest

from search.export.exported_model import TOLERANCE_ON_GPUS
from search.export.model_card import CardFacts, CardMember, write_card
from search.statistics.estimates import Estimate
from search.statistics.member_names import MemberName
from trainer.inference.printable import printable
from trainer.recipe.recipe import Recipe

MEMBER = CardMember(
    name=MemberName(trial=7),
    backbone="test_resnet",
    weight=1.0,
    networks=15,
    views=("identity", "hflip"),
    recipe=Recipe.from_flat({"backbone": "test_resnet", "augment.sepia": 0.3}).to_flat(),
)
FACTS = CardFacts(
    studies=["colours"],
    study_title="Three colours",
    metric="accuracy",
    members=(MEMBER,),
    trials_finished=12,
    trials_pruned=8,
    search_score=0.91,
    search_error=0.02,
    estimate=None,
    score=0.93,
    score_error=0.019,
    folds=5,
    seeds=3,
    full_data=False,
    reasons=("Trial 7 alone: no other recipe ties with it.",),
    expected="",
    chances="",
    class_names=("<script>alert(1)</script>", "a|b"),
    class_counts=(30, 12),
    test_images=40,
    fingerprint="f" * 64,
    versions={"torch": "2.14.1"},
    warnings=("<b>careful</b>",),
)


def test_the_card_states_scores_networks_and_settings() -> None:
    card = write_card(FACTS)
    for part in (
        "0.9300 ± 0.0190",
        "trained on all but one of 5 folds each",
        "best of 12 finished trials (8 more trials were stopped early)",
        "15 networks",
        "hflip",
    ):
        assert part in card
    assert card.index("`augment.sepia` | 0.3") < card.index("`augment.hflip` | 0.0"), "changed settings come first"


def test_the_card_names_label_corrections() -> None:
    line = "2 labels corrected, 1 image dropped by the corrections in retable_corrections.csv"
    assert f"- {line}." in write_card(replace(FACTS, corrections=line))
    assert "corrected" not in write_card(FACTS)


IMPORTED = CardMember(name=MemberName(label="big"), weight=1.0)
MANY = {"class_names": [str(i) for i in range(10)], "class_counts": range(10)}


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"class_names": ("cat", "dog")}, "# cat or dog: test_resnet"),
        ({"class_names": ("cat", "dog"), "folder": "pets"}, "# cat or dog in pets: test_resnet"),
        (MANY, "# 10 classes (0, 1, 2, …): test_resnet"),
        (
            {"class_names": ("a", "b"), "members": (MEMBER, replace(MEMBER, backbone="vit"), MEMBER, IMPORTED)},
            "# a or b: test_resnet and vit and imported big",
        ),
    ],
)
def test_the_title_says_what_the_model_is(changes: dict[str, object], title: str) -> None:
    lines = write_card(replace(FACTS, **changes)).splitlines()  # type: ignore[arg-type]
    assert lines[0] == title
    assert lines[2].startswith("Made by Retable from study `colours` (Three colours), trial")


def test_the_card_states_how_exactly_the_model_was_checked() -> None:
    assert "The export checked" not in write_card(FACTS)
    assert "by at most 0.001. Another device" in write_card(replace(FACTS, tolerance=TOLERANCE_ON_GPUS))


def test_the_card_numbers_the_classes_where_a_picture_does() -> None:
    facts = replace(FACTS, class_names=("しめじ", "茸"))
    assert "| class | training images |\n| --- | --- |\n| しめじ | 30 |\n| 茸 | 12 |" in write_card(facts)
    card = write_card(replace(facts, numbered=True))
    assert "| number | class | training images |\n| --- | --- | --- |\n| 0 | しめじ | 30 |\n| 1 | 茸 | 12 |" in card
    assert "names a class by its number in the table" in card


def test_class_names_and_warnings_are_escaped() -> None:
    card = write_card(FACTS)
    assert "<script>" not in card and "&lt;script&gt;" in card
    assert "a\\|b" in card
    assert "<b>" not in card


HOSTILE = (
    "<script>alert(1)</script>",
    "a|b\n| x | y |",
    "`code`",
    "[click](https://evil.example)",
    "![](https://evil.example/x.png)",
    "www.evil.example",
    "**bold** _it_ ~~gone~~ $x$",
    "# heading",
    "a\r\n\r\n# heading",
    "back\\slash",
    "\u202ereversed",
    "nul\0 bell\a",
    "&lt;b&gt;",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_outside_are_shown_as_they_are(name: str) -> None:
    """Rendered as Markdown, every name is plain text in its cell: no tag, link, picture or second row."""
    card = write_card(replace(FACTS, class_names=(name, "b"), warnings=(name,), study_title=name, studies=(name,)))
    plain = write_card(replace(FACTS, class_names=("a", "b"), warnings=("a",), study_title="a", studies=("a",)))
    assert len(card.splitlines()) == len(plain.splitlines()), "one line each"
    markdown = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    rendered, expected = markdown.render(card), markdown.render(plain)
    tags = re.findall(r"<[^>]*>", rendered.replace("<code>", "").replace("</code>", ""))
    assert tags == re.findall(r"<[^>]*>", expected.replace("<code>", "").replace("</code>", ""))
    shown = printable(" ".join(name.split()))
    assert html.unescape(rendered).count(shown) == 4 + (len(name) <= 30), "also in the title, unless it is long"


def test_models_of_all_images_have_no_score_of_their_own() -> None:
    full = replace(FACTS, full_data=True, members=(replace(MEMBER, networks=3),))
    card = write_card(replace(full, score=None, score_error=None))
    assert "nothing was held out" in card
    assert "3 networks" in card and "all images" in card
    assert "± 0.0190" not in card
    assert "cross-validated on fresh splits and blended in the same way: accuracy **0.9300" in write_card(full)


def test_the_card_of_an_ensemble_shows_members_reasons_and_forecast() -> None:
    other = replace(MEMBER, name=MemberName(trial=12), backbone="test_vit", weight=None)
    estimate = Estimate(
        number=7, rounds=3, mean=0.92, shrunk=0.905, error=0.015, averaged=0.91, gap_to_leader=0.0, gap_error=0.0,
        tied=True, eliminated=False, chance_best=0.6,
    )  # fmt: skip
    reason = "The average of trials 7, 12 gains +0.8 ± 0.5 points over trial 7 alone, out-of-fold, nested."
    expected = "Expected on the 40 test images: accuracy 0.9000"
    card = write_card(replace(FACTS, members=(MEMBER, other), estimate=estimate, reasons=(reason,), expected=expected))
    for part in (reason, expected, "trials 7, 12", "30 networks", "On 3 fresh splits", "**0.9050 ± 0.0150**"):
        assert part in card
    assert "| 12 | `test_vit` | regression | 15 |" in card and "| 7 | `test_resnet` | 1.000 | 15 |" in card
    assert card.index("0.9050") > card.index("In the search, trial 7 scored 0.9100"), "after the score in the search"
    assert "## Recipe of trial 7" in card and "## Recipe of trial 12" in card
    assert "partly lucky" not in card, "fresh splits have no selection bias"


def test_the_card_of_a_linear_probe_lists_what_a_probe_uses() -> None:
    recipe = Recipe.from_flat({"backbone": "test_resnet", "method": "linear_probe", "epochs": 1}).to_flat()
    card = write_card(replace(FACTS, members=(replace(MEMBER, recipe=recipe),)))
    assert "`method`" in card and "`image_size`" in card
    assert not any(f"`{name}" in card for name in ("optimizer.", "augment.", "schedule.", "epochs", "drop"))


@pytest.mark.parametrize(
    ("trials", "probes", "pruned", "words"),
    [
        (12, 0, 8, "best of 12 finished trials (8 more trials were stopped early). "),
        (2, 1, 1, "best of 2 finished trials and 1 linear probe (1 more trial was stopped early). "),
        (1, 0, 0, "best of 1 finished trial. "),
        (0, 6, 0, "best of 6 linear probes. "),
    ],
)
def test_the_card_counts_trials_and_probes(trials: int, probes: int, pruned: int, words: str) -> None:
    assert words in write_card(replace(FACTS, trials_finished=trials, probes_finished=probes, trials_pruned=pruned))


def test_a_score_without_selection_bias_is_not_called_lucky() -> None:
    assert "partly lucky" in write_card(FACTS)
    card = write_card(replace(FACTS, lucky=False))
    assert "partly lucky" not in card and "Nested selection finds no selection bias" in card


def test_the_card_names_starting_weights_and_rules() -> None:
    start = "Trial 7 begins with the weights art: resnet18, supervised on 900 images (licence note: <CC0>)."
    card = write_card(replace(FACTS, starts=(start,), rules="external data"))
    data = card.partition("## Data")[2].partition("## ")[0]
    assert "- Trial 7 begins with the weights art" in data and "&lt;CC0&gt;" in data
    assert "- The rules of the study forbid external data" in data
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(card)
    assert sum(token.type == "list_item_open" for token in tokens) > 2
    assert "The rules of the study" not in write_card(FACTS)
