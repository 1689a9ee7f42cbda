from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.formats.delimited import first_rows, read_table
from trainer.formats.text.blank_labels import split_at_label

LABELS = ("Canadair CRJ-700", "A320", "737-400", "Boeing 737 Max")
WORDS = st.text("abcXYZ", min_size=1, max_size=5)


@pytest.mark.parametrize("name", ["{:07}", "{:04}.jpg", "img_{}.PNG", "my photo {}.jpeg"])
@pytest.mark.parametrize("between", [" ", "\t", "   "])
def test_a_label_keeps_its_blanks(tmp_path: Path, name: str, between: str) -> None:
    rows = [(name.format(i), LABELS[i % 4]) for i in range(12)]
    path = tmp_path / "train.txt"
    path.write_text("\n".join(between.join(row) for row in rows) + "\n")

    assert list(read_table(path).rows) == rows
    assert list(map(tuple, first_rows(path, 3))) == rows[:3]


@given(st.lists(WORDS, min_size=2, max_size=4), st.lists(WORDS, min_size=1, max_size=3))
def test_every_row_keeps_its_words(first: list[str], second: list[str]) -> None:
    labels = [" ".join(first), " ".join(second)]
    rows = [[f"{i:03}.jpg", labels[i % 2]] for i in range(8)]
    found = split_at_label([" ".join(row) for row in rows])

    assert found in (None, rows)
    if len(first) > len(second) > 1:
        assert found == rows


@pytest.mark.parametrize("labels", [("golden retriever", "german shepherd"), ("golden retriever", "flat retriever")])
def test_labels_of_equally_many_words(labels: tuple[str, str]) -> None:
    rows = [[f"{i}.jpg", labels[i % 2]] for i in range(6)]

    assert split_at_label([" ".join(row) for row in rows]) == rows


def test_a_header_of_two_words_stays() -> None:
    assert split_at_label(["image label", *(f"{i}.jpg golden retriever" for i in range(4))]) == [
        ["image", "label"],
        *([f"{i}.jpg", "golden retriever"] for i in range(4)),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        [f"{i}.jpg cat" for i in range(6)],  # one word in each field
        [f"{i}.jpg 3 5 7" for i in range(6)],  # numbers
        [f"{i}.jpg {i} {i + 1} cat" for i in range(6)],  # a box for each image
        ["1.jpg cat", "2.jpg dog", "3.jpg cat dog", "4.jpg cat", "5.jpg dog", "6.jpg cat dog"],  # several labels
        [f"{i}.jpg {'cat' if i % 2 else 'dog'} {'train' if i < 4 else 'test'}" for i in range(8)],  # a part
        [f"{i}.jpg {'cat' if i % 2 else 'golden retriever'} test" for i in range(8)],
        [f"{i}.jpg train {'cat' if i % 2 else 'golden retriever'}" for i in range(8)],
        [f"{i}.jpg {'cat 0' if i % 2 else 'golden retriever 1'}" for i in range(8)],  # a number
        [f"{i}.jpg {'cat 0' if i % 2 else 'dog 1'}" for i in range(8)],
        [f"{i}.jpg {'man' if i % 2 else 'woman'} {'old' if i % 4 < 2 else 'young'}" for i in range(8)],  # attributes
        ["1 golden retriever", "2 siamese cat", "3 eel"],  # names of classes
        ["a text", "of some lines", "that names nothing"],
        ["photo 1.jpg", "photo 2.jpg", "photo 3.jpg"],
        [],
    ],
)
def test_other_lines(lines: list[str]) -> None:
    assert split_at_label(lines) is None


def test_quoted_cells_are_no_part_of_this(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("".join(f'{i}.jpg "golden retriever"\n' for i in range(4)))

    assert read_table(path).rows[0] == ("0.jpg", "golden retriever")
