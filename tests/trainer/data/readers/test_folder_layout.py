"""The layout with one folder per class, and folders without a known layout."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.images import labels_of, problems_of, sample_image, save
from trainer.data.read import READERS, DataOptions, read_images
from trainer.formats.delimited import write_table


def classes(root: Path) -> Path:
    for seed in range(3):
        save(root / "cat" / f"{seed + 9}.png", seed)
        save(root / "dog" / f"{seed + 9}.png", 10 + seed)
    return root


@pytest.mark.parametrize("place", [".", "train", "Training_images", "train/train", "my images", "a/b"])
def test_class_folders_are_found(tmp_path: Path, place: str) -> None:
    classes(tmp_path / place)
    found = read_images(tmp_path)
    assert found.reader == "folders"
    assert found.train_ids == ("cat/9.png", "cat/10.png", "cat/11.png", "dog/9.png", "dog/10.png", "dog/11.png")
    assert labels_of(found) == ["cat"] * 3 + ["dog"] * 3
    np.testing.assert_array_equal(found.train_images.read(4), sample_image(11))
    assert found.submission is None


@pytest.mark.parametrize("train", [".", "train"])
@pytest.mark.parametrize("test", ["test", "test_images", "test/unknown"])
def test_a_test_folder_flat_or_nested(tmp_path: Path, train: str, test: str) -> None:
    classes(tmp_path / train)
    save(tmp_path / test / "10.png", 100)
    save(tmp_path / test / "9.png", 101)
    found = read_images(tmp_path)
    assert found.class_names == ("cat", "dog")
    prefix = "unknown/" if "/" in test else ""
    assert found.test_ids == (f"{prefix}9.png", f"{prefix}10.png")
    np.testing.assert_array_equal(found.test_images.read(0), sample_image(101))


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("test", ["seg_test/seg_test/{name}", "seg_test"])
@pytest.mark.parametrize("above", [".", "archive"])
def test_parts_called_like_masks_hold_the_images_where_no_other_is(
    tmp_path: Path, above: str, test: str, is_packed: bool
) -> None:
    """Intel's image classification on Kaggle: its parts are called seg_train, seg_test and seg_pred."""
    classes(tmp_path / above / "seg_train" / "seg_train")
    for seed, name in enumerate(("cat", "dog")):
        save(tmp_path / above / test.format(name=name) / f"t{seed}.png", 30 + seed)
        save(tmp_path / above / "seg_pred" / "seg_pred" / f"{seed}.png", 40 + seed)
    if is_packed:
        with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
            archive.write(tmp_path / above / "seg_pred" / "seg_pred" / "0.png", "seg_pred/0.png")
    found = read_images(tmp_path)
    assert found.class_names == ("cat", "dog") and len(found.train_ids) == 6 and len(found.test_ids) == 2
    assert any("2 images in seg_pred" in warning for warning in found.warnings)


