"""Columns that may say which images to leave out, and names of images that contradict their labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, save
from trainer.data.read import read_images
from trainer.formats.delimited import write_table


def warnings_of(root: Path, *rows: tuple[str, ...]) -> str:
    write_table(root / "labels.csv", rows)
    for number, (image, *_) in enumerate(rows[1:]):
        save(root / "images" / image, number, 8)
    return "\n".join(read_images(root, verify=False).warnings)


@pytest.mark.parametrize(
    ("name", "yes", "no"), [("exclude", "1", "0"), ("is_bad", "True", "False"), ("Use", "yes", ""), ("keep", "y", "n")]
)
def test_a_column_that_may_exclude_images_is_reported(tmp_path: Path, name: str, yes: str, no: str) -> None:
    rows = [(f"{i}.png", "ab"[i % 2], yes if i > 5 else no) for i in range(8)]
    assert f"the column {name!r}" in warnings_of(tmp_path, ("image", "label", name), *rows)
    followed = warnings_of(tmp_path, ("image", "label", name), *rows[:6])
    assert "is not used" not in followed, "the advice"


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        *(
            ("ausgeschlossen", "ja", ""),
            ("Einschluss", "nein", "ja"),
            ("excluído", "sim", "não"),
            ("is_noisy", "1", "0"),
        ),
        *(("wrong_label", "1", "0"), ("label_uncertain", "1", "0"), ("review", "wrong", "ok"), ("synthetic", "1", "0")),
        *(("augmented", "1", "0"), ("exclude_reason", "blurry", ""), ("duplicate_of", "0.png", "")),
        *(("falsch?", "ja", ""), ("Wrong?", "x", ""), ("geprüft", "ja", "nein"), ("à vérifier ?", "oui", "")),
        *(("dudoso", "sí", ""), ("errado?", "sim", ""), ("sbagliato", "x", ""), ("twijfel", "ja", "")),
        *(("間違い\uff1f", "○", ""), ("待确认", "是", "否")),
    ],
)
def test_further_columns_that_may_exclude_images(tmp_path: Path, name: str, yes: str, no: str) -> None:
    rows = [(f"{i}.png", "ab"[i % 2], yes if i > 5 else no) for i in range(8)]
    assert f"the column {name!r}" in warnings_of(tmp_path, ("image", "label", name), *rows)


def test_each_row_may_have_its_own_reason(tmp_path: Path) -> None:
    rows = [(f"{i}.png", "ab"[i % 2], f"reason {i}" if i > 3 else "") for i in range(8)]
    assert "'exclusion_reason'" in warnings_of(tmp_path, ("image", "label", "exclusion_reason"), *rows)
    assert "'reason'" not in warnings_of(tmp_path, ("image", "label", "reason"), *rows)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *(("cohort", ("internal", "external")), ("cohort", ("retrospective", "prospective"))),
        *(("Verwendung", ("Lernen", "Prüfen")), ("site", ("derivation", "external validation"))),
    ],
)
def test_a_column_that_may_divide_the_images(tmp_path: Path, name: str, values: tuple[str, str]) -> None:
    rows = [(f"{i}.png", "ab"[i % 2], values[i > 5]) for i in range(8)]
    assert f"the column {name!r} ({values[0].lower()!r} in 6 rows, " in warnings_of(
        tmp_path, ("image", "label", name), *rows
    )


@pytest.mark.parametrize("values", [("internal", "external"), ("A", "B")])
def test_a_column_of_another_name_does_not_seem_to_divide_them(tmp_path: Path, values: tuple[str, str]) -> None:
    rows = [(f"{i}.png", "ab"[i % 2], values[i > 5]) for i in range(8)]
    assert "divides the rows" not in warnings_of(tmp_path, ("image", "label", "place"), *rows)


@pytest.mark.parametrize("name", ["heldout", "holdout", "is_heldout"])
def test_rows_that_are_held_out_are_test_images(tmp_path: Path, name: str) -> None:
    write_table(
        tmp_path / "labels.csv",
        [("image", "label", name), *((f"{i}.png", "ab"[i % 2], "yes" if i > 5 else "") for i in range(8))],
    )
    for number in range(8):
        save(tmp_path / "images" / f"{number}.png", number, 8)
    found = read_images(tmp_path, verify=False)
    assert (len(found.train_ids), len(found.test_ids)) == (6, 2)


def test_a_column_that_says_the_same_everywhere_excludes_nothing(tmp_path: Path) -> None:
    rows = [(f"{i}.png", "ab"[i % 2], "0") for i in range(8)]
    assert "exclude" not in warnings_of(tmp_path, ("image", "label", "exclude"), *rows)


@pytest.mark.parametrize(("cat", "dog"), [("cat", "dog"), ("Persian cat", "Persian dog"), ("cat", "cat shark")])
def test_images_that_are_called_after_another_label_are_reported(tmp_path: Path, cat: str, dog: str) -> None:
    def name(label: str, i: int) -> str:
        return f"{label.lower().replace(' ', '_')}-{i}.png"

    right = [(name(label, i), label) for label in (cat, dog) for i in range(6)]
    wrong = (name(dog, 9), cat)
    assert "otherwise" not in warnings_of(tmp_path, ("image", "label"), *right)
    assert (
        f"labels.csv labels 1 of 13 images otherwise than their names say, such as images/{wrong[0]} as {cat!r}"
        in warnings_of(tmp_path, ("image", "label"), *right, wrong)
    )


@pytest.mark.parametrize("labels", [("cat1", "cat2"), ("1", "2"), ("ill", "healthy")])
def test_names_that_say_no_label_contradict_none(tmp_path: Path, labels: tuple[str, str]) -> None:
    """The name may say something else, as the animal whose health is the label."""
    rows = [(f"cat_{i}.png", labels[i % 2]) for i in range(12)]
    assert "otherwise" not in warnings_of(tmp_path, ("image", "label"), *rows)
    assert labels_of(read_images(tmp_path, verify=False)).count(labels[0]) == 6


@pytest.mark.parametrize("name", ["unsicher.csv", "unsure_images.csv", "incertains.csv", "不确定.csv", "to check.csv"])
@pytest.mark.parametrize("folders", [False, True])
def test_a_table_of_doubtful_images_is_reported(tmp_path: Path, name: str, folders: bool) -> None:
    rows = [(f"{i}.png", "ab"[i % 2]) for i in range(8)]
    for number, (image, label) in enumerate(rows):
        save(tmp_path / (label if folders else "images") / image, number, 8)
    if not folders:
        write_table(tmp_path / "labels.csv", [("Bild", "Klasse"), *rows])
    write_table(tmp_path / name, [("Bild", "Grund"), ("0.png", "?"), ("3.png", "?"), ("5.png", "?")])
    found = read_images(tmp_path, verify=False)
    assert len(found.y) == 8
    assert f"{name}, which names 3 training images" in "\n".join(found.warnings)
