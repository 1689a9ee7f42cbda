"""Tables in JSON are read as the same tables in CSV; other JSON is not."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.images import labels_of, problems_of, save
from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.data.readers.tables.reading.records.tables import MOST_TABLES
from trainer.formats.delimited import write_table

LABELS = ["cat", "dog", "fox"] * 3
NAMES = [f"{i}.png" for i in range(9)]
ROWS = [{"file_name": name, "label": label} for name, label in zip(NAMES, LABELS, strict=True)]


def lines(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def images(root: Path, names: Sequence[str] = NAMES, folder: str = "images") -> Path:
    for seed, name in enumerate(names):
        save(root / folder / name, seed, 8)
    return root


def read(root: Path, content: str, name: str = "labels.jsonl", **options: Any) -> ImageSet:
    (root / name).write_text(content, encoding="utf-8")
    return read_images(root, DataOptions(**options), verify=False)


def by_id(found: ImageSet) -> dict[str, str]:
    return {identifier: found.label_of(row) for row, identifier in enumerate(found.train_ids)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.jsonl", lines(ROWS)),
        ("data.ndjson", lines(ROWS)),
        ("data.json", lines(ROWS)),
        ("labels.jsonl", "\ufeff\n" + lines(ROWS).replace("\n", "\r\n \r\n")),
        ("labels.jsonl", lines(ROWS).strip()),
        ("labels.json", json.dumps(ROWS)),
        ("metadata.json", json.dumps(ROWS, indent=2)),
        ("metadata.jsonl", json.dumps(ROWS)),
        ("labels.json", json.dumps([{"image": f"images/{row['file_name']}", "label": [row["label"]]} for row in ROWS])),
        ("labels.json", json.dumps([{**row, "thumbnail": "A" * 2**17} for row in ROWS[:1]] + ROWS[1:])),
    ],
)
def test_forms_of_tables(tmp_path: Path, name: str, content: str) -> None:
    found = read(images(tmp_path), content, name)
    assert labels_of(found) == LABELS and found.warnings == ()
    assert any(note.startswith(f"{name}: id column") for note in found.notes)


def test_hugging_faces_folders_with_metadata(tmp_path: Path) -> None:
    parts = {"train": range(6), "validation": range(6, 9), "test": range(9, 12)}
    for part, numbers in parts.items():
        rows = [{"file_name": f"{i:03}.png", "label": "ab"[i % 2]} for i in numbers]
        images(tmp_path, [f"{i:03}.png" for i in numbers], part)
        (tmp_path / part / "metadata.jsonl").write_text(lines(rows))
    found = read_images(tmp_path, verify=False)
    assert by_id(found) == {f"{i:03}.png": "ab"[i % 2] for i in range(6)}
    assert found.test_ids == ("009.png", "010.png", "011.png")


@pytest.mark.parametrize(
    ("first", "second"), [("labels.csv", "labels.jsonl"), ("a.jsonl", "b.json"), ("labels.jsonl", "more.csv")]
)
def test_two_tables_are_compared_whatever_their_forms(tmp_path: Path, first: str, second: str) -> None:
    images(tmp_path)

    def write(name: str, rows: Sequence[Mapping[str, str]]) -> None:
        if name.endswith(".csv"):
            write_table(tmp_path / name, [("file_name", "label"), *(tuple(row.values()) for row in rows)])
        else:
            (tmp_path / name).write_text(lines(rows))

    write(first, ROWS)
    write(second, ROWS)
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS
    write(second, [*ROWS[:-1], {"file_name": "8.png", "label": "cat"}])
    message = problems_of(tmp_path)
    assert "label 1 of 9 images differently" in message and first in message and second in message
    assert by_id(read_images(tmp_path, DataOptions(table=second), verify=False))["8.png"] == "cat", "the advice"


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.json", "meta/labels.jsonl"])
def test_labels_are_compared_with_class_folders(tmp_path: Path, name: str) -> None:
    paths = [f"{label}/{number}.png" for number, label in enumerate(LABELS)]
    for seed, path in enumerate(paths):
        save(tmp_path / path, seed, 8)
    rows = [{"image": path, "label": path[:3]} for path in paths]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(lines(rows))
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS
    rows[0]["label"] = "fox"
    (tmp_path / name).write_text(lines(rows))
    message = problems_of(tmp_path)
    assert f"{name} line 1 labels cat/0.png as 'fox'" in message and "--layout folders" in message


@pytest.mark.parametrize("form", ["records", "lines"])
def test_a_split_divides_the_table(tmp_path: Path, form: str) -> None:
    part_of = {name: ["train", "train", "test"][number // 3] for number, name in enumerate(NAMES)}
    rows = [{"image": name, "split": part} for name, part in part_of.items()]
    content = {"records": json.dumps(rows), "lines": lines(rows)}[form]
    (images(tmp_path) / "split.json").write_text(content)
    found = read(tmp_path, lines(ROWS))
    assert (found.train_ids, found.test_ids) == (tuple(NAMES[:6]), tuple(NAMES[6:]))
    (tmp_path / "split.json").write_text(content.replace('"test"', '"unlabelled"'))
    assert "seems to divide the rows" in problems_of(tmp_path)


@pytest.mark.parametrize("content", ['{"0": "cat", "1": "dog", "2": "fox"}', '{"cat": 0, "dog": 1, "fox": 2}'])
def test_names_of_classes_are_no_labels_of_images(tmp_path: Path, content: str) -> None:
    """Also where the images have the numbers of the classes."""
    images(tmp_path)
    (tmp_path / "cat_to_name.json").write_text(content)
    assert "The labels may be in 'cat_to_name.json', which is not read" in problems_of(tmp_path)
    assert labels_of(read(tmp_path, lines(ROWS))) == LABELS


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([["cat"], ["dog"], ["cat", "sea lion"]], ["cat", "dog", "cat + sea lion"]),
        ([["cat"], [], ["dog", "fox"]], ["cat", "(none)", "dog + fox"]),
        (["cat", "dog", ["cat", "dog"]], ["cat", "dog", "cat + dog"]),
        ([["cat"], ["dog"], ["fox"]], ["cat", "dog", "fox"]),
    ],
)
def test_lists_are_several_labels(tmp_path: Path, labels: list[Any], expected: list[str]) -> None:
    rows = [{"image": name, "labels": labels[number % 3]} for number, name in enumerate(NAMES)]
    found = read(images(tmp_path), lines(rows))
    assert list(by_id(found).values()) == expected * 3


def test_without_several_labels_each_combination_is_a_class(tmp_path: Path) -> None:
    rows = [{"image": name, "labels": [["a"], ["b"], ["a", "b"]][number % 3]} for number, name in enumerate(NAMES)]
    assert read(images(tmp_path), lines(rows), several_labels="no").class_names == ("a", "a|b", "b")


def test_cells_are_those_of_a_csv(tmp_path: Path) -> None:
    labels = ["01", "1", "1.50", True, False, "None"]
    rows = [{"image": name, "label": labels[number % 6]} for number, name in enumerate(NAMES[:6])]
    found = read(images(tmp_path), lines(rows), similar_labels="keep")
    assert set(found.class_names) == {"01", "1", "1.50", "true", "false", "None"}


def test_missing_labels_are_named_by_line(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [dict(row) for row in ROWS]
    rows[1]["label"], rows[4]["label"] = None, float("nan")
    del rows[2]["label"]
    (images(tmp_path) / "labels.jsonl").write_text("\n" + lines(rows))
    message = problems_of(tmp_path)
    assert all(f"labels.jsonl line {line}: the label is empty" in message for line in (3, 4, 6))
    (tmp_path / "labels.jsonl").rename(tmp_path / "labels.json")
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    assert "labels.json record 2: the label is empty" in problems_of(tmp_path)
    assert len(read_images(tmp_path, DataOptions(skip_bad=True), verify=False).y) == 6


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lines(ROWS).replace('"}\n', '"},\n'), "line 1: a comma stands after the object; remove it"),
        (lines(ROWS[:2]) + '{"file_name": "2.png"', "line 3: no valid JSON"),
        (lines(ROWS[:2]) + "[1]\n", "line 3: a list stands where an object"),
        (lines(ROWS[:2]) + '{"file_name": "2.png", "label": "a", "label": "b"}', "line 3: 'label' occurs twice"),
        (lines(ROWS[:2]) + '{"label": Infinity}', "line 3: Infinity is no value of JSON"),
        (lines(ROWS[:2]) + '{"label": "\\ud800"}', "line 3: '\\ud800' holds a character that is no text"),
        (lines(ROWS[:2]) + '{"label": "\\u0000"}', "line 3: '\\x00' holds a character that is no text"),
        (lines(ROWS[:2]) + '{"file_name": "2.png", "bbox": [1, 2]}', "line 3: 'bbox' holds a list of other things"),
        (lines([{**row, "objects": {"bbox": []}} for row in ROWS]), "line 1: 'objects' holds an object"),
        (lines(ROWS[:2]) + '{"label": ["a|b", "c"]}', "line 3: 'label' holds a list with 'a|b'"),
        (lines(ROWS[:2]) + '{"label": [""]}', "line 3: 'label' holds a list with ''"),
        (lines([{"label": "a|b"}, {"label": ["a", "b"]}]), "line 1: 'a|b' holds |"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps(ROWS, indent=0)[:-2] + ",\n]", "line 37: a comma stands before ]; remove it"),
        (json.dumps(ROWS)[:-1], "a comma or ] is expected before the end"),
        (json.dumps(ROWS) + "x", "'x' follows the end"),
        (json.dumps([*ROWS, 1]), "'1' stands where an object"),
        (lines([{**row, "label": ["cat", "cat", "dog"]} for row in ROWS]), "line 1: 'label' holds a list with a text"),
        (lines([{**row, "label": ["0", "1"]} for row in ROWS]), "line 1: 'label' holds a list of other things"),
        (lines([{**row, "file_name": number} for number, row in enumerate(ROWS)]), "names no image in each of its"),
        ("[{}]", "is empty"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, content: str, why: str) -> None:
    name = "labels.jsonl" if content.startswith(('{"file_name', '{"label')) else "labels.json"
    (images(tmp_path) / name).write_text(content)
    message = problems_of(tmp_path)
    assert why in message and "which is not read" in message and "write a table labels.csv" in message
    assert why in problems_of(tmp_path, DataOptions(table=name))
    for seed, path in enumerate(["x/a.png", "y/b.png"]):
        save(tmp_path / path, seed, 8)
    message = problems_of(tmp_path)
    assert f"{name} is not read, though it may hold the labels: {name} " in message and why in message
    assert "save it as CSV" in message and "--layout folders" in message


def test_json_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    content = lines(ROWS).replace("cat", "Kätzchen")
    (images(tmp_path) / "labels.jsonl").write_bytes(content.encode("cp1252"))
    assert "labels.jsonl row 1 is not UTF-8 text" in problems_of(tmp_path)
    (tmp_path / "labels.jsonl").write_bytes(content.encode("utf-16"))
    assert set(read_images(tmp_path, verify=False).class_names) == {"Kätzchen", "dog", "fox"}


def test_objects_with_other_keys_each_do_not_fill_the_memory(tmp_path: Path) -> None:
    (images(tmp_path) / "labels.json").write_text(json.dumps([{f"key{i}": i} for i in range(3000)]))
    assert "the objects have 3000 different keys" in problems_of(tmp_path)


@pytest.mark.parametrize("name", ["dataset-metadata.json", "package.json", "croissant.json", "config.json"])
def test_settings_and_descriptions_change_nothing(tmp_path: Path, name: str) -> None:
    content = {"name": "cats", "version": "1.0", "keywords": ["cat", "dog"], "licenses": [{"name": "MIT"}]}
    (images(tmp_path) / name).write_text(json.dumps(content))
    assert labels_of(read(tmp_path, lines(ROWS))) == LABELS


def test_tables_of_retable_in_json_are_left_out(tmp_path: Path) -> None:
    rows = [{"image_id": name, "label": "cat", "group": "", "fold": 0} for name in NAMES]
    (images(tmp_path) / "mine.json").write_text(json.dumps(rows))
    found = read(tmp_path, lines(ROWS))
    assert labels_of(found) == LABELS and any("mine.json" in text for text in found.warnings)


def test_a_sample_submission_has_to_be_csv(tmp_path: Path) -> None:
    images(tmp_path, ["t0.png", "t1.png"], "test")
    (images(tmp_path, folder="train") / "sample_submission.json").write_text('[{"id": "t0.png", "label": "cat"}]')
    found = read(tmp_path, lines(ROWS), "train.jsonl")
    assert any("'sample_submission.json': a sample submission has to be CSV" in text for text in found.warnings)
    assert len(found.test_ids) == 2


def test_a_list_of_test_images(tmp_path: Path) -> None:
    for name, rows in (("train.jsonl", ROWS[:6]), ("test.jsonl", [{"file_name": name} for name in NAMES[6:]])):
        (images(tmp_path) / name).write_text(lines(rows))
    found = read_images(tmp_path, verify=False)
    assert (found.train_ids, found.test_ids) == (tuple(NAMES[:6]), tuple(NAMES[6:]))


@pytest.mark.parametrize("images_in", ["images", "classes"])
@pytest.mark.parametrize(
    "content",
    [
        [{"epoch": n, "split": part, "loss": 0.5, "lr": "ab"[n % 2]} for n in range(9) for part in ("train", "val")],
        [{"number": n, "params_optimizer": ["sgd", "adam"][n % 2], "state": "COMPLETE"} for n in range(9)],
        [{"id": 0, "name": "cat", "supercategory": "animal"}, {"id": 1, "name": "dog", "supercategory": "animal"}],
    ],
)
def test_logs_and_classes_with_the_numbers_of_images_are_no_tables(
    tmp_path: Path, content: list[Any], images_in: str
) -> None:
    if images_in == "images":
        images(tmp_path)
    for number, label in enumerate(LABELS if images_in == "classes" else ()):
        save(tmp_path / label / f"{number}.png", number, 8)
    (tmp_path / "history.json").write_text(json.dumps(content))
    found = read(tmp_path, lines(ROWS)) if images_in == "images" else read_images(tmp_path, verify=False)
    assert sorted(labels_of(found)) == sorted(LABELS) and not found.test_ids


def test_an_object_of_names_and_values_is_no_table(tmp_path: Path) -> None:
    """The values may be anything: patients, cameras, folds."""
    (images(tmp_path) / "patients.json").write_text(json.dumps({name: f"P{n // 3}" for n, name in enumerate(NAMES)}))
    assert "'patients.json', which is not read" in problems_of(tmp_path)


def test_labels_by_names_of_images_are_no_list_of_classes(tmp_path: Path) -> None:
    """Although each label is a class."""
    labels = dict(zip(NAMES, [*LABELS[1:], "cat"], strict=True))
    for number, label in enumerate(LABELS):
        save(tmp_path / "in folders" / label / f"{number}.png", number, 8)
    (tmp_path / "in folders" / "labels.json").write_text(json.dumps(labels))
    assert "labels.json is not read, though it may hold the labels" in problems_of(tmp_path / "in folders")
    images(tmp_path / "table")
    (tmp_path / "table" / "labels.json").write_text(json.dumps(labels))
    write_table(tmp_path / "table" / "train.csv", [("image", "label"), *zip(NAMES, LABELS, strict=True)])
    assert any(
        "labels.json is not read" in warning for warning in read_images(tmp_path / "table", verify=False).warnings
    )


def test_a_number_of_many_digits_is_a_text(tmp_path: Path) -> None:
    content = lines(ROWS).replace('"fox"', "9" * 5000)
    assert read(images(tmp_path), content).class_names == ("9" * 5000, "cat", "dog")


def test_files_of_many_images_are_no_tables(tmp_path: Path) -> None:
    images(tmp_path)
    for row in range(MOST_TABLES + 1):
        (tmp_path / f"{row}.json").write_text(json.dumps([{"file_name": f"{row}.png", "label": "other"}]))
    write_table(tmp_path / "l.csv", [("image", "label"), *zip(NAMES, LABELS, strict=True)])
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS
    (tmp_path / "l.csv").unlink()
    (tmp_path / "labels.jsonl").write_text(lines(ROWS))
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS, "JSON Lines describe more than one"


CELLS = st.sampled_from(["cat", "dog", "fox", "01", "1", "a,b", 'a"b', "Größe", " x", "", "none"])


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(CELLS, min_size=6, max_size=6),
    parts=st.one_of(st.none(), st.lists(st.sampled_from(["train", "test", "val"]), min_size=6, max_size=6)),
    others=st.dictionaries(
        st.sampled_from(["light", "camera", "note", "patient_id"]), st.lists(CELLS, min_size=6, max_size=6)
    ),
    label_column=st.sampled_from(["label", "class", "k"]),
    name=st.sampled_from(["labels", "metadata", "train"]),
)
def test_the_same_table_in_three_forms(
    labels: list[str], parts: list[str] | None, others: dict[str, list[str]], label_column: str, name: str
) -> None:
    columns = {"image": NAMES[:6], **others, label_column: labels} | ({} if parts is None else {"split": parts})
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    outcomes = []
    for suffix in ("csv", "jsonl", "json"):
        with tempfile.TemporaryDirectory() as folder:
            path = images(Path(folder), NAMES[:6]) / f"{name}.{suffix}"
            if suffix == "csv":
                write_table(path, [tuple(columns), *(tuple(row.values()) for row in rows)])
            else:
                path.write_text(lines(rows) if suffix == "jsonl" else json.dumps(rows))
            try:
                found = read_images(path.parent, verify=False)
                outcomes.append((by_id(found), found.test_ids, found.class_names, len(found.warnings)))
            except DataError as error:
                outcomes.append((len(error.problems),))
    assert outcomes[0] == outcomes[1] == outcomes[2]
