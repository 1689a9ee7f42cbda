"""Tables that label ids, joined with the tables that name the image file of each id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.image_set import ImageSet
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

FILES = (3, 0, 1, 6, 5, 4, 2, 9, 11, 8, 10, 7)
"""The number of the image file of each id."""
KINDS = ("cat", "dog")  # of the images with an even and an odd number
ONE_HOT = (("id", "cat", "dog"), lambda number: (str(1 - number % 2), str(number % 2)))
ONE_LABEL = (("id", "label"), lambda number: (KINDS[number % 2],))


def images(root: Path, form: str = "images/{}.png", count: int = 12) -> Path:
    for i in range(count):
        save(root / form.format(i), i, 8)
    return root


def rows_of(
    header: Sequence[str],
    cells: Callable[[int], Sequence[str]],
    ids: Sequence[int] = range(12),
    spelled: Callable[[int], str] = str,
) -> list[Sequence[str]]:
    """A row for each id: the id, and the cells for the number of its image."""
    return [tuple(header), *((spelled(i), *cells(FILES[i])) for i in ids)]


def path_of(found: ImageSet, index: int, *, test: bool = False) -> str:
    return (found.test_images if test else found.train_images).name(index).partition(" (")[0]


def is_right(found: ImageSet, form: str = "images/{}.png") -> bool:
    """Whether each image has the label of its number."""
    numbers = {form.format(i): i for i in range(12)}
    labels = [KINDS[numbers[path_of(found, i)] % 2] for i in range(len(found.y))]
    return labels_of(found) == labels


@pytest.mark.parametrize("labels", [ONE_LABEL, ONE_HOT], ids=["label", "one-hot"])
@pytest.mark.parametrize("form", ["train_features/{}.png", "train_features/{:05d}.png", "train_features/img{}.png"])
@pytest.mark.parametrize("site", [True, False])
def test_features_and_labels_are_joined_by_the_id(
    tmp_path: Path, labels: tuple[Sequence[str], Callable[[int], Sequence[str]]], form: str, *, site: bool
) -> None:
    root = images(tmp_path, form)
    listing = rows_of(("id", "filepath"), lambda number: (form.format(number),))
    if site:
        listing = [(*row, f"S{i % 3}" if i else "site") for i, row in enumerate(listing)]
    write_table(root / "train_features.csv", listing)
    write_table(root / "train_labels.csv", rows_of(*labels))
    found = read_images(root, verify=False)
    assert (found.class_names, found.train_ids) == (KINDS, tuple(map(str, range(12)))) or not site
    assert len(found.y) == 12 and is_right(found, form)


@pytest.mark.parametrize(
    ("tables", "columns"),
    [
        (("images.csv", "train.csv"), (("image_id", "file_name"), ("image_id", "label"))),
        (("images.csv", "annotations.csv"), (("image_id", "path"), ("image_id", "label"))),
        (("images.csv", "diagnoses.csv"), (("image_id", "path"), ("id", "diagnosis"))),
        (("meta/files.tsv", "meta/all.tsv"), (("sample_id", "path"), ("sample_id", "outcome"))),
        (("meta/images.csv", "train.csv"), (("id", "path"), ("id", "class"))),
    ],
)
@pytest.mark.parametrize("count", [12, 9])
def test_any_names_of_tables_and_labels_of_a_part(
    tmp_path: Path, tables: tuple[str, str], columns: tuple[Sequence[str], Sequence[str]], count: int
) -> None:
    root = images(tmp_path)
    for name in tables:
        (root / name).parent.mkdir(exist_ok=True)
    write_table(root / tables[0], rows_of(columns[0], lambda number: (f"images/{number}.png",)))
    write_table(root / tables[1], rows_of(columns[1], ONE_LABEL[1], range(count)))
    found = read_images(root, verify=False)
    assert len(found.y) == count and is_right(found)
    listing = Path(tables[0]).name
    assert any(f"{listing} names the images" in note or f"{listing} numbers" in note for note in found.notes)
    assert any(f"{12 - count} images beside" in warning for warning in found.warnings) == (count < 12)


def listed(root: Path, name: str = "images.csv", **kwargs: object) -> Path:
    """A folder with a table of image names, and a further column."""
    images(root)
    rows = rows_of(("id", "path", "site"), lambda number: (f"images/{number}.png", "ABC"[number % 3]), **kwargs)  # type: ignore[arg-type]
    write_table(root / name, rows)
    return root


@pytest.mark.parametrize("spelled", ["{:04d}", "{}.0", "AB{:06X}"])
def test_ids_may_be_spelled_in_two_ways(tmp_path: Path, spelled: str) -> None:
    root = listed(tmp_path, spelled=lambda i: spelled.format(i).lower() if "X" in spelled else str(i))
    write_table(root / "labels.csv", rows_of(*ONE_LABEL, spelled=spelled.format))
    assert is_right(read_images(root, verify=False))


def test_a_named_table_is_joined_as_well(tmp_path: Path) -> None:
    root = listed(tmp_path)
    write_table(root / "outcomes.csv", rows_of(("id", "result"), ONE_LABEL[1]))
    assert "images.csv names the images, and outcomes.csv has further values" in problems_of(root)
    assert is_right(read_images(root, DataOptions(table="outcomes.csv"), verify=False))
    assert is_right(read_images(root, DataOptions(label_column="result"), verify=False))
    assert read_images(root, DataOptions(label_column="site"), verify=False).class_names == ("A", "B", "C")


def test_groups_and_parts_of_the_table_of_image_names(tmp_path: Path) -> None:
    root = images(tmp_path)
    rows = rows_of(("id", "path", "site", "split"), lambda number: (f"images/{number}.png", "ABC"[number % 3]))
    write_table(
        root / "images.csv", [rows[0], *((*row, "test" if i > 7 else "train") for i, row in enumerate(rows[1:]))]
    )
    write_table(root / "labels.csv", rows_of(*ONE_LABEL))
    found = read_images(root, DataOptions(group_column="site"), verify=False)
    assert is_right(found) and found.train_ids == tuple(map(str, range(8))) and len(found.test_ids) == 4
    assert found.groups == tuple("ABC"[FILES[i] % 3] for i in range(8))


def test_a_table_of_parts_is_joined_as_well(tmp_path: Path) -> None:
    root = listed(tmp_path)
    write_table(root / "labels.csv", rows_of(*ONE_HOT))
    write_table(root / "split.csv", [("id", "split"), *((str(i), "test" if i > 7 else "train") for i in range(12))])
    found = read_images(root, verify=False)
    assert is_right(found) and found.train_ids == tuple(map(str, range(8)))
    tested = [path_of(found, i, test=True) for i in range(len(found.test_ids))]
    assert sorted(tested) == sorted(f"images/{FILES[i]}.png" for i in range(8, 12))


@pytest.mark.parametrize("sample", [True, False])
def test_test_ids_have_the_images_of_the_same_table(tmp_path: Path, *, sample: bool) -> None:
    root = listed(tmp_path)
    write_table(root / "train.csv", rows_of(*ONE_LABEL, range(8)))
    name, header = ("sample_submission.csv", ("id", "label")) if sample else ("test.csv", ("id",))
    write_table(root / name, [header, *((str(i), "cat")[: len(header)] for i in range(8, 12))])
    found = read_images(root, verify=False)
    assert is_right(found) and found.test_ids == ("8", "9", "10", "11")
    assert [path_of(found, i, test=True) for i in range(4)] == [f"images/{FILES[i]}.png" for i in range(8, 12)]
    write_table(root / "sample_submission.csv", [("id", "label"), *((str(i), "cat") for i in range(6, 12))])
    assert "2 of 6 test ids are ids of training images, such as '6'" in problems_of(root)


@pytest.mark.parametrize("column", ["id", "number"])
def test_a_table_of_test_images_may_name_its_columns_otherwise(tmp_path: Path, column: str) -> None:
    root = listed(tmp_path)
    write_table(root / "train_labels.csv", rows_of(*ONE_LABEL))
    for i in range(4):
        save(root / "test" / f"{i}.png", 90 + i, 8)
    write_table(root / "test_images.csv", [(column, "file"), *((str(i), f"test/{3 - i}.png") for i in range(4))])
    write_table(root / "sample_submission.csv", [("id", "label"), *((str(i), "cat") for i in range(4))])
    found = read_images(root, verify=False)
    assert is_right(found)
    assert [path_of(found, i, test=True) for i in range(4)] == [f"test/{3 - i}.png" for i in range(4)]


@pytest.mark.parametrize(
    ("name", "labels"), [("annotations.csv", ONE_HOT), ("annotations.txt", ONE_LABEL), ("labels.txt", ONE_LABEL)]
)
def test_one_hot_columns_and_text_files_are_labels(
    tmp_path: Path, name: str, labels: tuple[Sequence[str], Callable[[int], Sequence[str]]]
) -> None:
    root = listed(tmp_path)
    write_table(root / name, rows_of(*labels))
    found = read_images(root, verify=False)
    assert is_right(found) and len(found.y) == 12


@pytest.mark.parametrize("name", ["test.txt", "splits/test.txt"])
def test_lists_of_ids_divide_the_images(tmp_path: Path, name: str) -> None:
    root = listed(tmp_path)
    write_table(root / "labels.csv", rows_of(*ONE_LABEL))
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("".join(f"{i}\n" for i in range(8, 12)))
    found = read_images(root, verify=False)
    assert is_right(found) and found.train_ids == tuple(map(str, range(8)))


def test_a_third_table_may_lead_to_the_images(tmp_path: Path) -> None:
    root = images(tmp_path)
    write_table(
        root / "files.csv", rows_of(("file_id", "path"), lambda number: (f"images/{number}.png",), spelled="F{}".format)
    )
    write_table(root / "map.csv", [("file_id", "id"), *((f"F{i}", str(i)) for i in range(12))])
    write_table(root / "train.csv", rows_of(*ONE_LABEL))
    assert is_right(read_images(root, verify=False))


def test_two_tables_may_name_the_images_together(tmp_path: Path) -> None:
    root = listed(tmp_path, "images_a.csv", ids=range(7))
    listed(tmp_path, "images_b.csv", ids=range(7, 12))
    write_table(root / "train.csv", rows_of(*ONE_LABEL))
    found = read_images(root, verify=False)
    assert is_right(found) and len(found.y) == 12
    write_table(root / "images_b.csv", [("id", "path"), *((str(i), f"images/{i}.png") for i in range(12))])
    assert "images_a.csv and images_b.csv name different images for the id '0' of train.csv" in problems_of(root)


def test_ids_without_an_image_name_are_an_error(tmp_path: Path) -> None:
    root = listed(tmp_path, ids=range(8))
    write_table(root / "train.csv", rows_of(*ONE_LABEL))
    message = problems_of(root)
    assert "train.csv labels 4 ids that images.csv lacks: '8', '9', '10', '11'" in message and "site" not in message


@pytest.mark.parametrize("file", ["images/{}.png", "DSC_{}.jpg"])
def test_ids_that_are_file_names_stay_what_they_are(tmp_path: Path, file: str) -> None:
    """Where a table names the same images, or former names that no file has."""
    root = images(tmp_path)
    write_table(root / "metadata.csv", [("id", "file_name"), *((str(i), file.format(i)) for i in range(8))])
    write_table(root / "train.csv", [("id", "label"), *((str(i), KINDS[i % 2]) for i in range(12))])
    found = read_images(root, verify=False)
    assert is_right(found) and len(found.y) == 12


def test_a_table_that_describes_the_images_of_another_one(tmp_path: Path) -> None:
    root = images(tmp_path)
    write_table(root / "data.csv", rows_of(("id", "path", "label"), lambda n: (f"images/{n}.png", KINDS[n % 2])))
    write_table(root / "exif.csv", [("id", "camera"), *((str(i), "AB"[i // 6]) for i in range(12))])
    assert is_right(read_images(root, verify=False))
    wrong = [(str(i), KINDS[(FILES[i] + (i < 3)) % 2]) for i in range(12)]
    write_table(root / "labels.csv", [("id", "label"), *wrong])
    assert "label 3 of 12 images differently, such as images/0.png as 'dog' and 'cat'" in problems_of(root)


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("map.csv", ("id", "image"), "map.csv may name the image of each 'id' of train.csv in 'image'"),
        ("map.csv", ("id", "number"), "map.csv may name the image of each 'id' of train.csv in 'number'"),
        ("files.csv", ("", "path"), "train.csv labels the numbers in 'id', which may be those in 'Unnamed: 0'"),
        (
            "files.csv",
            ("sample", "path"),
            "which may be those in 'sample' of files.csv, such as 'images/3.png' for '0'",
        ),
    ],
)
def test_numbers_of_uncertain_meaning_are_a_question(
    tmp_path: Path, name: str, columns: Sequence[str], message: str
) -> None:
    root = images(tmp_path)
    form = "images/{}.png" if columns[1] == "path" else "{}"
    write_table(root / name, rows_of(columns, lambda number: (form.format(number),)))
    write_table(root / "train.csv", rows_of(*ONE_LABEL))
    assert message in problems_of(root)
    chosen = read_images(root, DataOptions(table="train.csv"), verify=False)
    assert [path_of(chosen, i) for i in range(12)] == [f"images/{i}.png" for i in range(12)]


@pytest.mark.parametrize("found", [0, 4])
def test_names_of_files_that_are_missing_are_a_question(tmp_path: Path, found: int) -> None:
    root = images(tmp_path)
    rows = [(str(i), f"{FILES[i]}.png" if i < found else f"former{i}.png", "AB"[i % 2]) for i in range(12)]
    write_table(root / "images.csv", [("id", "file_name", "site"), *rows])
    write_table(root / "train.csv", [("id", "label"), *((str(i), KINDS[i % 2]) for i in range(12))])
    if found:
        assert "images.csv may name the image of each 'id' of train.csv in 'file_name'" in problems_of(root)
    else:
        assert is_right(read_images(root, verify=False))


def test_two_columns_of_ids_are_a_question(tmp_path: Path) -> None:
    root = listed(tmp_path)
    rows = [(str(i * 5 % 12), str(i), KINDS[FILES[i] % 2]) for i in range(12)]
    write_table(root / "annotations.csv", [("id", "image_id", "label"), *rows])
    assert "annotations.csv: both 'id' and 'image_id' may be the ids of images.csv" in problems_of(root)
    assert is_right(read_images(root, DataOptions(id_column="image_id"), verify=False))


def test_labels_of_ids_that_lead_to_no_image_are_an_error(tmp_path: Path) -> None:
    root = images(tmp_path)
    write_table(root / "images.csv", [("image", "site"), *((f"{i}.png", "AB"[i % 2]) for i in range(12))])
    write_table(root / "annotations.csv", rows_of(*ONE_LABEL, spelled="X{}".format))
    message = problems_of(root)
    assert "annotations.csv has labels, but its ids name no image, and are not in images.csv" in message
    assert read_images(root, DataOptions(label_column="site"), verify=False).class_names == ("A", "B")


@pytest.mark.parametrize("labelled", [12, 10])
@pytest.mark.parametrize("column", ["photo_id", "sample", "frame", "ref", "parent_id"])
def test_numbers_of_annotations_are_not_taken_for_those_of_images(tmp_path: Path, column: str, labelled: int) -> None:
    """Annotations are numbered like the images, in a column with the usual name; another column assigns them."""
    root = listed(tmp_path)
    assigned = [FILES[i] for i in range(labelled)]  # the annotation i belongs to the image with this id
    rows = [(str(i), str(image), KINDS[FILES[image] % 2]) for i, image in enumerate(assigned)]
    write_table(root / "labels.csv", [("id", column, "label"), *rows])
    assert f"labels.csv: both 'id' and {column!r} may be the ids of images.csv" in problems_of(root)
    assert "--id-column" in problems_of(root)
    found = read_images(root, DataOptions(id_column=column))
    assert is_right(found) and len(found.y) == labelled


def test_a_column_that_counts_the_rows_is_no_question(tmp_path: Path) -> None:
    root = listed(tmp_path)
    rows = [(str(FILES[i]), str(i), KINDS[FILES[FILES[i]] % 2]) for i in range(12)]
    write_table(root / "labels.csv", [("id", "position", "label"), *rows])
    assert is_right(read_images(root, DataOptions()))


def test_a_table_called_samples_names_the_images(tmp_path: Path) -> None:
    root = listed(tmp_path, "samples.csv")
    write_table(root / "labels.csv", rows_of(*ONE_LABEL))
    assert is_right(read_images(root, DataOptions()))