def test_the_sample_names_the_test_images(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    save(tmp_path / "test" / "10.png", 100)
    save(tmp_path / "test" / "9.png", 101)
    (tmp_path / "sample_submission.csv").write_text("file,species\n10.png,dog\n9.png,dog\n")
    found = read_images(tmp_path)
    assert found.test_ids == ("10.png", "9.png")
    assert found.submission is not None and found.submission.header == ("file", "species")
    (tmp_path / "sample_submission.csv").write_text("file,species\n10.png,dog\n11.png,dog\n")
    assert "sample_submission.csv row 3: there is no image '11.png'" in problems_of(tmp_path)


def test_test_images_that_a_sample_leaves_out_are_named(tmp_path: Path) -> None:
    root = classes(tmp_path)
    for i in range(5):
        save(root / "test" / f"t{i}.png", 50 + i)
    write_table(root / "sample_submission.csv", [("id", "label"), ("t0.png", "cat"), ("t1.png", "cat")])
    found = read_images(root)
    (warning,) = (line for line in found.warnings if line.startswith("not read: 3 images"))
    assert "that sample_submission.csv does not list, such as test/t2.png" in warning
    (root / "sample_submission.csv").unlink()
    found = read_images(root)
    assert len(found.test_ids) == 5 and not found.warnings, "the advice"


def test_the_ids_of_a_sample_may_come_last(tmp_path: Path) -> None:
    root = classes(tmp_path)
    for i in range(3):
        save(root / "test" / f"t{i}.png", 50 + i)
    write_table(root / "sample_submission.csv", [("Category", "Id"), *(("cat", f"t{i}.png") for i in range(3))])
    found = read_images(root)
    assert found.test_ids == ("t0.png", "t1.png", "t2.png")
    assert found.submission is not None and found.submission.id_position == 1


def test_what_operating_systems_leave_behind_is_ignored(tmp_path: Path) -> None:
    classes(tmp_path)
    save(tmp_path / "__MACOSX" / "cat" / "1.png", 50)
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat" / "._9.png").write_bytes(b"x")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    found = read_images(tmp_path)
    assert found.class_names == ("cat", "dog") and len(found.train_ids) == 6


def test_an_empty_class_folder_is_refused(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "emu").mkdir()
    assert "the class folder emu holds no images" in problems_of(tmp_path)


def test_numeric_class_folders_are_ordered_by_value(tmp_path: Path) -> None:
    for name in ("10", "9", "1"):
        save(tmp_path / name / "a.png", int(name))
    assert read_images(tmp_path).class_names == ("1", "9", "10")


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    data = classes(tmp_path / "data")
    classes(tmp_path / "elsewhere")
    (data / "cat" / "99.png").symlink_to(tmp_path / "elsewhere" / "cat" / "9.png")
    (data / "emu").symlink_to(tmp_path / "elsewhere" / "dog")
    message = problems_of(data)
    assert "cat/99.png is a link that leaves the data folder" in message
    assert "emu is a link to a folder" in message


def test_trains_may_be_a_class(tmp_path: Path) -> None:
    classes(tmp_path)
    save(tmp_path / "train" / "tgv.png", 20)
    assert read_images(tmp_path).class_names == ("cat", "dog", "train")


def test_our_own_output_is_not_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes(tmp_path)
    save(tmp_path / "retable" / "sweep" / "confusion_matrix.png", 20)
    monkeypatch.chdir(tmp_path)
    assert read_images(Path()).class_names == ("cat", "dog")


def test_folders_of_folders_are_not_taken_for_classes(tmp_path: Path) -> None:
    classes(tmp_path / "north")
    classes(tmp_path / "south")
    assert "north/cat/9.png: a class folder holds its images directly" in problems_of(tmp_path)


def test_parts_inside_of_classes_and_classes_inside_of_folds_are_explained(tmp_path: Path) -> None:
    for seed, name in enumerate(("cat", "dog")):
        save(tmp_path / "above" / name / "train" / "1.png", seed, 8)
        save(tmp_path / "above" / name / "test" / "2.png", 10 + seed, 8)
        save(tmp_path / "folds" / "fold1" / name / "1.png", 20 + seed, 8)
        save(tmp_path / "folds" / "fold2" / name / "2.png", 30 + seed, 8)
    assert "put it above the classes: test/cat in place of cat/test" in problems_of(tmp_path / "above")
    assert "If the folders inside them are the classes ('cat', 'dog')" in problems_of(tmp_path / "folds")


@pytest.mark.parametrize("names", [("Part A", "Part B"), ("set_1", "set_2"), ("batch a", "batch b", "batch c")])
def test_lettered_and_numbered_parts_are_not_taken_for_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for seed, name in enumerate(names):
        save(tmp_path / name / f"{seed}.png", seed, 8)
    assert "look like parts of one set" in problems_of(tmp_path)
    assert read_images(tmp_path, DataOptions(layout="folders"), verify=False).class_names == names


def test_classes_below_a_folder_beside_test_images_are_named(tmp_path: Path) -> None:
    inner = "Plants (Augmented)/Plants (Augmented)"
    for part in ("train", "valid"):
        classes(tmp_path / inner / part)
    save(tmp_path / "test" / "test" / "1.png", 0)
    assert f"give {inner} inside of this folder as the data folder, and move test into it" in problems_of(tmp_path)


def test_unread_images_are_reported(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    classes(tmp_path / "val")
    save(tmp_path / "train" / "loose.png", 99)
    warnings = "\n".join(read_images(tmp_path).warnings)
    assert "6 images in val/ (folds are cut from the training images)" in warnings
    assert "train/loose.png" in warnings


def test_all_damaged_images_are_named_at_once(tmp_path: Path) -> None:
    classes(tmp_path)
    whole = (tmp_path / "cat" / "9.png").read_bytes()
    (tmp_path / "cat" / "9.png").write_bytes(b"")
    (tmp_path / "dog" / "10.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dog" / "11.png").write_bytes(b"not an image at all")
    message = problems_of(tmp_path)
    for name in ("cat/9.png: ", "dog/10.png: ", "dog/11.png: "):
        assert name in message
    found = read_images(tmp_path, DataOptions(skip_bad=True))
    assert found.skipped == ("cat/9.png", "dog/10.png", "dog/11.png")
    assert len(found.warnings) == 3


def test_a_damaged_test_image_is_no_dead_end(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    save(tmp_path / "test" / "a.png", 1)
    (tmp_path / "test" / "b.png").write_bytes(b"")
    message = problems_of(tmp_path)
    assert "b.png" in message and "Fetch their files again, or put a readable image in their place" in message
    assert "--skip-bad" not in message
    save(tmp_path / "test" / "b.png", 2)
    assert len(read_images(tmp_path).test_ids) == 2


def test_two_folders_of_training_images_are_refused_and_one_is_read(tmp_path: Path) -> None:
    for place in ("train", "training"):
        classes(tmp_path / place)
    assert "'train', 'training': each could be the folder of the training images" in problems_of(tmp_path)
    shutil.rmtree(tmp_path / "training")
    assert len(read_images(tmp_path, verify=False).class_names) > 1


def test_an_unknown_layout_is_explained(tmp_path: Path) -> None:
    save(tmp_path / "flat" / "a.png", 1)
    (tmp_path / "notes.md").write_text("hello")
    message = problems_of(tmp_path)
    assert "flat/, notes.md" in message
    for reader in READERS.values():
        assert reader.layout in message


def test_a_path_that_is_not_a_folder(tmp_path: Path) -> None:
    assert "there is no folder" in problems_of(tmp_path / "nowhere")
    (tmp_path / "data.zip").write_bytes(b"PK")
    assert "unpack it" in problems_of(tmp_path / "data.zip")


def test_progress_counts_all_images(tmp_path: Path) -> None:
    classes(tmp_path)
    save(tmp_path / "test" / "1.png", 100)
    calls: list[tuple[int, int]] = []
    read_images(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 7) for done in range(1, 8)]


def test_names_that_all_cannot_be_ids_are_the_problem(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        content = save(tmp_path / "some.png", 0).read_bytes()
        (tmp_path / label / os.fsdecode(b"\x8e\xca.png")).write_bytes(content)
        (tmp_path / "some.png").unlink()
    assert "the file name is not UTF-8" in problems_of(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("学習", "評価", "検証"),
        ("entraînement", "test", "validation"),
        ("Trainingsdaten", "Testdaten", "dev"),
        ("تدريب", "اختبار", "التحقق"),
        ("xtrain", "xtest", "xval"),
    ],
)
@pytest.mark.parametrize("as_table", [True, False])
def test_part_folders_in_other_languages(tmp_path: Path, names: tuple[str, str, str], *, as_table: bool) -> None:
    for i in range(12):
        part = names[0] if i < 8 else names[1] if i < 10 else names[2]
        inner = ("cat", "dog")[i % 2] if part == names[0] and not as_table else ""
        save(tmp_path / part / inner / f"a{i}.png", i, 8)
    if as_table:
        write_table(tmp_path / "labels.csv", [("id", "label"), *((f"a{i}", "xy"[i % 2]) for i in range(8))])
    found = read_images(tmp_path, verify=False)
    assert (len(found.y), found.test_ids) == (8, ("a8.png", "a9.png") if not as_table else ("a8", "a9"))


@pytest.mark.parametrize("inner", ["images", "Images", "{name}", "JPEGImages"])
@pytest.mark.parametrize("masks", [None, "masks", "{name} GT", "labels"])
def test_a_class_folder_may_hold_its_images_in_one_inner_folder(tmp_path: Path, inner: str, masks: str | None) -> None:
    for seed, name in enumerate(("cat", "dog")):
        for i in range(3):
            save(tmp_path / "train" / name / inner.format(name=name) / f"{i}.png", 10 * seed + i, 8)
            if masks:
                save(tmp_path / "train" / name / masks.format(name=name) / f"{i}.png", 90, 8)
    found = read_images(tmp_path, verify=False)
    assert found.train_ids == tuple(f"{n}/{inner.format(name=n)}/{i}.png" for n in ("cat", "dog") for i in range(3))
    assert labels_of(found) == ["cat"] * 3 + ["dog"] * 3
    assert any("masks (6)" in warning for warning in found.warnings) == bool(masks)


@pytest.mark.parametrize("inner", [("images", "extra"), ("train", "test"), ("persian", "siamese"), ("persian",)])
def test_other_inner_folders_are_refused(tmp_path: Path, inner: tuple[str, ...]) -> None:
    for seed, name in enumerate(("cat", "dog")):
        for place in inner:
            save(tmp_path / name / place / f"{seed}.png", seed, 8)
    message = problems_of(tmp_path)
    assert "a class folder holds its images directly, but cat has folders with images" in message
    advice = "give the folder that holds them as the data folder" if "test" in inner else "write a table labels.csv"
    assert advice in message and ("columns image" in message) == ("test" in inner)


def test_classes_inside_folders_of_patients_are_explained_and_the_advice_works(tmp_path: Path) -> None:
    """As IDC's breast histology is published."""
    paths = [f"{patient}/{name}/{patient}_{i}.png" for patient in (8863, 8864, 9000) for name in "01" for i in range(3)]
    for seed, path in enumerate(paths):
        save(tmp_path / path, seed, 8)
    message = problems_of(tmp_path)
    assert "the inner folders ('0', '1') are the classes" in message and "8863/0,0,8863" in message
    assert "give the folder" not in message
    rows = [(place, place.split("/")[1], place.split("/")[0]) for place in dict.fromkeys(p[:6] for p in paths)]
    write_table(tmp_path / "labels.csv", [("folder", "label", "group"), *rows])
    found = read_images(tmp_path, DataOptions(group_column="group"), verify=False)
    assert labels_of(found) == [path.split("/")[1] for path in paths]
    assert found.groups is not None and len(set(found.groups)) == 3


def test_classes_inside_folders_of_first_letters_are_explained(tmp_path: Path) -> None:
    """As SUN397 is published."""
    for seed, name in enumerate(("abbey", "airfield", "bar", "castle")):
        for i in range(2):
            save(tmp_path / name[0] / name / f"{i}.png", 10 * seed + i, 8)
    message = problems_of(tmp_path)
    assert "the inner folders ('abbey', 'airfield', 'bar', 'castle') are the classes, move them all into one" in message
    assert "such as a inside of this one" not in message


def test_a_class_called_test_is_explained(tmp_path: Path) -> None:
    for seed, name in enumerate(("control", "test")):
        for i in range(3):
            save(tmp_path / name / f"{i}.png", 10 * seed + i, 8)
    message = problems_of(tmp_path)
    assert "test/ holds test images by its name; if it is a class, rename it, such as to test_class" in message
    (tmp_path / "test").rename(tmp_path / "test_class")
    assert labels_of(read_images(tmp_path, verify=False)) == ["control"] * 3 + ["test_class"] * 3


@pytest.mark.parametrize("others", [("val",), ("val", "public_test"), ("test",), ()])
def test_an_excerpt_of_the_training_images_is_the_training_part(tmp_path: Path, others: tuple[str, ...]) -> None:
    """As in iNaturalist 2021, where train_mini may be downloaded instead of train."""
    for place, part in enumerate(("train_mini", *others)):
        for seed in range(8):
            name = ("00000_Animalia", "05000_Plantae")[seed % 2]
            save(tmp_path / part / name / f"{place}{seed}.png", 20 * place + seed, 8)
    found = read_images(tmp_path, verify=False)
    assert len(found.train_ids) == 8 and found.class_names == ("00000_Animalia", "05000_Plantae")
    assert len(found.test_ids) == 8 * any("test" in part for part in others)
