"""The table of predictions, the ids in it, and where it may be written."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.trainer.images import sample_image, save
from trainer.data.corrections.label_cells import LabelCells
from trainer.data.readers.columns.several_labels import NO_LABELS
from trainer.evaluation.confusion.confusion_matrix import confusion_matrix_png
from trainer.inference.errors import ImageError, ModelError
from trainer.inference.find_images import list_images
from trainer.inference.predict import _read_all, predict_folder
from trainer.inference.predictions import (
    OutputError,
    Predictions,
    check_output,
    default_output,
    file_path,
    label_cell,
    write_predictions,
)

MADE = Predictions(ids=("a",), class_names=("x", "y"), proba=np.array([[0.25, 0.75]]), labels=np.array([1]))


def ids_of(*given: Path) -> list[str]:
    return [name for name, _ in list_images(given).items]


@pytest.mark.parametrize(("count", "files"), [(1, "this file"), (2, "these 2 files")])
def test_a_file_name_that_is_not_utf_8_is_answered_by_what_to_do(tmp_path: Path, count: int, files: str) -> None:
    save(tmp_path / "0.png", 0)
    for number in range(count):
        save(tmp_path / os.fsdecode(b"caf\xe9%d.png" % number), number)
    with pytest.raises(ImageError) as refused:
        list_images([tmp_path])
    first, *_, last = str(refused.value).splitlines()
    assert first.startswith("caf\\xe90.png: the file name is not UTF-8: rename it")
    assert last == f"nothing was predicted. To predict the other images now, move {files} elsewhere"


def test_ids_are_unique_and_lead_to_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("left/x", "right/x", "other"):
        save(tmp_path / folder / "1.png", 1)
    save(tmp_path / "other" / "2.png", 2)
    for name in ("a.npz", "left/a.npz"):
        np.savez(tmp_path / name, np.zeros((2, 8, 8), np.uint8))
    left, right, other = Path("left/x"), Path("right/x"), Path("other")
    assert ids_of(other) == ["1.png", "2.png"]
    assert ids_of(left, other) == ["x/1.png", "other/1.png", "other/2.png"]
    assert ids_of(left, right) == ["left/x/1.png", "right/x/1.png"]
    assert ids_of(left / "1.png", right / "1.png") == ["left/x/1.png", "right/x/1.png"]
    assert ids_of(Path("a.npz")) == ["0", "1"]
    assert ids_of(Path("a.npz"), Path("left/a.npz")) == ["a.npz[0]", "a.npz[1]", "left/a.npz[0]", "left/a.npz[1]"]


def test_ids_that_are_paths_are_explained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/0.png", "a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        save(tmp_path / name, 1)
    listed = list_images(["a", "b"])
    assert listed.notes == ("several images are called 1.png: ids are paths, such as a/1.png",)
    assert list_images(["a/0.png", "b"]).notes == ()


def test_an_image_given_twice_is_predicted_once(tmp_path: Path) -> None:
    file = save(tmp_path / "1.png", 1)
    listed = list_images([tmp_path, file, tmp_path])
    assert [name for name, _ in listed.items] == ["1.png"]
    assert any("given twice and predicted once: 2 images" in note for note in listed.notes)


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    save(tmp_path / "1.png", 1)
    (tmp_path / "2.psd").write_bytes(b"8BPS")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (note,) = list_images([tmp_path]).notes
    assert "1 file that is no readable image (1 .psd)" in note
    (tmp_path / "1.png").unlink()
    with pytest.raises(ModelError, match=r"1 \.psd"):
        list_images([tmp_path])
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(ModelError, match="unpack it first"):
        list_images([tmp_path / "a.zip"])


def test_a_path_that_leads_nowhere_is_named_whole(tmp_path: Path) -> None:
    listed = list_images([tmp_path / "there" / "nothing"])
    (problem,) = _read_all(listed.items, [], {}, [])
    assert problem == f"{tmp_path}/there/nothing: there is no such file"


def test_an_empty_path_is_not_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "1.png", 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="is empty: is a shell variable unset"):
        list_images(["1.png", ""])
    assert len(list_images(["."]).items) == 1


def test_pictures_of_an_export_are_not_predicted(tmp_path: Path) -> None:
    confusion_matrix_png(tmp_path / "confusion_matrix.png", np.array([0, 1]), np.array([0, 1]), ("x", "y"))
    save(tmp_path / "study" / "compare.png", 1)
    (tmp_path / "study" / ".retable-export.json").write_text("{}")
    save(tmp_path / "mine" / "compare.png", 2)
    listed = list_images([tmp_path])
    assert [name for name, _ in listed.items] == ["mine/compare.png"]
    assert listed.notes == ("not predicted: pictures that Retable has drawn, such as confusion_matrix.png",)


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.full((2, 8, 8), 0.5), "multiply it by 255"),
        (np.zeros((8, 8, 3), np.uint8), "n = 1 for a single image"),
        (np.zeros((2, 8, 8, 5), np.uint8), "shape"),
        (np.zeros(0, np.uint8), "shape"),
        (np.uint8(3), "shape"),
        (np.array(["a"]), "type"),
    ],
)
def test_arrays_that_hold_no_images(tmp_path: Path, array: npt.NDArray[Any], why: str) -> None:
    np.savez(tmp_path / "a.npz", array)
    with pytest.raises(ModelError, match=why):
        list_images([tmp_path / "a.npz"])


def test_an_array_may_have_the_channels_first(tmp_path: Path) -> None:
    pixels = sample_image(1)
    np.savez(tmp_path / "a.npz", np.stack([pixels, pixels]).transpose(0, 3, 1, 2))
    (_, image), _ = list_images([tmp_path / "a.npz"]).items
    np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize(("name", "why"), [(b"\x8e\xca.png", "not UTF-8"), (b"a\nb.png", "control character")])
def test_names_that_cannot_be_ids_are_refused(tmp_path: Path, name: bytes, why: str) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(save(tmp_path / "1.png", 1).read_bytes())
    with pytest.raises(ImageError, match=why) as caught:
        list_images([tmp_path])
    problem, _ = str(caught.value).split("\n")
    assert problem.isprintable()


def test_values_are_scaled_as_in_training(small_model: Path, tmp_path: Path) -> None:
    gray = sample_image(3)[..., 0]
    Image.fromarray(((gray.astype(np.uint32) * 4095 + 127) // 255).astype(np.uint16)).save(tmp_path / "wide.png")
    Image.fromarray(gray).save(tmp_path / "plain.png")
    plain, wide = predict_folder(small_model, [tmp_path]).proba
    np.testing.assert_allclose(wide, plain, atol=1e-3)


def test_an_output_that_cannot_be_is_refused(small_model: Path, tmp_path: Path) -> None:
    picture = save(tmp_path / "1.png", 1)
    table = tmp_path / "train.csv"
    table.write_text("id,label\n1,a\n")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "link.csv").symlink_to("train.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    before = {path: path.read_bytes() for path in (picture, table)}
    for output, why in (
        (tmp_path, "is a folder"),
        (picture, "named like an image"),
        (table, "holds no predictions"),
        (tmp_path / "link.csv", "holds no predictions"),
        (tmp_path / "loop.csv", "cannot be written"),
        (tmp_path / "pipe.csv", "no regular file"),
        (tmp_path / "new" / "p.csv", "there is no folder"),
        (table / "p.csv", rf"{table} is a file, not a folder: give another --output"),
        (table / "new" / "p.csv", rf"{table} is a file, not a folder: give another --output"),
        (small_model / "config.json", "model folder"),
        (small_model / "p.csv", "model folder"),
        *([(Path("/proc/p.csv"), "cannot be written")] if Path("/proc").is_dir() else []),  # read-only, even for root
        (tmp_path / ("x" * 300), "cannot be written"),
        (tmp_path / "a\0b", "cannot be written"),
        (tmp_path / "out.xlsx", "predictions are a CSV table: --output .*out.csv"),
        (tmp_path / "out.csv.gz", "predictions are a CSV table: --output .*out.csv"),
        (tmp_path / "out.TSV", "predictions are a CSV table"),
        (Path("-"), "written to a file, not to -"),
        (Path("/dev/stdout"), "written to a file, not to /dev/stdout"),
    ):
        with pytest.raises(OutputError, match=why):
            check_output(output, small_model)
    assert before == {path: path.read_bytes() for path in before}


def test_an_output_that_ends_like_a_folder_is_refused(small_model: Path, tmp_path: Path) -> None:
    for text, better in ((f"{tmp_path}/new/", f"{tmp_path}/new.csv"), (f"{tmp_path}/", f"{tmp_path}/output.csv")):
        with pytest.raises(OutputError, match=rf"such as {better}$"):
            file_path(text)
        check_output(file_path(better), small_model)
    assert file_path("new") == Path("new")


def test_earlier_predictions_are_replaced(small_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "p.csv"
    for _ in range(2):
        check_output(output, small_model)
        write_predictions(output, MADE)
        assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    (tmp_path / "link.csv").symlink_to("p.csv")
    check_output(tmp_path / "link.csv", small_model)
    write_predictions(tmp_path / "link.csv", MADE)
    assert (tmp_path / "link.csv").is_symlink()
    with output.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["image_id", "y_pred", "p_x", "p_y"], ["a", "y", "0.25", "0.75"]]


@pytest.mark.slow
def test_the_program_refuses_before_it_computes(small_model: Path, tmp_path: Path) -> None:
    picture = save(tmp_path / "\x1b[31m1.png", 1)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    for arguments, why in (
        ((str(picture), "--output", str(tmp_path)), "is a folder"),
        ((str(picture),), "control character"),
        ((str(tmp_path / "写真\x1b.png"),), "control character"),
        ((str(picture), "--batch-size", "0"), "not at least 1"),
    ):
        command = [sys.executable, "-I", str(small_model / "predict.py"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False)
        assert done.returncode in (1, 2)
        assert why in done.stderr.decode()
        assert b"\x1b" not in done.stderr and b"Traceback" not in done.stderr


def test_the_progress_rises_to_the_whole(small_model: Path, tmp_path: Path) -> None:
    for index in range(5):
        save(tmp_path / f"{index}.png", index)
    shares: list[float] = []
    predict_folder(small_model, [tmp_path], batch_size=2, on_progress=shares.append)
    assert shares == sorted(shares) and len(set(shares)) >= 3 and shares[-1] == 1.0


def test_values_of_a_kind_that_no_training_image_had_are_noted(small_model: Path, tmp_path: Path) -> None:
    save(tmp_path / "plain.png", 1)
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 60).save(tmp_path / "like_training.png")
    assert predict_folder(small_model, [tmp_path]).notes == ()
    Image.fromarray(np.linspace(0, 0.01, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "float.tif")
    (note,) = predict_folder(small_model, [tmp_path]).notes
    assert "more than 8 bits" in note and note.endswith("1 image, such as float.tif")


def test_bad_images_are_left_out_on_demand(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.inference.predict.CHUNK_BYTES", 1)  # an image at a time
    for index in range(4):
        save(tmp_path / f"{index}.png", index)
    whole = predict_folder(small_model, [tmp_path])
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "3.png").write_text("<html>")
    with pytest.raises(ImageError, match=r"1\.png: .*\n3\.png: .*\n.*--skip-bad leaves out these 2 images .* other 2$"):
        predict_folder(small_model, [tmp_path])
    found = predict_folder(small_model, [tmp_path], skip_bad=True)
    assert found.ids == ("0.png", "2.png")
    np.testing.assert_array_equal(found.proba, whole.proba[[0, 2]])
    (note,) = found.notes
    assert "1.png: the file is empty" in note and "3.png: " in note
    for name in ("0.png", "2.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ImageError, match=r"0\.png: ") as caught:
        predict_folder(small_model, [tmp_path], skip_bad=True)
    assert "--skip-bad" not in str(caught.value)


def test_in_the_model_folder_the_table_is_written_beside_it(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_output(small_model) == "predictions.csv"
    monkeypatch.chdir(small_model / "weights")
    assert default_output(small_model) == "../../predictions.csv"
    monkeypatch.chdir(small_model)
    assert default_output(Path()) == "../predictions.csv"
    check_output(Path(default_output(Path())), Path())


@given(
    names=st.lists(st.text("ab|\\\\", min_size=1, max_size=4), min_size=1, max_size=5, unique=True), chosen=st.data()
)
def test_a_separator_in_a_name_is_escaped(names: list[str], chosen: st.DataObject) -> None:
    """Two lists of labels never have the same cell, and those of decisions read it."""
    rows = st.lists(st.integers(0, 1), min_size=len(names), max_size=len(names))
    one, other = (np.array(chosen.draw(rows), np.int64) for _ in range(2))
    cells = [label_cell(row, names) for row in (one, other)]
    assert (cells[0] == cells[1]) == np.array_equal(one, other)
    if one.any() and cells[0].strip() != NO_LABELS:
        assert np.array_equal(LabelCells(class_names=tuple(names), several=True).read(cells[0]), one)
