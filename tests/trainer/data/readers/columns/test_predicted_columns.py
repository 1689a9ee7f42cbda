"""Columns of predictions by their names are no labels, and labels beside a certainty alone are doubtful."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.names.predictions import is_column_of_predictions
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

NAMES = [f"{100 + number}.png" for number in range(12)]
LABELS = ["cat", "dog", "fox"] * 4
SURE = [f"0.{60 + number}" for number in range(12)]


def images(root: Path, folder: str = "images") -> Path:
    for seed, name in enumerate(NAMES):
        save(root / folder / name, seed, 8)
    return root


def write(root: Path, name: str, header: str, *columns: Sequence[str]) -> None:
    names = header.split(",")
    rows = list(zip(NAMES, *columns, strict=False))
    if name.endswith(".json"):
        (root / name).write_text(json.dumps([dict(zip(names, row, strict=True)) for row in rows]))
    else:
        write_table(root / name, [names, *rows])


@pytest.mark.parametrize(
    "name",
    [
        *(
            "prediction",
            "predicted_label",
            "y_pred",
            "pred",
            "argmax",
            "top1",
            "top-1 class",
            "PredictedClass",
            "pred_1",
        ),
        *("predicted class", "y_hat", "model_output", "pseudo_label", "Vorhersage", "prédiction", "予測ラベル"),
    ],
)
@pytest.mark.parametrize("file", ["results.json", "data.csv", "labels.csv"])
def test_a_column_of_predictions_is_a_question(tmp_path: Path, name: str, file: str) -> None:
    write(images(tmp_path), file, f"image,{name}", LABELS)
    message = problems_of(tmp_path)
    assert f"the column that could hold labels is '{name}', which holds predictions by its name" in message
    assert labels_of(read_images(tmp_path, DataOptions(label_column=name), verify=False)) == LABELS


@pytest.mark.parametrize("name", ["predator", "label", "predicate", "y", "output", "top", "hat", "PredictionString"])
def test_other_names_are_none_of_predictions(name: str) -> None:
    assert not is_column_of_predictions(name)


def test_columns_of_predicted_classes_are_no_classes(tmp_path: Path) -> None:
    hot = [["1" if label == name else "0" for label in LABELS] for name in ("cat", "dog", "fox")]
    write(images(tmp_path), "results.csv", "image,pred_cat,pred_dog,pred_fox", *hot)
    assert "called after predictions: 'pred_cat', 'pred_dog', 'pred_fox'" in problems_of(tmp_path)


def test_a_usual_column_of_labels_is_taken(tmp_path: Path) -> None:
    write(images(tmp_path), "data.csv", "image,label,prediction", LABELS, ["A", "B"] * 6)
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == LABELS and any("'prediction' could hold them, too" in note for note in found.notes)


def test_the_target_of_a_competition_may_be_called_prediction(tmp_path: Path) -> None:
    write(images(tmp_path, "train"), "train.csv", "image,prediction", LABELS)
    save(tmp_path / "test" / "900.png", 99, 8)
    write_table(tmp_path / "sample_submission.csv", [("image", "prediction"), ("900.png", "cat")])
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS


def test_predictions_do_not_displace_the_labels_as_a_sample_calls_its_answers_so(tmp_path: Path) -> None:
    write(images(tmp_path, "train"), "train.csv", "image,label", LABELS)
    write(tmp_path, "results.csv", "image,prediction", LABELS[1:] + LABELS[:1])
    save(tmp_path / "test" / "900.png", 99, 8)
    write_table(tmp_path / "sample_submission.csv", [("image", "prediction"), ("900.png", "cat")])
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS


@pytest.mark.parametrize("header", ["image,prediction", "image,label,score", "image,pred,confidence"])
@pytest.mark.parametrize("file", ["results.json", "results.csv", "backup/results.csv"])
def test_no_advice_names_a_table_of_predictions(tmp_path: Path, header: str, file: str) -> None:
    images(tmp_path)
    write_table(tmp_path / "train.csv", [("image", "label"), *zip(NAMES[:8], LABELS, strict=False)])
    (tmp_path / "backup").mkdir()
    write(tmp_path, file, header, LABELS, *([SURE] if header.count(",") > 1 else []))
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == LABELS[:8]
    assert not [text for text in (*found.warnings, *found.notes) if "--table" in text]


@pytest.mark.parametrize("certainty", ["score", "confidence", "probability"])
def test_labels_beside_a_certainty_alone_are_a_warning(tmp_path: Path, certainty: str) -> None:
    write(images(tmp_path), "results.json", f"image,label,{certainty}", LABELS, SURE)
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == LABELS
    assert any("results.json holds nothing but images, 'label' and how sure" in warning for warning in found.warnings)


@pytest.mark.parametrize("file", ["train.csv", "labels.csv", "annotations.csv", "metadata.csv"])
def test_annotators_state_their_confidence(tmp_path: Path, file: str) -> None:
    write(images(tmp_path), file, "image,label,confidence", LABELS, SURE)
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == LABELS and not [warning for warning in found.warnings if "nothing but" in warning]


def test_further_facts_tell_a_table_from_predictions(tmp_path: Path) -> None:
    write(images(tmp_path), "data.csv", "image,label,confidence,annotator", LABELS, SURE, ["ann", "bob"] * 6)
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == LABELS and not [warning for warning in found.warnings if "nothing but" in warning]


def test_predictions_beside_class_folders_are_left_out(tmp_path: Path) -> None:
    for seed, (name, label) in enumerate(zip(NAMES, LABELS, strict=True)):
        save(tmp_path / label / name, seed, 8)
    write(tmp_path, "results.csv", "image,prediction", LABELS[1:] + LABELS[:1])
    found = read_images(tmp_path, verify=False)
    assert sorted(labels_of(found)) == sorted(LABELS) and found.reader == "folders"
