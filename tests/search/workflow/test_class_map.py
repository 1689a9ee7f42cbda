"""The table of coarser classes: every mistake in it is named before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.workflow.pretraining.class_map import check_class_map, read_class_map
from trainer.common.errors import DataError


def write(folder: Path, text: str) -> Path:
    path = folder / "map.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["", "class,coarse\n", "folder,coarse_class\n", "Label,Coarse class\n"])
def test_a_header_may_stand_above_it(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, f'{header}Cubism,modern\n"Realism, late", old \nPop_Art,modern\nUkiyo_e,\n')
    expected = {"Cubism": "modern", "Realism, late": "old", "Pop_Art": "modern", "Ukiyo_e": ""}
    assert read_class_map(path) == expected


@pytest.mark.parametrize(
    "text, words",
    [
        ("Cubism,modern,1\nRealism,old,2\n", "3 columns"),
        ("Cubism,modern\nCubism,old\n", "row 2 gives the class 'Cubism' again"),
        ("Cubism,modern\n,old\n", "row 2 names no class"),
        ("Cubism,modern\nRealism,modern\n", "1 coarse class ('modern')"),
        ("Cubism,modern\nRealism,Modern\nDada,modern\n", "coarse labels that differ only in spelling: 'Modern'"),
        ('Cubism,"mod\nern"\nRealism,old\n', "row 1: the coarse class holds a control character: 'mod"),
        ("Cubism,\nRealism,\n", "0 coarse classes (none)"),
        ("", "is empty"),
    ],
)
def test_what_is_no_map(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as refused:
        read_class_map(write(tmp_path, text))
    assert words in str(refused.value)


def test_unknown_and_missing_classes_are_named_together(tmp_path: Path) -> None:
    path = write(tmp_path, "Cubism,modern\nRealsm,old\nDada,modern\n")
    classes = ("Cubism", "Realism", "Pop_Art")
    with pytest.raises(DataError) as refused:
        check_class_map(path, read_class_map(path), classes)
    text = str(refused.value)
    assert "no class 'Realsm'; did you mean Realism?" in text and "no class 'Dada'" in text
    assert "lacks 2 of the 3 classes: 'Realism', 'Pop_Art'" in text
    right = {"Cubism": "a", "Realism": "b", "Pop_Art": ""}
    assert check_class_map(path, right, classes) == right


@pytest.mark.parametrize(("own", "other"), [("caf\u00e9", "cafe\u0301"), ("cafe\u0301", "caf\u00e9")])
def test_classes_may_have_another_unicode_form(own: str, other: str) -> None:
    assert check_class_map(Path("map.csv"), {other: "drink", "bread": "food"}, (own, "bread")) == {
        own: "drink",
        "bread": "food",
    }
