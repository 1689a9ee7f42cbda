"""Ids as spreadsheets and web addresses spell them: matched and reported, or the nearest file name is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import read_images
from trainer.data.readers.matching.id_spellings import alike, unpadded
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.matching.nearest_name import nearest_name_hint
from trainer.formats.delimited import write_table

WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}  # full-width forms of ASCII


def folder_of(root: Path, files: list[str], ids: list[str]) -> Path:
    for seed, name in enumerate(files):
        save(root / "images" / name, seed, 8)
    write_table(
        root / "labels.csv", [("id", "label"), *((identifier, "ab"[i % 2]) for i, identifier in enumerate(ids))]
    )
    return root


@pytest.mark.parametrize(
    ("file", "identifier", "said"),
    [
        ("{}.png", '="{}"', "marks of a spreadsheet"),
        ("{:04}.png", '="{:04}"', "marks of a spreadsheet"),
        ("{:04}.png", '="{}"', "marks of a spreadsheet"),
        ("{}.png", "'{}", "marks of a spreadsheet"),
        ("{}.png", "\u201c{}.png\u201d", "marks of a spreadsheet"),
        ("{}.png", "{}.0", "a decimal point"),
        ("{}.png", "{},00", "without a comma"),
        ("12{:03}.png", "12,{:03}", "without a comma"),
        ("{:04}.png", "{}", "leading zeros"),
        ("img_{:04}.png", "img_{}.png", "leading zeros"),
        ("{}.png", "{}.PNG", "in case or blanks"),
        ("{}.png", "{} ", "in case or blanks"),
        ("IMG_{}.png", "img_{}", "in case, width, blanks or invisible characters"),
        ("{}.png", "{}.png\u200b", "in case, width, blanks or invisible characters"),
        ("{} .png", "{}", "in case, width, blanks or invisible characters"),
        ("a  b {}.png", "a b {}.png", "in case, width, blanks or invisible characters"),
        ("a b {}.png", "a   b  {}", "in case, width, blanks or invisible characters"),
        ("{}.png", "{}.png?x=1", "without their query"),
        ("{:03}.png", "{}?x=1", "without their query"),
        ("{}.png", "{0}.png (https://dl.airtable.com/.attachments/2f1c/{0}.png)", "without the address"),
        ("a b{}.png", "a%20b{}.png", "without their query"),
    ],
)
def test_other_spellings_find_their_files_and_are_reported(
    tmp_path: Path, file: str, identifier: str, said: str
) -> None:
    files = [file.format(i) for i in range(1, 9)]
    found = read_images(folder_of(tmp_path, files, [identifier.format(i) for i in range(1, 9)]), verify=False)
    assert found.train_images.subset(range(8)).name(2).startswith(f"images/{files[2]}")
    assert labels_of(found) == list("abababab")
    assert any(said in note and repr(identifier.format(1)) in note for note in found.notes)


@pytest.mark.parametrize("wide_ids", [True, False])
@pytest.mark.parametrize("name", ["{}", "img{}"])
def test_full_width_characters_are_ascii(tmp_path: Path, name: str, *, wide_ids: bool) -> None:
    plain = [name.format(i) for i in range(1, 5)]
    wide = [text.translate(WIDE) for text in plain]
    ids, stems = (wide, plain) if wide_ids else (plain, wide)
    found = read_images(folder_of(tmp_path, [f"{stem}.png" for stem in stems], ids), verify=False)
    assert found.train_ids == tuple(ids) and any("width" in note for note in found.notes)


def test_full_width_digits_may_have_lost_their_zeros() -> None:
    found = ImageMatcher(ImageFiles(Path(), ["0005.png"]), "train").match(["\uff15"])
    assert found.paths == {"\uff15": "0005.png"}


def test_two_spellings_of_one_file_are_an_error(tmp_path: Path) -> None:
    root = folder_of(tmp_path, ["0007.png", "1.png", "2.png"], ["7", '="0007"', "1", "2"])
    assert "images/0007.png is the image of the id '7' already" in problems_of(root)


def test_an_id_never_takes_the_file_of_two_names() -> None:
    files = ImageFiles(Path(), ["007.png", "0007.png", "A.png", "a.png", "a1_01.png", "a01_1.png"])
    found = ImageMatcher(files, "train").match(['="7"', "\uff21", "a01_01"])
    assert found.paths == {"\uff21": "A.png"}, "half-width, it is the name of one file"
    assert "could be 0007.png or 007.png" in str(found.errors['="7"'])
    assert "could be a01_1.png or a1_01.png" in str(found.errors["a01_01"])


def test_several_numbers_with_other_zeros_are_no_match(tmp_path: Path) -> None:
    root = folder_of(tmp_path, [f"s_2020_01_{i:02}.png" for i in range(1, 5)], [f"s_2020_1_{i}" for i in range(1, 5)])
    assert "the nearest file name is images/s_2020_01_04.png" in problems_of(root)


@pytest.mark.parametrize(
    ("identifier", "nearest"),
    [("cel_004", "cell_004.png"), ("cell-05.png", "cell_005.png"), ("9.0", "cell_008.png"), ("cell_99", None)],
)
def test_an_id_without_an_image_names_the_nearest_file(tmp_path: Path, identifier: str, nearest: str | None) -> None:
    files = [f"cell_{i:03}.png" for i in range(1, 9)]
    message = problems_of(folder_of(tmp_path, files, [*(f"cell_{i:03}" for i in range(1, 4)), identifier]))
    assert f"labels.csv row 5: there is no image {identifier!r}; the nearest file name is images/" in message
    assert nearest is None or f"images/{nearest}" in message


def test_a_rounded_number_is_no_id(tmp_path: Path) -> None:
    files = ["1234567890123.png", "1.png", "2.png"]
    assert "a spreadsheet has rounded this number" in problems_of(folder_of(tmp_path, files, ["1.23457E+12", "1", "2"]))


def test_masks_are_no_nearest_file() -> None:
    files = ImageFiles(Path(), ["images/a1.png", "masks/b1.png"])
    matcher = ImageMatcher(files, "train")
    error = matcher.match(["b12"]).errors["b12"]
    assert matcher.explained("b12", error).endswith("the nearest file name is images/a1.png")


def test_nothing_is_near_an_id_of_other_characters() -> None:
    assert nearest_name_hint("ほげ", ["abc.png"]) == ""


def test_hashed_ids_are_near_only_if_most_characters_agree() -> None:
    names = [f"{hashlib.sha256(bytes([i])).hexdigest()[:16]}.png" for i in range(200)]
    assert all(nearest_name_hint(name[:-4], [n for n in names if n != name]) == "" for name in names[:5])
    misspelt = f"0{names[7][1:10]}x{names[7][10:]}"
    assert nearest_name_hint(misspelt, names).endswith(names[7])


@given(st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1))
def test_forms_of_a_name_are_stable(name: str) -> None:
    assert alike(alike(name)) == alike(name)
    assert unpadded(unpadded(name)) == unpadded(name)
