"""A rare label that may be a frequent one with a typing error is named; labels that only look alike are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import read_images
from trainer.data.readers.doubts.doubtful_labels import doubtful_labels

HARDLY = "labels that hardly differ, as after a typing error, are read as classes of their own"


def table_of(root: Path, counts: dict[str, int]) -> Path:
    labels = [label for label, count in counts.items() for _ in range(count)]
    for number in range(len(labels)):
        save(root / "images" / f"{number}.png", number, 8)
    rows = [f"{number}.png,{label}" for number, label in enumerate(labels)]
    (root / "labels.csv").write_text("\n".join(("image,label", *rows)), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("frequent", "rare"),
    [
        ("melanoma", "melenoma"),
        ("melanoma", "Melanom"),
        ("healthy", "heathly"),
        ("benign", "bening"),
        ("cat", "catt"),
        ("dog", "dgo"),
        ("powdery mildew", "powdery mildrew"),
        ("Grade I", "Grade 1"),
        ("stage 2", "stage II"),
        ("BMW", "B.M.W."),
        ("caf\u00e9", "cafe"),
        ("cat", "maybe cat"),
    ],
)
def test_a_typing_error_is_a_warning_with_both_labels(tmp_path: Path, frequent: str, rare: str) -> None:
    root = table_of(tmp_path, {frequent: 10, "emu": 8, rare: 2})
    found = read_images(root, verify=False)
    assert set(found.class_names) == {frequent, rare, "emu"}
    (warning,) = found.warnings
    assert warning == (
        f"labels.csv: {HARDLY}: {frequent!r} (10 images) and {rare!r} (2 images); "
        "if two are one class, write them alike"
    )
    table = root / "labels.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(f",{rare}", f",{frequent}"), encoding="utf-8")
    corrected = read_images(root, verify=False)
    assert corrected.warnings == () and labels_of(corrected).count(frequent) == 12


def test_class_folders_with_a_typing_error_are_a_warning(tmp_path: Path) -> None:
    for name, count in {"melanoma": 10, "nevus": 8, "melenoma": 2}.items():
        for number in range(count):
            save(tmp_path / name / f"{number}.png", number, 8)
    assert any(
        text.startswith(f"the class folders: {HARDLY}: 'melanoma' (10 images) and 'melenoma' (2 images)")
        for text in read_images(tmp_path, verify=False).warnings
    )


def test_many_typing_errors_are_one_warning() -> None:
    names = ["melanoma", "carcinoma", "keratosis", "dermatitis", "psoriasis"]
    (warning,) = doubtful_labels("t.csv", [*names * 9, *(name[:-2] + name[-1] for name in names)])
    assert warning.count("(9 images)") == 3 and "; and 2 further pairs; if two are one class" in warning


@pytest.mark.parametrize(
    "pair",
    [
        ("T1", "T2"),
        ("grade 1", "grade 2"),
        ("grade A", "grade B"),
        ("T1a", "T1b"),
        ("cat", "bat"),
        ("car", "cab"),
        ("healthy", "unhealthy"),
        ("infected", "uninfected"),
        ("symmetric", "asymmetric"),
        ("anterior", "interior"),
        ("HSIL", "LSIL"),
        ("ASCUS", "ASCH"),
        ("HER2+", "HER2-"),
        ("<5 mm", ">5 mm"),
        ("1-5 mm", "1.5 mm"),
        ("C++", "C#"),
        ("gato", "gata"),
        ("hypertension", "hypotension"),
        ("stage II", "stage III"),
        ("Faces", "Faces_easy"),
        ("n01440764", "n01443537"),
        ("\u304b\u304d", "\u304b\u304e"),
    ],
)
def test_other_pairs_of_a_frequent_and_a_rare_label_are_quiet(pair: tuple[str, str]) -> None:
    assert doubtful_labels("t.csv", [pair[0]] * 15 + [pair[1]] * 2 + ["zebra"] * 9, lists=False) == []


def test_similar_words_of_similar_frequency_are_quiet() -> None:
    assert doubtful_labels("t.csv", ["bear", "beer", "deer", "crab", "crib", "plane", "plant", "planet"] * 6) == []


def test_spellings_of_two_countries_are_a_warning() -> None:
    (warning,) = doubtful_labels("t.csv", ["gray", "grey", "blue"] * 6)
    assert "'gray' (6 images) and 'grey' (6 images) are read as 2 classes" in warning


@pytest.mark.parametrize("label", ["pending", "to check", "invalid", "duplicate", "same"])
def test_a_note_in_place_of_a_label_is_a_warning(tmp_path: Path, label: str) -> None:
    found = read_images(table_of(tmp_path, {"cat": 6, "dog": 6, label: 2}), verify=False)
    (warning,) = found.warnings
    assert warning.startswith(f"labels.csv: the label {label!r} (2 images) is read as a class of its own")


@pytest.mark.parametrize("labels", [["valid", "invalid"], ["same", "different"], ["original", "duplicate"]])
def test_a_note_beside_its_opposite_is_a_class(labels: list[str]) -> None:
    assert doubtful_labels("t.csv", labels * 3) == []


@pytest.mark.parametrize("label", ["ditto", "see above", "As above"])
def test_a_reference_to_another_row_is_refused(tmp_path: Path, label: str) -> None:
    message = problems_of(table_of(tmp_path, {"cat": 6, "dog": 6, label: 2}))
    assert f"the label {label!r} stands for that of a row above; write that label" in message


@pytest.mark.parametrize(("others", "stray"), [(["cat", "dog"], "3"), (["0", "1", "2"], "9"), (["1", "2"], "7")])
def test_a_stray_number_is_a_warning(others: list[str], stray: str) -> None:
    (warning,) = doubtful_labels("t.csv", [*others * 8, stray, stray])
    assert warning.startswith(f"t.csv: the label {stray!r} (2 images) is read as a class of its own, though")
    assert doubtful_labels("t.csv", [*others, stray] * 8) == [], "a number of as many images may be a class"


def test_numbers_without_gaps_and_numbers_in_names_are_no_stray_ones() -> None:
    assert doubtful_labels("t.csv", [*["0", "1", "2"] * 8, "3"]) == []
    assert doubtful_labels("t.csv", [*["Boeing 707", "A320"] * 8, "747"]) == []
