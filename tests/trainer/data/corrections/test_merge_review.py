"""Reviews become corrections: checked as a whole, and joined with the earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.common.errors import DataError
from trainer.data.corrections.merge_review import MergedReview, merge_review
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.formats.label_tables import Correction, ReviewRow


@pytest.fixture
def images(kaggle: Callable[..., Path]) -> ImageSet:
    """Images a0 to a5, in turn dogs and cats."""
    return read_images(kaggle(), verify=False)


def row(identifier: str, given: str, decision: str, number: int = 2) -> ReviewRow:
    return ReviewRow(
        id=identifier, given=given, proposed="", confidence="", decision=decision, row=f"review.csv row {number}"
    )


def correction(identifier: str, given: str, label: str | None, source: str = "") -> Correction:
    return Correction(id=identifier, given=given, label=label, fingerprint="earlier", label_source=source)


def decided(merged: MergedReview) -> list[tuple[str, str, str | None]]:
    return [(each.id, each.given, each.label) for each in merged.corrections]


def problems(images: ImageSet, *rows: ReviewRow, earlier: Sequence[Correction] = ()) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        merge_review(images, earlier, rows)
    assert "Nothing was changed" in caught.value.advice
    return caught.value.problems


def test_every_decision_becomes_a_correction(images: ImageSet) -> None:
    merged = merge_review(
        images, [], [row("a0", "dog", "cat"), row("a1", "cat", "KEEP"), row("a2", "dog", "drop"), row("a3", "cat", "")]
    )
    assert decided(merged) == [("a0", "dog", "cat"), ("a1", "cat", "cat"), ("a2", "dog", None)]
    assert (merged.decided, merged.undecided) == (3, 1)
    assert {each.fingerprint for each in merged.corrections} == {images.fingerprint}


def test_a_later_decision_replaces_an_earlier_one(images: ImageSet) -> None:
    earlier = [correction("a0", "dog", "cat"), correction("a1", "cat", None), correction("a2", "dog", "dog")]
    merged = merge_review(images, earlier, [row("a1", "cat", "keep")])
    assert decided(merged) == [("a0", "dog", "cat"), ("a1", "cat", "cat"), ("a2", "dog", "dog")]
    assert [each.fingerprint == "earlier" for each in merged.corrections] == [True, False, True]


@pytest.mark.parametrize(("decision", "label"), [("keep", "cat"), ("dog", "dog"), ("drop", None)])
def test_a_review_of_corrected_labels_is_about_the_label_of_the_data(
    images: ImageSet, decision: str, label: str | None
) -> None:
    """The study of the review was trained on a0 as a cat, as an earlier review had decided."""
    merged = merge_review(images, [correction("a0", "dog", "cat")], [row("a0", "cat", decision)])
    assert decided(merged) == [("a0", "dog", label)]


def test_a_decision_about_a_changed_label_removes_the_stale_one(images: ImageSet) -> None:
    merged = merge_review(images, [correction("a0", "cow", "cat")], [row("a0", "dog", "keep")])
    assert decided(merged) == [("a0", "dog", "dog")]


def test_decisions_about_other_labels_of_the_same_images_stay(images: ImageSet) -> None:
    assert images.label_source == "train.csv: label"
    others = correction("a0", "dog", "cat", "train.csv: second_label")
    merged = merge_review(images, [others], [row("a0", "dog", "keep")])
    assert decided(merged) == [("a0", "dog", "cat"), ("a0", "dog", "dog")]
    assert [each.label_source for each in merged.corrections] == ["train.csv: second_label", "train.csv: label"]


def test_a_review_of_other_labels_is_refused(images: ImageSet) -> None:
    reviewed = replace(row("a0", "dog", "cat"), label_source="train.csv: second_label")
    with pytest.raises(
        DataError, match=r"review.csv row 2 decides about the labels of 'train.csv: second_label'.*--st"
    ):
        merge_review(images, [], [reviewed])


def test_all_mistakes_are_named_at_once(images: ImageSet) -> None:
    found = problems(
        images,
        row("a9", "dog", "cat", 2),
        row("a0", "cat", "keep", 3),
        row("a1", "cat", "dgo", 4),
        row("a2", "dog", "keep", 5),
        row("a2", "dog", "drop", 6),
    )
    assert [problem.partition(": ")[0] for problem in found] == [f"review.csv row {n}" for n in (2, 3, 4, 6)]
    assert "there is no training image 'a9'; did you mean" in found[0]
    assert "'a0' has the label 'dog', not 'cat'" in found[1]
    assert "'dgo' is no class, keep or drop; did you mean dog" in found[2]
    assert "'a2' is decided differently in review.csv row 5" in found[3]


def test_a_class_called_drop_needs_a_prefix(kaggle: Callable[..., Path]) -> None:
    images = read_images(
        kaggle(tuple((f"a{i}", "drop" if i % 2 else "rain") for i in range(6)), sample=None), verify=False
    )
    (problem,) = problems(images, row("a0", "rain", "drop"))
    assert "write class:drop for the class" in problem
    assert decided(merge_review(images, [], [row("a0", "rain", "class:drop")])) == [("a0", "rain", "drop")]
    assert decided(merge_review(images, [], [row("a0", "rain", "keep")])) == [("a0", "rain", "rain")]
