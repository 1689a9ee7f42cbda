"""Lists and older tables beside a training table that divide it in no way that is read, or hold rows back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import problems_of, save
from trainer.data.image_set import ImageSet
from trainer.data.read import DataOptions, read_images


def competition(root: Path, *, table: str = "train.csv", tests: str = "sample_submission.csv") -> Path:
    """Twelve labelled images, and four for testing, which a file or their folder names."""
    for i in range(12):
        save(root / "train" / f"a{i}.png", i, 8)
    for i in range(12, 16):
        save(root / "test" / f"a{i}.png", i, 8)
    listing(root / table, range(12))
    if tests:
        listing(root / tests, range(12, 16), labels=tests.startswith("sample"))
    return root


def listing(path: Path, numbers: Sequence[int], *, labels: bool = True) -> None:
    """A table of images, or a text of their names, by the extension of ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"a{i}.png,{'xy'[i % 2]}" if labels else f"a{i}.png" for i in numbers]
    header = ["id,label" if labels else "id"] if path.suffix == ".csv" else []
    path.write_text("\n".join([*header, *rows]))


def trained(found: ImageSet) -> list[int]:
    return sorted(int(Path(identifier).stem[1:]) for identifier in found.train_ids)


def for_testing(found: ImageSet) -> list[int]:
    return sorted(int(Path(identifier).stem[1:]) for identifier in found.test_ids)


PAIRS = [
    *(("train_split.csv", "test_split.csv"), ("my_train.csv", "my_test.csv"), ("X_train.csv", "X_test.csv")),
    *(("train_old.csv", "test_old.csv"), ("train (1).csv", "test (1).csv"), ("backup/train.csv", "backup/test.csv")),
    *(("train_df.csv", "valid_df.csv"), ("my_train.csv", "my_val.csv"), ("splits/train.csv", "splits/val.csv")),
]


@pytest.mark.parametrize("tests", ["sample_submission.csv", "test.csv", ""])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_split_of_ones_own_does_not_divide_a_competitions_training_table(
    tmp_path: Path, pair: tuple[str, str], tests: str
) -> None:
    competition(tmp_path, tests=tests)
    for name, numbers in zip(pair, (range(8), range(8, 12)), strict=True):
        listing(tmp_path / name, numbers)

    found = read_images(tmp_path, verify=False)

    assert (trained(found), for_testing(found)) == (list(range(12)), [12, 13, 14, 15])
    (warning,) = (one for one in found.warnings if "all rows are trained on" in one)
    assert all(name in warning for name in pair) and (tests or "test/") in warning


@pytest.mark.parametrize("tests", ["sample_submission.csv", "test.csv", ""])
@pytest.mark.parametrize("table", ["train.csv", "labels.csv"])
@pytest.mark.parametrize("holdout", ["holdout.csv", "my_held_out.csv"])
def test_a_holdout_is_not_trained_on(tmp_path: Path, holdout: str, table: str, tests: str) -> None:
    listing(competition(tmp_path, table=table, tests=tests) / holdout, range(8, 12))

    found = read_images(tmp_path, verify=False)

    assert (trained(found), for_testing(found)) == (list(range(8)), [12, 13, 14, 15])
    assert any("not trained: 4 rows" in one and holdout in one for one in found.warnings)


@pytest.mark.parametrize("test_list", ["test_split.csv", "splits/test.txt"])
def test_rows_that_a_table_of_all_images_holds_for_testing_are_named(tmp_path: Path, test_list: str) -> None:
    listing(competition(tmp_path, table="labels.csv") / test_list, range(8, 12), labels=False)

    found = read_images(tmp_path, verify=False)

    assert (trained(found), for_testing(found)) == (list(range(8)), [12, 13, 14, 15])
    assert any("not trained: 4 rows of labels.csv" in one and "move this list" in one for one in found.warnings)
    (tmp_path / test_list).unlink()
    assert trained(read_images(tmp_path, verify=False)) == list(range(12)), "the advice works"


