"""Arrays in npz files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.trainer.images import labels_of, problems_of, sample_image, save
from trainer.data.read import DataError, DataOptions, read_images

IMAGES = np.stack([sample_image(i, 12) for i in range(6)])
LABELS = np.array([5, 3, 12, 3, 5, 12])


def write(
    folder: Path, images: NDArray[Any] = IMAGES, labels: NDArray[Any] = LABELS, test: NDArray[Any] = IMAGES[:3]
) -> Path:
    np.savez(folder / "christ-train-imgs.npz", images)
    np.savez(folder / "christ-train-labels.npz", labels)
    np.savez(folder / "christ-test-imgs.npz", test)
    return folder


def test_three_files_without_a_sample(tmp_path: Path) -> None:
    found = read_images(write(tmp_path))
    assert found.reader == "npz"
    assert found.class_names == ("3", "5", "12")
    assert labels_of(found) == [str(label) for label in LABELS]
    assert found.test_ids == ("0", "1", "2")
    np.testing.assert_array_equal(found.train_images.read(4), IMAGES[4])
    assert found.submission is not None and found.submission.header == ("id", "y")


def test_ids_and_newlines_come_from_the_sample(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "sample_submission.csv").write_bytes(b"id,y\r\n1,3\r\n2,3\r\n3,3\r\n")
    found = read_images(tmp_path)
    assert found.test_ids == ("1", "2", "3")
    assert found.submission is not None
    assert (found.submission.newline, found.submission.kind) == ("\r\n", "integer")
    (tmp_path / "sample_submission.csv").write_text("1,3\n2,3\n3,3\n")
    headerless = read_images(tmp_path).submission
    assert headerless is not None and headerless.header is None and headerless.ids == ("1", "2", "3")
    for text in ("id,y\n1,3\n2,3\n", "1,3\n2,3\n", "id,y\n1,3\n2,3\n3,3\n4,3\n"):
        (tmp_path / "sample_submission.csv").write_text(text)
        assert "there are 3 test images" in problems_of(tmp_path)


@pytest.mark.parametrize(
    "images",
    [
        IMAGES.astype(np.float32) + 0.25,
        IMAGES.astype(np.int64),
        np.moveaxis(IMAGES, 3, 1),
    ],
    ids=["float", "int64", "channel-first"],
)
def test_array_forms_give_the_same_images(tmp_path: Path, images: NDArray[Any]) -> None:
    found = read_images(write(tmp_path, np.clip(images, 0, 255)))
    np.testing.assert_array_equal(found.train_images.read(2), IMAGES[2])


@pytest.mark.parametrize("shape", [(6, 12, 12), (6, 12, 12, 1), (6, 1, 12, 12)])
def test_grayscale_arrays(tmp_path: Path, shape: tuple[int, ...]) -> None:
    found = read_images(write(tmp_path, IMAGES[..., 0].reshape(shape), test=IMAGES[:2, ..., 0]))
    np.testing.assert_array_equal(found.train_images.read(1), np.repeat(IMAGES[1, ..., :1], 3, axis=2))


def test_every_bad_row_is_named_and_can_be_left_out(tmp_path: Path) -> None:
    images = IMAGES.astype(np.float32)
    images[1, 0, 0, 0] = np.nan
    images[4, 3, 3, 1] = 256.5
    write(tmp_path, images)
    message = problems_of(tmp_path)
    assert "christ-train-imgs.npz[1]" in message and "christ-train-imgs.npz[4]" in message
    found = read_images(tmp_path, DataOptions(skip_bad=True))
    assert found.skipped == ("1", "4")
    assert found.train_ids == ("0", "2", "3", "5")
    np.testing.assert_array_equal(found.train_images.read(2), IMAGES[3])


def test_images_in_0_to_1_are_not_taken_for_black_ones(tmp_path: Path) -> None:
    assert "multiply it by 255" in problems_of(write(tmp_path, IMAGES / 255.0))


def test_another_key_beside_it_may_be_meant(tmp_path: Path) -> None:
    write(tmp_path)
    np.savez(tmp_path / "christ-train-imgs.npz", images=IMAGES)
    assert len(read_images(tmp_path).y) == 6
    np.savez(tmp_path / "christ-train-imgs.npz", images=IMAGES, images_small=IMAGES[:, :4])
    message = problems_of(tmp_path)
    assert "'christ-train-imgs.npz images', 'christ-train-imgs.npz images_small': each could hold the train" in message


MEDMNIST = {
    "train_images": IMAGES, "train_labels": LABELS[:, None], "val_images": IMAGES[:2], "val_labels": LABELS[:2, None],
    "test_images": IMAGES[:3], "test_labels": LABELS[:3, None],
}  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        tuple(MEDMNIST),
        ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
        ("trainX", "trainY", "validX", "validY", "testX", "testY"),
        ("X", "y", "Xval", "yval", "Xtest", "ytest"),
        ("images", "labels", "val_data", "val_target", "test_data", "test_target"),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_names_of_keys_and_npy_files_say_what_an_array_is(tmp_path: Path, names: tuple[str, ...], apart: bool) -> None:
    named = dict(zip(names, MEDMNIST.values(), strict=True))
    if apart:
        for name, array in named.items():
            np.save(tmp_path / f"{name}.npy", array)
    else:
        np.savez(tmp_path / "pathmnist.npz", **named)
    found = read_images(tmp_path)
    assert labels_of(found) == [str(label) for label in LABELS] and found.test_ids == ("0", "1", "2")
    np.testing.assert_array_equal(found.train_images.read(4), IMAGES[4])
    shown = [f"{name}.npy" if apart else f"pathmnist.npz {name}" for name in names]
    assert found.warnings == (f"not read: {shown[2]}, because folds are cut from {shown[0]}",)
    assert found.notes == (f"not used: {shown[5]}",)
    if not apart:
        save(tmp_path / "a" / "1.png", 1, 8)
        save(tmp_path / "b" / "1.png", 2, 8)
        assert read_images(tmp_path).reader == "folders", "arrays beside images may be features"


def arrays(folder: Path, **named: NDArray[Any]) -> Path:
    np.save(folder / "images.npy", IMAGES)
    np.save(folder / "labels.npy", np.array([0, 1, 0, 1, 0, 1]))
    for name, array in named.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("split", ["train", "train", "train", "train", "test", "test"]),
        ("data_split", ["train", "train", "train", "train", "test", "test"]),
        ("test_mask", [False] * 4 + [True] * 2),
        ("is_test", [0, 0, 0, 0, 1, 1]),
        ("is_train", [True, True, True, True, False, False]),
        ("anything", ["train", "train", "train", "train", "test", "test"]),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_an_array_of_parts_divides_the_images(tmp_path: Path, name: str, values: list[Any], apart: bool) -> None:
    if apart:
        arrays(tmp_path, **{name: np.array(values)})
    else:
        np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.array([0, 1, 0, 1, 0, 1]), **{name: np.array(values)})
    found = read_images(tmp_path)
    assert (found.train_ids, found.test_ids, labels_of(found)) == (("0", "1", "2", "3"), ("4", "5"), ["0", "1"] * 2)
    np.testing.assert_array_equal(found.test_images.read(1), IMAGES[5])
    assert found.warnings == () and found.notes[0].endswith("divides the images: 4 train, 2 test")
    (tmp_path / "sample_submission.csv").write_text("id,y\n5,0\n4,0\n")
    sampled = read_images(tmp_path)
    assert sampled.test_ids == ("5", "4")
    np.testing.assert_array_equal(sampled.test_images.read(0), IMAGES[5])


def test_images_for_validation_are_left_out_with_a_warning(tmp_path: Path) -> None:
    found = read_images(arrays(tmp_path, split=np.array(["train", "train", "val", "test", "train", "train"])))
    assert (found.train_ids, found.test_ids) == (("0", "1", "4", "5"), ("3",))
    assert found.warnings == ("not read: 1 validation image (folds are cut from the training images)",)


@pytest.mark.parametrize("name", ["test_idx", "test_indices", "train_ids"])
def test_numbers_of_the_images_of_a_part_are_refused_with_an_advice(tmp_path: Path, name: str) -> None:
    arrays(tmp_path, **{name: np.array([1, 4])})
    message = problems_of(tmp_path)
    assert f"{name}.npy seems to hold the numbers of 2 {name.partition('_')[0]} images, and is not read" in message
    assert f"for each of the 6 images, and move {name}.npy out of the data folder" in message
    (tmp_path / f"{name}.npy").unlink()
    arrays(tmp_path, split=np.array(["train", "test", "train", "train", "test", "train"]))
    assert read_images(tmp_path).test_ids == ("1", "4")


def test_an_array_that_seems_to_divide_the_images_is_refused(tmp_path: Path) -> None:
    message = problems_of(arrays(tmp_path, split=np.array(["a", "a", "a", "b", "b", "test"])))
    assert "the column 'split' seems to divide the rows" in message
    assert message.endswith("; if it says something else, move it out of the folder")
    np.save(tmp_path / "split.npy", np.array(["train", None], dtype=object), allow_pickle=True)
    assert "split.npy may divide the images, but it holds pickled" in problems_of(tmp_path)


def test_test_images_in_two_places_are_refused(tmp_path: Path) -> None:
    arrays(tmp_path, split=np.array(["train"] * 4 + ["test"] * 2), x_test=IMAGES[:2])
    assert "'split.npy' says that 2 images of images.npy are test images, and x_test.npy holds" in problems_of(tmp_path)
    (tmp_path / "split.npy").unlink()
    assert read_images(arrays(tmp_path, test_ids=np.array([4, 5]))).test_ids == ("0", "1"), "ids of the test images"


def test_an_array_of_patients_is_a_warning_and_may_give_the_groups(tmp_path: Path) -> None:
    images = np.stack([sample_image(i, 12) for i in range(12)])
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(12) % 2, patients=np.arange(12) // 2)
    found = read_images(tmp_path)
    assert found.groups is None and found.notes == ("not used: a.npz patients",)
    (warning,) = found.warnings
    assert "several images have the same 'patients'" in warning and "--group-column patients" in warning
    grouped = read_images(tmp_path, DataOptions(group_column="patients"))
    assert grouped.groups == tuple(str(i // 2) for i in range(12)) and grouped.warnings == grouped.notes == ()
    with pytest.raises(DataError, match="no array with a value for each of the 12 training images is called 'x'"):
        read_images(tmp_path, DataOptions(group_column="x"))


def test_arrays_of_other_facts_are_noted(tmp_path: Path) -> None:
    found = read_images(arrays(tmp_path, age=np.arange(6), features=np.zeros((6, 4)), ids=np.array(list("abcdef"))))
    assert len(found.train_ids) == 6 and found.warnings == ()
    assert found.notes == ("not used: age.npy", "not used: features.npy", "not used: ids.npy")


def test_two_sets_in_one_folder_are_a_question(tmp_path: Path) -> None:
    for name in ("bloodmnist", "pathmnist"):
        np.savez(tmp_path / f"{name}.npz", **MEDMNIST)
    assert "each could hold the train labels; leave only one of them" in problems_of(tmp_path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_damaged_array_is_named(tmp_path: Path, suffix: str) -> None:
    np.save(tmp_path / "y_train.npy", LABELS)
    file = tmp_path / f"x_train{suffix}"
    write_array: Any = np.save if suffix == ".npy" else np.savez
    write_array(file, IMAGES)
    assert len(read_images(tmp_path).y) == 6
    file.write_bytes(file.read_bytes()[:-200])
    assert f"x_train{suffix} " in problems_of(tmp_path)
    write_array(file, np.array([{}], dtype=object), allow_pickle=True)
    assert "holds pickled Python objects" in problems_of(tmp_path)


def test_pickled_objects_are_refused_and_never_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    write(tmp_path)
    np.savez(tmp_path / "christ-train-labels.npz", np.array([Trap()] * 6, dtype=object))
    message = problems_of(tmp_path)
    assert "christ-train-labels.npz" in message and "pickled" in message
    assert not marker.exists()


def test_a_header_that_claims_more_than_is_there_is_refused_unread(tmp_path: Path) -> None:
    write(tmp_path)
    header = io.BytesIO()
    claim = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 1000, 1000, 3)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(tmp_path / "christ-train-imgs.npz", "w") as archive:
        archive.writestr("arr_0.npy", header.getvalue() + bytes(100))
    assert "claims the shape (1000000000, 1000, 1000, 3)" in problems_of(tmp_path)


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path) / "christ-train-imgs.npz"
    path.write_bytes(path.read_bytes()[:-200])
    assert "christ-train-imgs.npz is damaged, cut off or not an .npz file" in problems_of(tmp_path)


def test_numbers_that_do_not_fit(tmp_path: Path) -> None:
    assert "has 5 labels, christ-train-imgs.npz has 6 images" in problems_of(write(tmp_path, labels=LABELS[:5]))
    assert "christ-train-labels.npz[2]: the label nan is not a whole number" in problems_of(
        write(tmp_path, labels=np.array([1, 2, np.nan, 1, 2, 1]))
    )


def test_string_labels_and_missing_parts(tmp_path: Path) -> None:
    write(tmp_path, labels=np.array(["b", "a"] * 3))
    assert read_images(tmp_path).class_names == ("a", "b")
    (tmp_path / "christ-test-imgs.npz").unlink()
    without_test = read_images(tmp_path)
    assert without_test.test_ids == () and without_test.submission is None
    (tmp_path / "christ-train-labels.npz").unlink()
    assert "no array of training labels" in problems_of(tmp_path)


def test_labels_of_the_test_set_are_not_used(tmp_path: Path) -> None:
    np.savez(write(tmp_path) / "christ-test-labels.npz", LABELS[:3])
    assert "not used: christ-test-labels.npz" in read_images(tmp_path).notes


@pytest.mark.parametrize(("row", "several"), [((1, 0, 1), True), ((0, 0, 0), True), ((0, 1, 0), False)])
def test_a_matrix_of_labels(tmp_path: Path, row: tuple[int, ...], *, several: bool) -> None:
    labels = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), row])
    write(tmp_path, images=IMAGES[:4], labels=labels)
    found = read_images(tmp_path)
    assert found.class_names == ("0", "1", "2") and found.several_labels is several
    assert found.y.tolist() == (labels if several else labels.argmax(axis=1)).tolist()
