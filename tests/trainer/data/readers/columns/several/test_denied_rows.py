"""Rows that deny their label: melted tables, and the rejected labels of Open Images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import problems_of, save
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images

ANIMALS = ("cat", "dog", "fox")


def folder(root: Path, header: str, rows: Sequence[str], images: int = 6) -> Path:
    for i in range(images):
        save(root / "images" / f"{i}.png", i, 8)
    (root / "train.csv").write_text("\n".join([header, *rows]))
    return root


def read(root: Path, **options: object) -> ImageSet:
    return read_images(root, DataOptions(**options), verify=False)  # type: ignore[arg-type]


def melted(yes: str, no: str, holds: Sequence[Sequence[int]]) -> list[str]:
    return [f"{i}.png,{a},{(no, yes)[a_i]}" for i, own in enumerate(holds) for a, a_i in zip(ANIMALS, own, strict=True)]


ONE_EACH = [[int(i % 3 == k) for k in range(3)] for i in range(6)]
SEVERAL = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    "header", ["label,present", "label,value", "attribute,is_present", "variable,value", "label,seen"]
)
@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("True", "False"), ("present", "absent"), ("1", "-1")])
def test_a_row_for_each_image_and_label(tmp_path: Path, header: str, yes: str, no: str) -> None:
    root = folder(tmp_path, f"image,{header}", melted(yes, no, SEVERAL))
    column = header.split(",")[0]
    found = read(root, several_labels="yes", label_column=column)
    assert found.class_names == ANIMALS and found.y.tolist() == SEVERAL
    assert any("10 of 18 rows are no labels" in warning for warning in found.warnings)
    assert "2 images have several labels and 1 have none" in problems_of(root, DataOptions(label_column=column))


@pytest.mark.parametrize("header", ["label,present", "attribute,is_present", "variable,value"])
@pytest.mark.parametrize("several", ["auto", "yes", "no"])
def test_each_image_has_one_of_the_labels(tmp_path: Path, header: str, several: str) -> None:
    found = read(folder(tmp_path, f"image,{header}", melted("1", "0", ONE_EACH)), several_labels=several)
    assert [found.label_of(i) for i in range(6)] == ["cat", "dog", "fox"] * 2


@pytest.mark.parametrize(("cell", "message"), [("2", "'2'"), ("u", "'u'"), ("", "''"), ("O", "'O'")])
def test_another_cell_is_named(tmp_path: Path, cell: str, message: str) -> None:
    rows = melted("1", "0", SEVERAL)
    rows[4] = rows[4][:-1] + cell
    problem = problems_of(folder(tmp_path, "image,label,present", rows), DataOptions(several_labels="yes"))
    assert problem.startswith(f"train.csv row 6: {message} in the column 'present'")


def test_rejected_labels_of_open_images(tmp_path: Path) -> None:
    rows = [f"{i},verification,{ANIMALS[i % 3]},{int(i > 0)}" for i in range(6)]
    found = read(folder(tmp_path, "ImageID,Source,LabelName,Confidence", rows))
    assert found.train_ids == tuple("12345") and found.label_of(0) == "dog"
    assert any("left out: 1 image, such as '0'" in warning for warning in found.warnings)
    more = [*rows, "0,verification,fox,1", "1,verification,cat,0"]
    found = read(folder(tmp_path, "ImageID,Source,LabelName,Confidence", more), several_labels="yes")
    assert sorted(zip(found.train_ids, map(found.label_of, range(6)), strict=True))[:2] == [("0", "fox"), ("1", "dog")]


def test_doubtful_confidence_is_named(tmp_path: Path) -> None:
    rows = [f"{i},{ANIMALS[i % 3]},{value}" for i, value in enumerate((0.9, 0.2, 1, 0, 1, 0.8))]
    found = read(folder(tmp_path, "image,label,confidence", rows))
    assert found.train_ids == tuple("01245")
    assert any("1 rows have less than 0.5 in 'confidence', such as 0.2 for 'dog'" in text for text in found.warnings)


@pytest.mark.parametrize("several", ["auto", "yes", "no"])
@pytest.mark.parametrize("end", ["", ",3"])
def test_rows_for_all_labels_alone_say_nothing(tmp_path: Path, several: str, end: str) -> None:
    rows = [f"{i}.png,{animal}{end}" for i in range(6) for animal in ANIMALS]
    root = folder(tmp_path, f"image,label{',count' * bool(end)}", rows)
    if several == "auto" and not end:
        assert "--several-labels yes" in read(root).warnings[-1]
    else:
        problem = problems_of(root, DataOptions(several_labels=several))  # type: ignore[arg-type]
        assert "do not tell the images apart" in problem


@pytest.mark.parametrize(
    "options", [DataOptions(label_column="target"), DataOptions(), DataOptions(several_labels="yes")]
)
def test_yes_and_no_are_no_labels_of_an_image(tmp_path: Path, options: DataOptions) -> None:
    root = folder(tmp_path, "image,attribute,target", melted("1", "0", SEVERAL))
    assert "Choose the labels with --label-column attribute" in problems_of(root, options)


def test_yes_means_no(tmp_path: Path) -> None:
    root = folder(tmp_path, "image,label,absent", melted("0", "1", SEVERAL))
    assert "Write a column 'present' in its place" in problems_of(root, DataOptions(several_labels="yes"))


def test_a_flag_of_unknown_meaning_is_named(tmp_path: Path) -> None:
    rows = ["0.png,cat,1", "0.png,dog,0", *(f"{i}.png,{ANIMALS[i % 3]},1" for i in range(1, 6))]
    root = folder(tmp_path, "image,label,seen", [*rows, "1.png,fox,0"])
    found = read(root, several_labels="yes")
    assert found.label_of(0) == "cat + dog" and any("'seen' holds '0', '1'" in text for text in found.warnings)
    (root / "train.csv").write_text((root / "train.csv").read_text().replace("seen", "occluded"))
    assert not any("occluded" in text for text in read(root, several_labels="yes").warnings)


def test_raters_of_a_binary_label_are_no_labels(tmp_path: Path) -> None:
    rows = [
        f"{i}.png,{rater},{int(i % 2 == 0 or (i == 1 and rater == 'bo'))}" for i in range(6) for rater in ("al", "bo")
    ]
    found = problems_of(folder(tmp_path, "image,annotator,label", rows))
    assert "--label-column annotator" not in found