def test_a_sample_submission_of_the_listed_rows_keeps_the_division(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "images" / f"a{i}.png", i, 8)
    listing(tmp_path / "labels.csv", range(12))
    listing(tmp_path / "train.txt", range(8), labels=False)
    listing(tmp_path / "test.txt", range(8, 12), labels=False)
    listing(tmp_path / "sample_submission.csv", range(8, 12))

    found = read_images(tmp_path, verify=False)

    assert (trained(found), for_testing(found)) == (list(range(8)), [8, 9, 10, 11])
    assert not any("not trained" in one for one in found.warnings)


@pytest.mark.parametrize("parts", [("train_fold{}.csv", "test_fold{}.csv"), ("train_fold{}.csv", "val_fold{}.csv")])
def test_a_chosen_fold_is_not_divided_by_another_one(tmp_path: Path, parts: tuple[str, str]) -> None:
    for i in range(12):
        save(tmp_path / "images" / f"a{i}.png", i, 8)
    for fold in range(2):
        listing(tmp_path / parts[0].format(fold), [i for i in range(12) if i % 3 != fold])
        listing(tmp_path / parts[1].format(fold), [i for i in range(12) if i % 3 == fold])

    found = read_images(tmp_path, DataOptions(table="train_fold0.csv"), verify=False)

    assert trained(found) == [i for i in range(12) if i % 3]
    assert for_testing(found) == ([0, 3, 6, 9] if "test" in parts[1] else [])


@pytest.mark.parametrize("name", ["train_clean.csv", "train_small.csv", "debug/train.csv", "train_metadata.csv"])
def test_a_version_of_the_training_table_divides_nothing(tmp_path: Path, name: str) -> None:
    listing(competition(tmp_path) / name, range(9))

    found = read_images(tmp_path, verify=False)

    assert trained(found) == list(range(12))
    assert any(name in one and "9 of the 12 images of train.csv" in one for one in found.warnings)


@pytest.mark.parametrize("name", ["valid_images.csv", "valid.txt"])
def test_a_list_of_most_images_names_valid_ones(tmp_path: Path, name: str) -> None:
    listing(competition(tmp_path) / name, range(11), labels=False)

    found = read_images(tmp_path, verify=False)

    assert trained(found) == list(range(12))
    (warning,) = (one for one in found.warnings if name in one)
    assert "11 of the 12 images" in warning


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("train_val_list.txt", "test_list.txt"), ("train-val.txt", "test.txt"), ("train_valid.txt", "test.txt")),
        *(("trainval.txt", "test.txt"), ("dev.txt", "test.txt"), ("development_ids.txt", "test_ids.txt")),
    ],
)
def test_the_training_and_validation_images_together_are_for_training(tmp_path: Path, train: str, test: str) -> None:
    """As in NIH ChestX-ray14."""
    for i in range(12):
        save(tmp_path / "images" / f"a{i}.png", i, 8)
    listing(tmp_path / "Data_Entry.csv", range(12))
    listing(tmp_path / train, range(8), labels=False)
    listing(tmp_path / test, range(8, 12), labels=False)

    found = read_images(tmp_path, verify=False)

    assert (trained(found), for_testing(found)) == (list(range(8)), [8, 9, 10, 11])


@pytest.mark.parametrize("value", ["train_val", "train-val", "train/val", "trainval", "Train and Val"])
def test_such_a_value_of_a_column_is_for_training(tmp_path: Path, value: str) -> None:
    for i in range(12):
        save(tmp_path / "images" / f"a{i}.png", i, 8)
    rows = [f"a{i}.png,{'xy'[i % 2]},{value if i < 8 else 'test'}" for i in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["id,label,split", *rows]))

    found = read_images(tmp_path, verify=False)

    assert (trained(found), for_testing(found)) == (list(range(8)), [8, 9, 10, 11])


def test_a_list_of_training_images_beside_class_folders_and_a_test_folder(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "train" / "xy"[i % 2] / f"a{i}.png", i, 8)
    for i in range(12, 16):
        save(tmp_path / "test" / f"a{i}.png", i, 8)
    listing(tmp_path / "test_split.csv", range(8, 12), labels=False)

    found = read_images(tmp_path, verify=False)

    assert (trained(found), for_testing(found)) == (list(range(8)), [12, 13, 14, 15])
    assert any("4 images that test_split.csv lists for testing" in one for one in found.warnings)


