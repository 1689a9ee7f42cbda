"""Labels, parts and images that lie elsewhere than where a reader looks first: read, asked about or named."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.data.readers.test_second_answers import KINDS, folder_of, names, refused, rows_of
from tests.trainer.images import labels_of, save
from trainer.data.image_set import DataOptions
from trainer.data.read import read_images

IDS = [f"{number:03}" for number in range(12)]


def labels_table(columns: str, *cells: Sequence[object]) -> str:
    """A table of 12 images with the given columns after that of the ids."""
    return rows_of(columns, 12, lambda number: (IDS[number], *(column[number] for column in cells)))


def warnings_of(folder: Path, word: str) -> list[str]:
    return [warning for warning in read_images(folder, verify=False).warnings if word in warning]


@pytest.mark.parametrize("name", ["train", "Training", "test", "val"])
@pytest.mark.parametrize("parts", [("train", "test"), ("training", "testing"), ("train_images", "test_images")])
def test_a_class_may_be_called_like_a_part(tmp_path: Path, name: str, parts: tuple[str, str]) -> None:
    for number, kind in enumerate(("bus", name)):
        for i in range(4):
            save(tmp_path / parts[0] / kind / f"{i}.png", 10 * number + i, 8)
            save(tmp_path / parts[1] / kind / f"{i}.png", 100 + 10 * number + i, 8)
    images = read_images(tmp_path, verify=False)
    assert set(images.class_names) == {"bus", name} and len(images.y) == 8
    assert set(images.test_ids) == {f"{kind}/{i}.png" for kind in ("bus", name) for i in range(4)}


def test_a_sample_names_the_test_images_of_a_class_called_train(tmp_path: Path) -> None:
    for i in range(8):
        kind = ("bus", "train")[i % 2]
        save(tmp_path / "train" / kind / f"{i}.png", i, 8)
        save(tmp_path / "test" / kind / f"t{i}.png", 100 + i, 8)
    ids = [f"t{i}.png" for i in range(8)]
    (tmp_path / "sample_submission.csv").write_text("\n".join(["id,label", *(f"{each},bus" for each in ids)]))
    assert read_images(tmp_path, verify=False).test_ids == tuple(ids)


@pytest.mark.parametrize("column", ["duplicate_of", "source_file", "original_name", "reference_image", "image_url"])
def test_a_column_of_other_images_beside_an_id_is_a_question(tmp_path: Path, column: str) -> None:
    other = [f"{name}.png" for name in (*IDS[5:], *IDS[:5])]
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table(f"id,{column},label", other, kinds))
    assert f"the columns 'id', '{column}' name images, but different ones" in refused(folder)
    images = read_images(folder, DataOptions(id_column="id"), verify=False)
    assert labels_of(images) == kinds and images.train_images.paths == tuple(names(12))


@pytest.mark.parametrize("column", ["filename", "photo"])
def test_a_usual_column_of_file_names_goes_before_a_number(tmp_path: Path, column: str) -> None:
    other = [f"{name}.png" for name in (*IDS[5:], *IDS[:5])]
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table(f"id,{column},label", other, kinds))
    images = read_images(folder, verify=False)
    assert dict(zip(images.train_images.paths, labels_of(images), strict=True))["images/005.png"] == kinds[0]


@pytest.mark.parametrize(
    ("column", "table"), [("patient_id", "patients"), ("object_id", "objects"), ("sample", "labels")]
)
def test_ids_of_another_table_are_not_those_of_the_images(tmp_path: Path, column: str, table: str) -> None:
    files = [f"images/pic{7 * i}.png" for i in range(12)]
    listing = rows_of(f"id,file_name,{column}", 12, lambda i: (i + 1, f"pic{7 * i}.png", i // 2 + 1))
    labels = rows_of("id,diagnosis", 12, lambda i: (i + 1, KINDS[i % 3]))
    folder = folder_of(tmp_path, files, images=listing, **{table: labels})
    problem = refused(folder)
    assert f"the column 'id' of {table}.csv may hold the 'id' or the '{column}' of images.csv" in problem
    assert "--id-column id" in problem and f"rename it to '{column}'" in problem
    assert labels_of(read_images(folder, DataOptions(id_column="id"), verify=False)) == [
        KINDS[i % 3] for i in range(12)
    ]
    (folder / f"{table}.csv").write_text(labels.replace("id,", f"{column},", 1), encoding="utf-8")
    assert "may hold the 'id'" not in refused(folder), "the question is answered"


def test_a_table_of_parts_further_down_divides_the_images(tmp_path: Path) -> None:
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table("image,label", kinds))
    inner = folder / "splits" / "official.csv"
    inner.parent.mkdir()
    inner.write_text(labels_table("image,set", ["train", "test", "train"] * 4), encoding="utf-8")
    assert warnings_of(folder, "official.csv") == []
    images = read_images(folder, verify=False)
    assert (len(images.y), len(images.test_ids)) == (8, 4)


def test_labels_of_further_images_further_down_are_named(tmp_path: Path) -> None:
    first, second = (
        rows_of("image,label", 6, lambda i, start=start: (IDS[start + i], KINDS[i % 3])) for start in (0, 6)
    )
    folder = folder_of(tmp_path, names(12), labels=first)
    (folder / "more").mkdir()
    (folder / "more" / "annotations.csv").write_text(second, encoding="utf-8")
    assert any("labels 6 further images" in warning for warning in warnings_of(folder, "more/annotations.csv"))


@pytest.mark.parametrize("name", ["labels_final.xlsx", "labels.parquet", "train.pkl", "labels.jsonl", "labels.csv.gz"])
def test_labels_of_other_kinds_beside_a_table_are_named(tmp_path: Path, name: str) -> None:
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels_2019=labels_table("image,label", kinds))
    (folder / name).write_bytes(b"PK\x03\x04")
    how = "export its labels as CSV" if name.endswith(".pkl") else "save it as CSV"
    assert any(f"is not read: {how}" in warning for warning in warnings_of(folder, name))


def test_an_archive_among_the_classes_is_named(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / "train" / KINDS[i % 2] / f"{i}.png", i, 8)
    (tmp_path / "train" / "bird.zip").write_bytes(b"PK")
    assert warnings_of(tmp_path, "bird.zip") == ["not read: train/bird.zip: unpack it"]


def test_an_archive_that_is_unpacked_in_part_is_named_where_images_are_missing(tmp_path: Path) -> None:
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(9, "train"), train=labels_table("id,label", kinds))
    (folder / "train.zip").write_bytes(b"PK")
    assert "If the images are in train.zip, it was not unpacked as a whole: unpack it again" in refused(folder)
    for number, name in enumerate(names(12, "train")):
        save(folder / name, number, 8)
    assert not warnings_of(folder, "train.zip")


def test_a_species_that_several_genera_have_is_a_question(tmp_path: Path) -> None:
    genera, species = ("Sciurus", "Sturnus", "Felis") * 4, ("vulgaris", "vulgaris", "catus") * 4
    folder = folder_of(tmp_path, names(12), labels=labels_table("image,genus,species", genera, species))
    assert "several genera have the species 'vulgaris', such as 'Sciurus', 'Sturnus'" in refused(folder)
    assert len(read_images(folder, DataOptions(label_column="species"), verify=False).class_names) == 2
    whole = [f"{genus} {kind}" for genus, kind in zip(genera, species, strict=True)]
    table = labels_table("image,genus,species,taxon", genera, species, whole)
    (folder / "labels.csv").write_text(table, encoding="utf-8")
    assert len(read_images(folder, DataOptions(label_column="taxon"), verify=False).class_names) == 3
    own = labels_table("image,genus,species", genera, ("niger", "vulgaris", "catus") * 4)
    (folder / "labels.csv").write_text(own, encoding="utf-8")
    assert len(read_images(folder, verify=False).class_names) == 3


@pytest.mark.parametrize("column", ["corrected_label", "new_label", "true_label", "expert_label", "final"])
def test_a_correction_with_a_new_class_is_a_question(tmp_path: Path, column: str) -> None:
    kinds, corrected = [KINDS[number % 3] for number in range(12)], ["", "", "lynx", *[""] * 9]
    folder = folder_of(tmp_path, names(12), labels=labels_table(f"image,label,{column}", kinds, corrected))
    assert re.search(rf"could be 'label', '{column}'\. They differ in some rows", refused(folder))
    assert labels_of(read_images(folder, DataOptions(label_column="label"), verify=False)) == kinds


@pytest.mark.parametrize(
    ("column", "words"),
    [("cohort", ("train", "external")), ("role", ("Train", "Evaluate")), ("purpose", ("training", "benchmarking"))],
)
def test_train_beside_an_unknown_part_is_a_question(tmp_path: Path, column: str, words: tuple[str, str]) -> None:
    kinds, parts = [KINDS[number % 3] for number in range(12)], [words[number > 8] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table(f"image,label,{column}", kinds, parts))
    assert f"{column!r} seems to divide the rows" in refused(folder)
    written = ["test" if part == words[1] else "train" for part in parts]
    (folder / "labels.csv").write_text(labels_table(f"image,label,{column}", kinds, written), encoding="utf-8")
    assert len(read_images(folder, verify=False).test_ids) == 3


def test_quotation_marks_of_other_programs_are_explained(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, names(4, "train"), train='id,label\n000,"5\\" pot"\n001,"6\\" pot"\n')
    assert "train.csv row 2: " in refused(folder) and "write it twice" in refused(folder)
    lines = "\n".join(f'"{IDS[i]},{KINDS[i % 2]}"' for i in range(4))
    (folder / "train.csv").write_text(f'"id,label"\n{lines}\n', encoding="utf-8")
    assert "each line as a whole stands in quotation marks, such as '000,cat'" in refused(folder)
    (folder / "train.csv").write_text(f"id,label\n{lines}\n".replace('"', ""), encoding="utf-8")
    assert labels_of(read_images(folder, verify=False)) == ["cat", "dog", "cat", "dog"]


@pytest.mark.parametrize("place", ["evaluation/gold.csv", "a/b/test.txt", "notes/private.txt"])
def test_a_list_of_other_images_further_down_is_named(tmp_path: Path, place: str) -> None:
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table("id,label", kinds))
    file = folder / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}.png\n" for name in IDS[:3]))
    (warning,) = warnings_of(folder, "not used")
    assert f"{place}, which names 3 training images, such as images/000.png; if these" in warning
    rows = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join([rows[0], *rows[4:]]))
    assert warnings_of(folder, "not used") == [] and len(read_images(folder, verify=False).y) == 9


@pytest.mark.parametrize("place", ["notes/testimonials.txt", "results/test_scores.csv", "labels/test/000.txt"])
def test_other_texts_are_no_lists(tmp_path: Path, place: str) -> None:
    folder = folder_of(
        tmp_path, names(12), labels=labels_table("id,label", [KINDS[number % 3] for number in range(12)])
    )
    file = folder / place
    file.parent.mkdir(parents=True)
    file.write_text("fold,score\n0,0.5\n1,0.7\n")
    assert read_images(folder, verify=False).warnings == ()


@pytest.mark.parametrize("mark", ["\u3003", "\u2033", "dito", "do.", "\u540c\u4e0a"])
def test_a_mark_for_the_label_above_is_no_class(tmp_path: Path, mark: str) -> None:
    kinds = [mark if number % 4 else KINDS[number // 4] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table("id,label", kinds))
    assert f"labels.csv row 3: the label {mark!r} stands for that of a row above" in refused(folder)


@pytest.mark.parametrize(
    ("yes", "no"), [("ja", "nein"), ("oui", "non"), ("\u3042\u308a", "\u306a\u3057"), ("\u25cb", "\u00d7")]
)
def test_columns_of_classes_say_yes_and_no_in_other_languages(tmp_path: Path, yes: str, no: str) -> None:
    columns = [[yes if number % 3 == kind else no for number in range(12)] for kind in range(3)]
    folder = folder_of(tmp_path, names(12), labels=labels_table("id,cat,dog,emu", *columns))
    assert labels_of(read_images(folder, verify=False)) == [KINDS[number % 3] for number in range(12)]


def test_a_column_that_may_divide_the_rows_in_other_words_is_named(tmp_path: Path) -> None:
    kinds = [KINDS[number % 3] for number in range(12)]
    phases = ["final" if number % 6 == 0 else "development" for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table("id,label,phase", kinds, phases))
    shown = "the column 'phase' ('development' in 10 rows, 'final' in 2 rows) is not used"
    assert warnings_of(folder, shown)


@pytest.mark.parametrize("outer", ["D", "images", "data", "My Dataset v2", "D/E"])
@pytest.mark.parametrize("beside", ["", "README.md"])
def test_one_folder_around_the_data_changes_nothing(tmp_path: Path, outer: str, beside: str) -> None:
    files = [f"{kind}/{kind[0]}{number}.png" for kind in KINDS for number in range(4)]
    wrapped = tmp_path / "data" / outer
    for number, name in enumerate(files):
        save(wrapped / name, number, 8)
    (wrapped / "splits").mkdir()
    for part, rest in (("train", "01"), ("val", "2"), ("test", "3")):
        (wrapped / "splits" / f"{part}.txt").write_text("".join(f"{name}\n" for name in files if name[-5] in rest))
    if beside:
        (tmp_path / "data" / beside).write_text("Drawings")
    found = [read_images(folder, verify=False) for folder in (tmp_path / "data", wrapped)]
    assert found[0].train_ids == found[1].train_ids and len(found[0].y) == 6
    assert found[0].test_ids == found[1].test_ids and len(found[0].test_ids) == 3


@pytest.mark.parametrize("outer", ["D", "D/E"])
def test_one_folder_around_a_table_and_its_lists_changes_nothing(tmp_path: Path, outer: str) -> None:
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = tmp_path / "data" / outer
    for number, name in enumerate(names(12)):
        save(folder / name, number, 8)
    for name, text in (
        ("meta/labels.csv", labels_table("id,label", kinds)),
        ("splits/train.txt", "".join(f"{name}.png\n" for name in IDS[:8])),
        ("splits/test.txt", "".join(f"{name}.png\n" for name in IDS[8:])),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    found = read_images(tmp_path / "data", verify=False)
    assert len(found.y) == 8 and len(found.test_ids) == 4
    assert found.train_ids == read_images(folder, verify=False).train_ids


@pytest.mark.parametrize(
    ("root", "labels"),
    [
        ("train", "labels"),
        *itertools.product(["train_metadata", "train"], ["GroundTruth/Training_GroundTruth", "annotations/a"]),
    ],
)
def test_a_table_of_another_question_does_not_hide_the_labels(tmp_path: Path, root: str, labels: str) -> None:
    sexes = [("f", "m")[number % 2] for number in range(12)]
    kinds = [KINDS[number % 3] for number in range(12)]
    sites = [("back", "arm", "leg")[number % 3] for number in range(12)]
    others = [("sex", [sexes]), ("lesion_id,sex,site", [[f"L{number // 2}" for number in range(12)], sexes, sites])]
    for number, (columns, cells) in enumerate(others[: 1 if labels == "labels" else 2]):
        folder = folder_of(tmp_path / str(number), names(12), **{root: labels_table(f"id,{columns}", *cells)})
        (folder / labels).parent.mkdir(exist_ok=True)
        (folder / f"{labels}.csv").write_text(labels_table("id,finding", kinds))
        message = refused(folder)
        assert f"{labels}.csv may hold the labels by its name. Choose with --table {labels}.csv" in message
        assert labels_of(read_images(folder, DataOptions(table=f"{labels}.csv"), verify=False)) == kinds


@pytest.mark.parametrize(
    "name", ["lists/holdout_ids.txt", "heldOut.csv", "hold_out.txt", "held_out_list.txt", "testliste.txt"]
)
@pytest.mark.parametrize("table", [True, False])
def test_lists_of_held_out_images_are_those_of_the_test_set(tmp_path: Path, name: str, table: bool) -> None:
    files = names(12) if table else [f"{KINDS[number % 3]}/{IDS[number]}.png" for number in range(12)]
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, files, **({"labels": labels_table("id,label", kinds)} if table else {}))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{file}\n" for file in files[9:]))
    found = read_images(folder, verify=False)
    assert len(found.y) == 9 and len(found.test_ids) == 3


@pytest.mark.parametrize("name", ["private.txt", "unseen.csv"])
def test_a_list_of_other_images_beside_class_folders_is_named(tmp_path: Path, name: str) -> None:
    files = [f"{KINDS[number % 3]}/{IDS[number]}.png" for number in range(12)]
    folder = folder_of(tmp_path, files)
    (folder / name).write_text("".join(f"{file}\n" for file in files[9:]))
    (warning,) = warnings_of(folder, "not used")
    assert f"{name}, which names 3 training images" in warning and "move them out of the class folders" in warning
    for file in files[9:]:
        (folder / file).unlink()
    assert warnings_of(folder, "not used") == []


@pytest.mark.parametrize(
    "name", ["to_delete.txt", "outliers.txt", "donottrain.txt", "low_quality.txt", "Ausschluss.txt"]
)
def test_a_list_of_images_to_leave_out_is_refused(tmp_path: Path, name: str) -> None:
    files = [f"{KINDS[number % 3]}/{IDS[number]}.png" for number in range(12)]
    folder = folder_of(tmp_path, files)
    (folder / name).write_text(f"{files[0]}\n")
    assert "may say by its name that these are not to be used" in refused(folder)


@pytest.mark.parametrize("other", ["{}_mask", "{}-GT", "{} Masken", "masks_{}", "{}_segmented"])
def test_folders_of_masks_beside_their_classes_are_a_question(tmp_path: Path, other: str) -> None:
    files = [f"{kind}/{number}.png" for kind in ("benign", "malignant") for number in range(4)]
    masks = [f"{other.format(kind)}/{number}.png" for kind in ("benign", "malignant") for number in range(4)]
    folder = folder_of(tmp_path, [*files, *masks])
    assert "may hold masks of the images of 'benign', 'malignant'" in refused(folder)
    assert len(read_images(folder, DataOptions(layout="folders"), verify=False).class_names) == 4
    for kind in ("benign", "malignant"):
        (folder / other.format(kind)).rename(tmp_path / other.format(kind))
    assert read_images(folder, verify=False).class_names == ("benign", "malignant")


@pytest.mark.parametrize(
    "mask", ["mask_{}", "Mask{}", "{}.mask", "gt_{}", "{}_groundtruth", "{}_label", "{}_roi", "{}_Maske"]
)
def test_masks_beside_their_images_are_left_out(tmp_path: Path, mask: str) -> None:
    files = [f"{kind}/{number}.png" for kind in KINDS for number in range(3)]
    masks = [f"{kind}/{mask.format(number)}.png" for kind in KINDS for number in range(3)]
    found = read_images(folder_of(tmp_path, [*files, *masks]), verify=False)
    assert found.train_images.paths == tuple(files) and any("masks (9)" in warning for warning in found.warnings)


@pytest.mark.parametrize("name", ["cat_new", "cat_small", "excluded", "cat extra"])
def test_a_folder_of_further_images_is_named(tmp_path: Path, name: str) -> None:
    files = [f"{kind}/{number}.png" for kind in ("cat", "dog", name) for number in range(3)]
    found = warnings_of(folder_of(tmp_path, files), "is read as a class")
    assert any(repr(name) in warning for warning in found)


@pytest.mark.parametrize(
    "names_of", [("P01", "P02", "P17"), ("case_1", "case_2"), ("A01", "B12"), ("TCGA-2A", "TCGA-8K")]
)
def test_folders_of_patients_and_wells_are_doubtful_classes(tmp_path: Path, names_of: tuple[str, ...]) -> None:
    folder = folder_of(tmp_path, [f"{name}/{number}.png" for name in names_of for number in range(3)])
    assert "cameras, patients or recordings" in warnings_of(folder, "read as classes")[0]


def test_labels_of_folders_in_json_are_no_list_of_classes(tmp_path: Path) -> None:
    patients = [f"Q{number}x" for number in range(4)]
    folder = folder_of(tmp_path, [f"{name}/{number}.png" for name in patients for number in range(3)])
    (folder / "labels.json").write_text(json.dumps({name: "ab"[number % 2] for number, name in enumerate(patients)}))
    assert "labels.json is not read, though it may hold the labels" in refused(folder)
    (folder / "labels.json").write_text(json.dumps({name: number for number, name in enumerate(patients)}))
    assert read_images(folder, verify=False).class_names == tuple(patients)


@pytest.mark.parametrize("column", ["test_set", "TestSet", "valset", "hidden_test", "Testdaten", "evaluation"])
@pytest.mark.parametrize("cells", [("0", "1"), ("", "x"), ("nein", "ja")])
def test_a_flag_called_after_a_part_is_a_question(tmp_path: Path, column: str, cells: tuple[str, str]) -> None:
    marks = [cells[number > 8] for number in range(12)]
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table(f"id,label,{column}", kinds, marks))
    assert f"the column {column!r} seems to divide the rows" in refused(folder)


@pytest.mark.parametrize("value", ["{}.csv", "{}/", "img/{}", "data/{}.txt"])
def test_a_column_of_sources_divides_the_rows(tmp_path: Path, value: str) -> None:
    sources = [value.format("test" if number > 8 else "train") for number in range(12)]
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table("id,label,source_file", kinds, sources))
    found = read_images(folder, verify=False)
    assert len(found.y) == 9 and found.test_ids == tuple(IDS[9:])


@pytest.mark.parametrize(
    ("column", "cells"), [("review_status", "ok,rejected"), ("deleted_at", ",2024-01-02"), ("wrong", ",x")]
)
def test_a_column_that_marks_bad_rows_is_named(tmp_path: Path, column: str, cells: str) -> None:
    marks = [cells.split(",")[number % 5 == 0] for number in range(12)]
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table(f"id,label,{column}", kinds, marks))
    assert any(repr(column) in warning for warning in warnings_of(folder, "is not used"))


@pytest.mark.parametrize("label", ["k.A.", "unbekannt", "cat?", "not sure", "\u4e0d\u660e", "01.02.2023"])
def test_a_label_for_none_is_named(tmp_path: Path, label: str) -> None:
    kinds = [label if number % 4 == 3 else KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table("id,label", kinds))
    found = read_images(folder, DataOptions(similar_labels="keep"), verify=False)
    assert any(repr(label) in warning for warning in found.warnings)


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_class_that_only_other_parts_hold_is_named(tmp_path: Path, part: str) -> None:
    kinds = [KINDS[number % 3] for number in range(12)]
    parts = [part if kind == "emu" or number < 3 else "train" for number, kind in enumerate(kinds)]
    table = folder_of(tmp_path / "table", names(12), labels=labels_table("id,label,split", kinds, parts))
    assert warnings_of(table, "not trained") == ["not trained: 'emu', classes without a training row of labels.csv"]
    files = [f"{part}/{kind}/{kind}.png" for kind in KINDS]
    files += [f"train/{kind}/{number}.png" for kind in KINDS[:2] for number in range(3)]
    folders = folder_of(tmp_path / "folders", files)
    assert warnings_of(folders, "not trained") == ["not trained: 'emu', classes without a folder in train/"]


@pytest.mark.parametrize("stems", [("Trainingsdaten", "Testdaten"), ("internal", "external")])
def test_tables_of_two_parts_in_other_words_are_to_be_renamed(tmp_path: Path, stems: tuple[str, str]) -> None:
    rows = [f"{IDS[number]},{KINDS[number % 3]}" for number in range(12)]
    tables = ["\n".join(["id,label", *own, ""]) for own in (rows[:8], rows[8:])]
    folder = folder_of(tmp_path, names(12), **dict(zip(stems, tables, strict=True)))
    assert "If one lists test images, call it test.csv, and the other one train.csv" in refused(folder)
    for stem, name in zip(stems, ("train", "test"), strict=True):
        (folder / f"{stem}.csv").rename(folder / f"{name}.csv")
    found = read_images(folder, verify=False)
    assert len(found.y) == 8 and found.test_ids == tuple(IDS[8:])


def test_a_column_for_each_part_is_to_be_one_column(tmp_path: Path) -> None:
    kinds = [KINDS[number % 3] for number in range(12)]
    parts = ["train" if number < 6 else "val" if number < 9 else "test" for number in range(12)]
    marks = [[int(part == wanted) for part in parts] for wanted in ("train", "val", "test")]
    folder = folder_of(tmp_path, names(12), labels=labels_table("id,label,train,val,test", kinds, *marks))
    assert "Write one column split, with train, val or test in each row, in their place" in refused(folder)
    (folder / "labels.csv").write_text(labels_table("id,label,split", kinds, parts))
    assert len(read_images(folder, verify=False).y) == 6


def test_one_hot_columns_with_decimal_commas_are_read(tmp_path: Path) -> None:
    columns = [["1,0" if number % 3 == kind else "0,0" for number in range(12)] for kind in range(3)]
    cells = [";".join([IDS[number], *(column[number] for column in columns)]) for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels="\n".join(["id;cat;dog;emu", *cells, ""]))
    assert labels_of(read_images(folder, verify=False)) == [KINDS[number % 3] for number in range(12)]


def test_rows_that_are_not_one_hot_are_counted(tmp_path: Path) -> None:
    columns = [[int(number % 3 == kind and number > 1) for number in range(12)] for kind in range(3)]
    folder = folder_of(tmp_path, names(12), labels=labels_table("id,cat,dog,emu", *columns))
    assert "not one-hot (2 rows hold no 1, and can be removed if they have no label)" in refused(folder)
    rows = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join([rows[0], *rows[3:], ""]))
    assert read_images(folder, verify=False).class_names == ("cat", "dog", "emu")


def test_grades_are_no_mistakes_in_a_column_of_0_and_1(tmp_path: Path) -> None:
    grades, flags = [number % 3 for number in range(12)], [number // 6 for number in range(12)]
    message = refused(folder_of(tmp_path, names(12), labels=labels_table("id,grade,edema", grades, flags)))
    assert "it could be 'grade', 'edema'" in message and "neither 0 nor 1" not in message


@pytest.mark.parametrize("number", [2, 30])
def test_many_tables_that_name_no_image_are_one_sentence(tmp_path: Path, number: int) -> None:
    kinds = [KINDS[number % 3] for number in range(12)]
    others = {f"vitals_{each}": "hour,pulse\nnoon,high\nnight,low\n" for each in range(number)}
    folder = folder_of(tmp_path, names(12), train=labels_table("id,label", kinds), **others)
    found = [note for note in read_images(folder, verify=False).notes if note.startswith("not read")]
    each = [f"not read: vitals_{number}.csv, which names no image" for number in range(2)]
    whole = ["not read: 30 tables, each of which names no image, such as vitals_0.csv"]
    assert found == (each if number == 2 else whole)


@pytest.mark.parametrize(
    "table", ["hospital,beds\nBonn,12\nUlm,3\n", "epoch,loss\n1,0.9\n2,0.8\n", "time,value\n1.5,2\n2.5,3\n"]
)
def test_a_table_of_something_else_beside_class_folders_names_the_folders(tmp_path: Path, table: str) -> None:
    folder = folder_of(tmp_path, [f"{kind}/{number}.png" for kind in KINDS for number in range(4)], stats=table)
    assert "If the folders 'cat', 'dog', 'emu' are the classes, add --layout folders" in refused(folder)
    assert read_images(folder, DataOptions(layout="folders"), verify=False).class_names == KINDS


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("renamed.txt", "{} -> {}"), ("renamed.log", "{} => {}"), ("rename.sh", "mv {} {}"),
        ("rename.bat", "ren {} {}"), ("names.yaml", "{}: {}"), ("names.csv", "{},{},2024-01-0{index}"),
        ("names.csv", "{index},{},{}"),
    ],
)  # fmt: skip
def test_logs_of_renamed_files_are_heeded(tmp_path: Path, name: str, line: str) -> None:
    kinds = [KINDS[number % 3] for number in range(9)]
    table = rows_of("id,label", 9, lambda number: (f"{number + 1}.png", kinds[number]))
    folder = folder_of(tmp_path, [f"images/{number}.png" for number in range(1, 10)], labels=table)
    old = [f"{number + 1}.png" for number in range(9)]
    lines = [line.format(each, f"{(number + 1) % 9 + 1}.png", index=number) for number, each in enumerate(old)]
    (folder / name).write_text("\n".join([*(["a,b,c"] if name.endswith("csv") else []), *lines]))
    assert f"labels '1', which is images/1.png by its name, and images/2.png by {name}" in refused(folder)
    assert len(read_images(folder, DataOptions(table="labels.csv"), verify=False).y) == 9


def test_a_number_before_the_file_names_of_a_list_is_a_column_of_its_own(tmp_path: Path) -> None:
    lines = [
        f"{number // 2} {name}.png {KINDS[number % 3]} {('rsna', 'cohen')[number % 2]}"
        for number, name in enumerate(IDS)
    ]
    folder = folder_of(tmp_path, names(12))
    (folder / "train.txt").write_text("\n".join(lines))
    assert "the label column is ambiguous; it could be '3', '4', '1'" in refused(folder)
    images = read_images(folder, DataOptions(label_column="3"), verify=False)
    assert labels_of(images) == [KINDS[number % 3] for number in range(12)]


def test_a_combination_of_labels_that_only_test_rows_have_is_no_class(tmp_path: Path) -> None:
    cells = ["cat|dog" if number > 9 else KINDS[number % 3] for number in range(12)]
    parts = ["test" if number > 8 else "train" for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table("id,label,split", cells, parts))
    found = read_images(folder, DataOptions(several_labels="yes"), verify=False)
    assert found.class_names == KINDS and not any("not trained" in warning for warning in found.warnings)


@pytest.mark.parametrize("line", ["a:" * 200_000 + "a b c", "x" * 400_000])
def test_a_long_line_is_no_renamed_file(tmp_path: Path, line: str) -> None:
    kinds = [KINDS[number % 3] for number in range(12)]
    folder = folder_of(tmp_path, names(12), labels=labels_table("id,label", kinds))
    (folder / "output.log").write_text(f"{line}\n{line}\n")
    assert labels_of(read_images(folder, verify=False)) == kinds
