"""Data sets that were changed as people and programs change them are read with the same labels, or refused.

Such tests are called metamorphic: each example is a usual layout, and any number of changes that mean nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.trainer.data.changed.changes import CHANGES
from tests.trainer.data.changed.data_set import DataSet, number_of
from tests.trainer.data.changed.layouts import LAYOUTS
from trainer.common.errors import DataError
from trainer.data.read import read_images

QUESTIONS = frozenset(
    (
        *("with_predictions", "with_old_copy", "with_part_of_rows", "with_repeated_rows", "with_class_list"),
        "with_a_side_table",
    )
)
"""Changes after which a second table may be meant as well: which one counts may be a question."""
ASKED = frozenset(
    (
        ("class_folders", "with_documents"),  # docs/ may be a class without images
        ("class_folders_and_parts_in_a_table", "with_documents"),
        ("class_folders_beside_tests", "with_documents"),
        ("class_folders", "with_thumbnails"),  # thumbs/ may be a class
        ("class_folders_beside_tests", "with_thumbnails"),
        ("class_folders_and_lists_of_parts", "with_thumbnails"),
        ("class_folders_and_lists_of_parts", "with_an_own_split"),  # two divisions of all images
        ("class_folders_and_lists_of_parts", "with_clean_rows"),
        ("class_folders_and_parts_in_a_table", "with_thumbnails"),
        ("class_folders_and_parts_in_a_table", "deeper"),  # the inner folders may be the classes
        ("class_folders_and_parts_in_a_table", "with_annotators"),  # annotators may be labels
        ("class_folders_and_parts_in_a_table", "with_notes"),
        ("class_folders_and_parts_in_a_table", "with_older_labels"),
        ("flags_in_a_second_table", "with_older_labels"),  # both tables hold labels then
        ("json_records", "stems"),  # only file names with their extensions make a table
        ("json_lines", "stems"),
        ("competition", "columns_shuffled"),  # a sample submission that begins with the labels
    )
)
"""Layouts and changes after which something else is a question."""
CLASSES = [
    ("cat", "dog", "fox"),
    ("0", "1", "2"),
    ("1", "10", "2"),
    ("bus", "test tubes", "steam train"),
    ("Müller", "Strauß", "日本"),
    ("yes", "no", "maybe"),
    ("True", "False", "NA"),
    ("left", "right", "none"),
    ("healthy", "not healthy", "unknown"),
    ("masks", "gloves", "helmet"),
    ("class_1", "class_2", "class_10"),
    ("2020", "2021", "2022"),
    ("M", "F", "N"),
]


def outcome(data: DataSet) -> str:
    """``right``, ``refused``, or what is wrong."""
    with tempfile.TemporaryDirectory() as place:
        data.write(Path(place))
        try:
            found = read_images(Path(place), verify=False)
        except DataError:
            return "refused"
        numbers = [number_of(found.train_images.content(row)) for row in range(len(found.y))]
        labels = {number: found.class_names[label] for number, label in zip(numbers, found.y, strict=True)}
        tests = {number_of(found.test_images.content(row)) for row in range(len(found.test_ids))}
    if len(numbers) == len(labels) and labels == data.labels and tests == data.tests:
        return "right"
    wrong = {number: label for number, label in labels.items() if data.labels.get(number) != label}
    return f"labels {wrong}, {len(numbers)} of {len(data.labels)} images, tests {sorted(tests ^ data.tests)}"


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_change_without_meaning_changes_nothing(layout: str) -> None:
    data = LAYOUTS[layout](("cat", "dog", "fox"))
    assert outcome(data) == "right"
    plain = [name for name in CHANGES if name not in QUESTIONS and (layout, name) not in ASKED]
    assert {name: found for name in plain if (found := outcome(CHANGES[name](data, Random(3)))) != "right"} == {}


@settings(max_examples=150)
@example(
    layout="class_folders_beside_tests", classes=("masks", "gloves", "helmet"), changes=["with_masks"], seed=0
)  # segmentations of the test images, too
@example(layout="class_folders", classes=CLASSES[0], changes=["with_masks_beside", "named_with_blanks"], seed=0)
@example(  # lines such as: images/7.png "not healthy"
    layout="lists_of_parts", classes=("healthy", "not healthy", "unknown"), changes=["tables_in_a_folder"], seed=0
)
@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    classes=st.sampled_from(CLASSES),
    changes=st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 2**16),
)
def test_no_change_gives_wrong_labels(
    layout: str, classes: tuple[str, str, str], changes: list[str], seed: int
) -> None:
    random, data = Random(seed), LAYOUTS[layout](classes)
    for name in changes:
        data = CHANGES[name](data, random)
    assert outcome(data) in ("right", "refused")