def test_test_images_of_a_class_called_masks_are_listed(tmp_path: Path) -> None:
    for i in range(18):
        save(tmp_path / ("masks", "gloves", "helmet")[i % 3] / f"a{i}.png", i, 8)
    for name, numbers in (("train.csv", range(12)), ("test.csv", range(12, 18))):
        rows = [f"{kind}/a{i}.png,{kind}" for i in numbers if (kind := ("masks", "gloves", "helmet")[i % 3])]
        (tmp_path / "meta").mkdir(exist_ok=True)
        (tmp_path / "meta" / name).write_text("\n".join(["file,label", *rows]))

    found = read_images(tmp_path, verify=False)

    assert (trained(found), for_testing(found)) == (list(range(12)), list(range(12, 18)))
    assert found.test_ids[0] == "masks/a12.png", "as the training table writes them"


def test_test_images_with_one_name_in_several_folders_keep_their_folders(tmp_path: Path) -> None:
    """As in RVL-CDIP, whose lists hold paths."""
    for i in range(12):
        save(tmp_path / "images" / f"d{i}" / "1.png", i, 8)
    for name, numbers in (("train.txt", range(8)), ("test.txt", range(8, 12))):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / name).write_text("\n".join(f"d{i}/1.png {i % 2}" for i in numbers))

    found = read_images(tmp_path, DataOptions(table="labels/train.txt"), verify=False)

    assert found.test_ids == ("d8/1.png", "d9/1.png", "d10/1.png", "d11/1.png")


def test_listed_test_images_that_are_missing_are_named(tmp_path: Path) -> None:
    competition(tmp_path, tests="")
    listing(tmp_path / "meta" / "train.csv", range(12))
    (tmp_path / "train.csv").unlink()
    listing(tmp_path / "meta" / "test.txt", range(12, 18), labels=False)

    found = read_images(tmp_path, verify=False)

    assert for_testing(found) == [12, 13, 14, 15]
    assert any("test.txt: 2 lines without an image, such as 'a16.png'" in one for one in found.warnings)


CLEANED = [
    *("train_noise_removed.csv", "train_blurry_removed.csv", "train_dups_removed.csv", "train_without_outliers.csv"),
    *("train_excl_outliers.csv", "train_drop_bad.csv", "train_not_corrupt.csv", "train_no_outliers.csv"),
]


@pytest.mark.parametrize("name", CLEANED)
def test_a_table_from_which_images_were_removed_is_for_training(tmp_path: Path, name: str) -> None:
    listing(competition(tmp_path, table=name) / name, range(5))
    assert trained(read_images(tmp_path, verify=False)) == list(range(5))
    listing(tmp_path / "train.csv", range(12))
    found = read_images(tmp_path, verify=False)
    assert trained(found) == list(range(12))
    assert any(f"not used: {name}, which names 5 of the 12 images of train.csv" in one for one in found.warnings)
    assert trained(read_images(tmp_path, DataOptions(table=name), verify=False)) == list(range(5))


@pytest.mark.parametrize("name", ["train_bad.csv", "train_removed.csv", "train_images_removed.csv"])
def test_a_chosen_table_or_one_of_most_images_is_never_one_of_images_not_to_be_used(tmp_path: Path, name: str) -> None:
    listing(competition(tmp_path) / name, range(5))
    assert "not to be used" in problems_of(tmp_path)
    assert trained(read_images(tmp_path, DataOptions(table=name), verify=False)) == list(range(5))
    listing(tmp_path / name, range(11))
    assert trained(read_images(tmp_path, verify=False)) == list(range(12))


@pytest.mark.parametrize(
    "name", ["train_exclude.txt", "train_not_used.txt", "noise_removed.txt", "train_to_be_removed.txt"]
)
def test_a_list_of_images_not_to_be_used_is_refused(tmp_path: Path, name: str) -> None:
    listing(competition(tmp_path) / name, range(5), labels=False)
    assert "not to be used" in problems_of(tmp_path)
