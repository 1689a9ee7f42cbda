"""The model card says what matters and lets nothing through as HTML."""

from __future__ import annotations

from dataclasses import replace

from search.model_card import CardFacts, write_card
from trainer.recipe import Recipe

FACTS = CardFacts(
    study="colours",
    title="Three colours",
    metric="accuracy",
    trial=7,
    trials_finished=12,
    trials_pruned=8,
    search_score=0.91,
    search_error=0.02,
    score=0.93,
    score_error=0.019,
    folds=5,
    seeds=3,
    full_data=False,
    views=("identity", "hflip"),
    class_names=("<script>alert(1)</script>", "a|b"),
    class_counts=(30, 12),
    test_images=40,
    fingerprint="f" * 64,
    recipe=Recipe.from_flat({"backbone": "test_resnet", "augment.sepia": 0.3}).to_flat(),
    versions={"torch": "2.14.1"},
    warnings=("<b>careful</b>",),
)


def test_the_card_states_scores_doubts_and_origin() -> None:
    card = write_card(FACTS)
    for part in ("0.9300 ± 0.0190", "5 folds x 3 seeds", "best of 12 finished trials (8 more", "15 networks", "hflip"):
        assert part in card
    assert card.index("`augment.sepia` | 0.3") < card.index("`augment.hflip` | 0.0"), "what was changed stands first"


def test_class_names_and_warnings_are_escaped() -> None:
    card = write_card(FACTS)
    assert "<script>" not in card and "&lt;script&gt;" in card
    assert "a\\|b" in card
    assert "<b>" not in card


def test_models_trained_on_everything_claim_no_score() -> None:
    card = write_card(replace(FACTS, full_data=True, score=None, score_error=None))
    assert "nothing was held out" in card
    assert "3 networks" in card and "all images" in card
