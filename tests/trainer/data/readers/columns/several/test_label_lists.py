"""Labels of an image in several columns, and cells with rare separators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.images import problems_of, save
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.data.readers.columns.several.other_marks import OTHER_MARKS, lists_by_marks, unify_marks

YES = DataOptions(several_labels="yes")


def folder(root: Path, header: str, rows: Sequence[str], mark: str = ",") -> Path:
    for i in range(len(rows)):
        save(root / "train" / f"{i}.png", i, 8)
    lines = [f"image{mark}{header}", *(f"{i}.png{mark}{row}" for i, row in enumerate(rows))]
    (root / "train.csv").write_text("\n".join(lines), encoding="utf-8")
    return root


def read(root: Path, **options: object) -> ImageSet:
    return read_images(root, DataOptions(**options), verify=False)  # type: ignore[arg-type]


def several(found: ImageSet) -> list[str]:
    return [found.label_of(i) for i in range(len(found.y))]


@pytest.mark.parametrize(
    "names", ["label1,label2", "disease_1,disease_2", "label,label2", "label,secondary_labels", "Type1,Type2"]
)
@pytest.mark.parametrize("blank", ["", "none", "NaN", "-"])
def test_two_columns_of_labels(tmp_path: Path, names: str, blank: str) -> None:
    root = folder(tmp_path, names, [f"cat,{blank}", f"dog,{blank}", "cat,dog"] * 4)
    found = read(root, several_labels="yes")
    assert found.class_names == ("cat", "dog") and several(found) == ["cat", "dog", "cat + dog"] * 4
    first = names.split(",")[0]
    asked = read(root, label_column=first)
    assert several(asked) == ["cat", "dog", "cat"] * 4
    assert any(f"{names.split(',')[1]!r} may hold further labels of 4 images" in text for text in asked.warnings)
    assert not read(root, label_column=first, several_labels="no").warnings


def test_labels_that_occur_in_further_columns_alone(tmp_path: Path) -> None:
    rows = ["cat,,", "dog,sea lion,", ",fox,", "cat,fox,sea lion", "dog,dog,", "cat,,fox"] * 2
    found = read(folder(tmp_path, "label_1,label_2,label_3", rows), several_labels="yes")
    assert several(found)[:6] == ["cat", "dog + sea lion", "fox", "cat + fox + sea lion", "dog", "cat + fox"]


def test_full_columns_of_labels_are_a_question_that_yes_answers(tmp_path: Path) -> None:
    root = folder(tmp_path, "finding_a,finding_b", ["cat,dog", "dog,fox", "cat,cat"] * 4)
    assert "--several-labels yes (data.several_labels) reads all of them" in problems_of(root)
    assert several(read(root, several_labels="yes")) == ["cat + dog", "dog + fox", "cat"] * 4


def test_lists_in_a_further_column(tmp_path: Path) -> None:
    rows = ["cat,dog fox", "dog,", "fox,cat", "sea lion,fox dog"] * 3
    found = read(folder(tmp_path, "primary_label,secondary_labels", rows), several_labels="yes")
    assert several(found)[:4] == ["cat + dog + fox", "dog", "cat + fox", "dog + fox + sea lion"]


def test_a_column_with_the_same_names_is_a_question(tmp_path: Path) -> None:
    root = folder(tmp_path, "label,also_seen", ["cat,", "dog,", "cat,dog"] * 4)
    assert "'also_seen' holds names of labels as 'label' does" in problems_of(root, YES)
    assert any("'also_seen' may hold further labels" in text for text in read(root).warnings)


@pytest.mark.parametrize("column", ["predicted,cat,dog,dog", "label_id,0,1,0", "label2,0,1,1", "flag,x,,x"])
def test_other_columns_hold_no_further_labels(tmp_path: Path, column: str) -> None:
    name, *cells = column.split(",")
    rows = [f"{label},{cell}" for label, cell in zip(("cat", "dog", "cat"), cells, strict=True)] * 4
    root = folder(tmp_path, f"label,{name}", rows)
    assert not read(root).warnings and several(read(root, several_labels="yes")) == ["cat", "dog", "cat"] * 4


@pytest.mark.parametrize("mark", OTHER_MARKS)
def test_rare_separators(tmp_path: Path, mark: str) -> None:
    root = folder(tmp_path, "labels", ["rust", "scab", f"rust{mark}scab", "mildew"] * 3, mark="\t")
    auto = read(root)
    assert any("3 images seem to have several labels" in text for text in auto.warnings) and len(auto.class_names) == 4
    found = read(root, several_labels="yes")
    assert several(found) == ["rust", "scab", "rust + scab", "mildew"] * 3 and not found.warnings
    assert not read(root, several_labels="no").warnings


@pytest.mark.parametrize(
    "cell", ["cat#dog", "cat => dog", "Cat+dog", "cat\\ndog", "cat, sea lion and dog", "cat;dog/sea lion"]
)
def test_other_marks_and_several_marks_in_one_cell(tmp_path: Path, cell: str) -> None:
    root = folder(tmp_path, "labels", ["cat", "dog", cell, "sea lion", "cat;dog"] * 3, mark="\t")
    found = read(root, several_labels="yes", similar_labels="merge")
    assert found.class_names == ("cat", "dog", "sea lion")
    assert several(found)[2] == " + ".join(name for name in found.class_names if name in cell.lower())
    assert several(found)[4] == "cat + dog"


def test_names_with_a_mark_stay_whole(tmp_path: Path) -> None:
    root = folder(tmp_path, "labels", ["rust", "scab", "rust/scab", "black/white"] * 3)
    found = read(root, several_labels="yes")
    assert found.class_names == ("black/white", "rust", "scab")
    assert any("'black/white' stays one label" in text for text in found.warnings)


@pytest.mark.parametrize("cell", ["black/white", "salt & pepper", "salt and pepper", "t-shirt", "sea_lion"])
def test_without_several_labels_the_option_says_so(tmp_path: Path, cell: str) -> None:
    root = folder(tmp_path, "labels", ["rust", "scab", cell] * 3)
    assert not read(root).warnings
    found = read(root, several_labels="yes")
    assert found.class_names == tuple(sorted(("rust", "scab", cell)))
    assert any("no image has several labels" in text for text in found.warnings)


def test_another_separator_among_lists_and_labels_that_deny(tmp_path: Path) -> None:
    root = folder(tmp_path, "labels", ["cat|dog", "dog|fox", "cat", "dog", "fox", "cat|fox", "cat+dog", "fox|-dog"] * 2)
    found = read(root, several_labels="yes")
    assert found.class_names == ("-dog", "cat", "dog", "fox")
    assert any("separated by '+', such as 'cat+dog', '|', such as" in text for text in found.notes)
    assert any("'-dog' is read as classes" in text for text in found.warnings)


def test_the_submission_has_the_separator_of_the_table(tmp_path: Path) -> None:
    root = folder(tmp_path, "labels", ["rust", "scab", "rust+scab", "mildew"] * 3)
    save(root / "test" / "t.png", 99, 8)
    (root / "sample_submission.csv").write_text("image,labels\nt.png,rust\n")
    form = read(root, several_labels="yes").submission
    assert form is not None and form.separator == "+"


@given(st.sets(st.text("abc", min_size=1, max_size=3), min_size=2, max_size=4), st.sampled_from(OTHER_MARKS))
def test_lists_of_whole_cells_are_found(labels: set[str], mark: str) -> None:
    own = sorted(labels)
    assert lists_by_marks([*own, mark.join(own)]) == {mark.join(own): (mark, own)}
    found = unify_marks("t", [*own, mark.join(own)])
    assert found is not None and found.cells == (*own, "|".join(own))
    assert unify_marks("t", own) is None


def test_columns_of_0_and_1_beside_a_usual_name_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path, "label,cat,dog", ["a,1,0", "b,0,1", "a,1,1"] * 4)
    assert any("'cat', 'dog' hold 0 and 1" in text for text in read(root, several_labels="yes").warnings)


def test_two_usual_names_of_one_word(tmp_path: Path) -> None:
    root = folder(tmp_path, "label,labels", ["cat,", "dog,fox", "fox,cat"] * 4)
    assert several(read(root, several_labels="yes")) == ["cat", "dog + fox", "cat + fox"] * 4


@pytest.mark.parametrize("cell", ["cat -dog", "cat/-dog", "cat+dog?", "cat !dog", "cat (dog)", "-dog"])
def test_labels_that_are_denied_or_doubted_are_not_read_as_given(cell: str) -> None:
    assert lists_by_marks(["cat", "dog", cell]) == {}


def test_further_labels_in_few_rows_of_many_classes(tmp_path: Path) -> None:
    root = folder(tmp_path, "label,label2", ["cat,", "dog,", "fox,", "cat,fox", "emu,"] * 3)
    assert "--several-labels yes (data.several_labels) reads all of them" in problems_of(root)
    assert several(read(root, several_labels="yes"))[:4] == ["cat", "dog", "fox", "cat + fox"]


@pytest.mark.parametrize("mark", ["|", ";", ",", " "])
def test_votes_are_a_question(tmp_path: Path, mark: str) -> None:
    votes = ["cat,cat,dog", "dog,dog,dog", "fox,cat,fox", "dog,fox,dog", "cat", "dog", "fox"] * 3
    rows = [row.replace(",", mark) for row in votes]
    message = problems_of(folder(tmp_path, "label", rows, mark="\t"))
    assert (
        "train.csv: 12 cells of labels name one of them several times" in message and "votes of annotators" in message
    )
    found = read(tmp_path, several_labels="yes")  # as the message says
    assert several(found)[:4] == ["cat + dog", "dog", "cat + fox", "dog + fox"]
    folder(tmp_path, "label", [row.split(mark)[-1] for row in rows], mark="\t")
    assert several(read(tmp_path))[:4] == ["dog", "dog", "fox", "dog"]


def test_three_votes_for_each_image_are_a_question(tmp_path: Path) -> None:
    folder(tmp_path, "label", ["cat|cat|dog", "dog|dog|dog", "fox|cat|fox"] * 4)
    assert "12 cells of labels name one of them several times" in problems_of(tmp_path)


@pytest.mark.parametrize("label", ["Bora, Bora", "Gorilla gorilla gorilla", "wagga wagga"])
def test_a_name_that_repeats_a_word_is_no_vote(tmp_path: Path, label: str) -> None:
    rows = [label, "red fox", "dog"] * 4
    assert several(read(folder(tmp_path, "label", rows, mark="\t"))) == rows
