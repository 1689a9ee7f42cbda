"""A table that names images in folders that may be classes, however deep these lie."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.image_set import ImageSet
from trainer.data.read import DataError, DataOptions, read_images
from trainer.formats.delimited import write_table

CLASSES = ("cat", "dog", "fox")
COUNT = 24

NESTS: dict[str, str] = {
    "bare": "{name}",
    "part": "train/{name}",
    "images": "images/{name}",
    "wrapped parts": "data/train/{name}",
    "named wrapper": "Fotos 2023/train/{name}",
    "two wrappers": "a/b/training/{name}",
    "numbered parts": "train_{two}/{name}",
    "lettered parts": "Part {letter}/{name}",
    "numbered images": "images_part_{two}/{name}",
    "folds": "fold_{two}/{name}",
    "batches": "batch{two}/{name}",
    "sites": "site{two}/{name}",
    "months": "2023-0{two}/{name}",
    "persons": "{person}/{name}",
    "images of a class": "{name}/images",
    "sites of a class": "{name}/site{two}",
    "sites in a wrapper": "data/site{two}/{name}",
}
"""Where an image of the class ``name`` lies. The other parts change from image to image."""
FURTHER = {
    "": [],
    "validation": ["val/{name}/v{i}.png"],
    "wrapped validation": ["data/val/{name}/v{i}.png"],
    "new": ["new/n{i}.png"],
    "png": ["png/n{i}.png"],
    "holdout": ["holdout/n{i}.png"],
}
CASES = [
    *((nest, "") for nest in NESTS),
    *(("images", further) for further in FURTHER if further),
    *(("wrapped parts", further) for further in FURTHER if further),
    *(("part", further) for further in ("validation", "new")),
    *((nest, "validation") for nest in ("bare", "named wrapper", "lettered parts", "folds", "sites", "persons")),
    *((nest, "new") for nest in ("two wrappers", "numbered parts", "months", "sites in a wrapper")),
]


def animals(root: Path, place: str, further: str = "") -> dict[str, str]:
    """Write images, and return the class of each by its path."""
    found = {}
    for i in range(COUNT):
        name, two = CLASSES[i % 3], i // 3 % 2
        folder = place.format(name=name, two=two + 1, letter="AB"[two], person=("anna", "ben")[two])
        save(root / folder / f"p{i:02d}.png", i, 8)
        found[f"{folder}/p{i:02d}.png"] = name
    for pattern in FURTHER[further]:
        for i in range(6):
            save(root / pattern.format(name=CLASSES[i % 3], i=i), 100 + i, 8)
    return found


def side_table(root: Path, paths: list[str], column: str, cell: Callable[[int], str], name: str = "photos.csv") -> None:
    rows = [(path.rpartition("/")[2], cell(i)) for i, path in enumerate(paths)]
    write_table(root / name, [("image", column), *rows])


def by_path(found: ImageSet, root: Path) -> dict[str, str]:
    """The label of each training image by its path in ``root``."""
    prefix = "" if found.root == root else f"{found.root.relative_to(root).as_posix()}/"
    return {prefix + path: label for path, label in zip(found.train_images.paths, labels_of(found), strict=True)}


def light(i: int) -> str:
    return ("sun", "shade")[i * 7 % 5 % 2]


def as_persons(i: int) -> str:
    """One annotator for each of two sites, parts or persons."""
    return ("Eva", "Tom")[i // 3 % 2]


@pytest.mark.parametrize(("nest", "further"), CASES)
@pytest.mark.parametrize(
    ("column", "cell"), [("light", light), ("team", as_persons), ("pace", lambda i: f"{100 + i % 7}")]
)
def test_a_side_column_is_a_question_whose_answers_work(
    tmp_path: Path, nest: str, further: str, column: str, cell: Callable[[int], str]
) -> None:
    classes = animals(tmp_path, NESTS[nest], further)
    side_table(tmp_path, list(classes), column, cell)

    with pytest.raises(DataError) as caught:
        read_images(tmp_path, verify=False)

    message = str(caught.value)
    chosen = read_images(tmp_path, DataOptions(label_column=column), verify=False)
    assert f"--label-column {column}" in message
    assert by_path(chosen, tmp_path) == {path: cell(i) for i, path in enumerate(classes)}
    assert column == "team" or any("not the folders" in warning for warning in chosen.warnings)
    if "--layout folders" in message:
        found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    elif (inner := re.search(r"give (\S.*) as the data folder", message)) is not None:
        found = read_images(Path(inner[1]), verify=False)
    else:
        assert "write a table labels.csv with the columns image and label" in message
        write_table(tmp_path / "labels.csv", [("image", "label"), *classes.items()])
        found = read_images(tmp_path, verify=False)
    assert by_path(found, tmp_path) == classes


@pytest.mark.parametrize(("nest", "further"), CASES)
@pytest.mark.parametrize(("column", "cell"), [("annotated_by", as_persons), ("kb", lambda i: f"{100 + i % 7}")])
def test_a_column_whose_name_tells_no_label_gives_none(
    tmp_path: Path, nest: str, further: str, column: str, cell: Callable[[int], str]
) -> None:
    """Where the folders can be read, they give the labels; else the error says what can be done."""
    classes = animals(tmp_path, NESTS[nest], further)
    side_table(tmp_path, list(classes), column, cell)
    try:
        found = read_images(tmp_path, verify=False)
    except DataError as error:
        assert f"--label-column {column}" in str(error) or "labels.csv" in str(error)
    else:
        assert by_path(found, tmp_path) == classes
        assert any("photos.csv" in line for line in (*found.warnings, *found.notes))


@pytest.mark.parametrize("place", [place for name, place in NESTS.items() if name != "bare"])
def test_a_few_rows_are_a_question(tmp_path: Path, place: str) -> None:
    classes = animals(tmp_path, place)
    side_table(tmp_path, list(classes)[:10], "pace", light, "todo.csv")

    assert "--label-column pace" in problems_of(tmp_path)


@pytest.mark.parametrize(
    ("place", "times"),
    [
        *((place, "day night") for place in ("{name}/{time}", "data/train/{name}/{time}")),
        *((place, "1 4") for place in ("{name}/{time}", "data/train/{name}/{time}", "data/train/{time}/{name}")),
        *((place, "40X 100X") for place in ("{name}/{time}", "data/train/{name}/{time}", "data/train/{time}/{name}")),
    ],
)
def test_a_column_that_means_folders_within_the_classes_is_a_question(tmp_path: Path, place: str, times: str) -> None:
    """As the zoom of BreakHis."""
    first, second = times.split()
    paths = []
    for i in range(COUNT):
        folder = place.format(name=CLASSES[i % 3], time=(first, second)[i // 3 % 2])
        paths.append(save(tmp_path / folder / f"p{i:02d}.png", i, 8).relative_to(tmp_path).as_posix())
    if place.startswith("data"):
        save(tmp_path / "data/val/cat/v.png", 50, 8)
    side_table(tmp_path, paths, "seen_at", lambda i: (first, second)[i // 3 % 2])

    assert "the folders 'cat', 'dog', 'fox' of the images" in problems_of(tmp_path)


def test_rows_of_one_class_folder_are_a_question(tmp_path: Path) -> None:
    classes = animals(tmp_path, "data/train/{name}", "wrapped validation")
    side_table(tmp_path, [path for path, name in classes.items() if name == "cat"], "light", light)

    assert "the folders 'cat', 'dog', 'fox' of the images" in problems_of(tmp_path)


@pytest.mark.parametrize("place", NESTS.values(), ids=NESTS)
@pytest.mark.parametrize("column", ["label", "diagnosis"])
def test_a_usual_name_of_labels_is_read_with_a_warning(tmp_path: Path, place: str, column: str) -> None:
    classes = animals(tmp_path, place)
    side_table(tmp_path, list(classes), column, light)
    found = read_images(tmp_path, verify=False)

    assert by_path(found, tmp_path) == {path: light(i) for i, path in enumerate(classes)}
    assert any("not the folders" in warning for warning in found.warnings)


@pytest.mark.parametrize(("nest", "further"), CASES)
@pytest.mark.parametrize("column", ["label", "animal"])
@pytest.mark.parametrize("written", [str, str.upper, lambda name: str(CLASSES.index(name) + 5)])
def test_a_column_that_means_the_folders_is_read(
    tmp_path: Path, nest: str, further: str, column: str, written: Callable[[str], str]
) -> None:
    if (nest, column) == ("persons", "animal"):
        pytest.skip("as for day and night below the animals, the outer folders may be the classes")
    classes = animals(tmp_path, NESTS[nest], further)
    labels = list(map(written, classes.values()))
    side_table(tmp_path, list(classes), column, labels.__getitem__)
    found = read_images(tmp_path, verify=False)

    assert by_path(found, tmp_path) == dict(zip(classes, labels, strict=True))
    assert not any("not the folders" in warning for warning in found.warnings)


GROUPS = ["{place}/site{g}", "{place}/P{g:02d}", "{place}/2023-{g:02d}", "{place}/{g}", "{place}/fold_{g}", "{place}"]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("place", ["images", "data/images", "archive/photos"])
@pytest.mark.parametrize("column", ["label", "diagnosis"])
@pytest.mark.parametrize("values", [("benign", "malignant"), ("8", "9")])
def test_groups_above_images_are_no_question(
    tmp_path: Path, group: str, place: str, column: str, values: tuple[str, str]
) -> None:
    expected = {}
    for i in range(COUNT):
        folder = group.format(place=place, g=i // 4 + 1)
        save(tmp_path / folder / f"p{i:02d}.png", i, 8)
        save(tmp_path / folder.replace(place, "masks") / f"p{i:02d}_mask.png", 100 + i, 8)
        expected[f"{folder}/p{i:02d}.png"] = values[i // 2 % 2]
    side_table(tmp_path, list(expected), column, list(expected.values()).__getitem__, "patients.csv")

    assert by_path(read_images(tmp_path, verify=False), tmp_path) == expected


@pytest.mark.parametrize("place", [place for name, place in NESTS.items() if name not in ("bare", "part", "images")])
def test_another_label_than_that_of_the_folder_is_an_error(tmp_path: Path, place: str) -> None:
    classes = animals(tmp_path, place)
    labels = list(classes.values())
    labels[0] = "dog"
    side_table(tmp_path, list(classes), "label", labels.__getitem__, "eva.csv")

    assert f"1 of {COUNT} labels contradict the folders" in problems_of(tmp_path)
    assert by_path(read_images(tmp_path, DataOptions(layout="table"), verify=False), tmp_path) == dict(
        zip(classes, labels, strict=True)
    )


def test_an_excerpt_with_the_labels_of_wrapped_folders_is_a_question(tmp_path: Path) -> None:
    classes = animals(tmp_path, "data/train/{name}", "wrapped validation")
    few = list(classes)[:6]
    side_table(tmp_path, few, "label", lambda i: classes[few[i]], "subset.csv")

    message = problems_of(tmp_path)
    assert f"subset.csv labels 6 of {COUNT} images" in message
    assert len(read_images(tmp_path, DataOptions(table="subset.csv"), verify=False).y) == 6
    assert by_path(read_images(tmp_path, DataOptions(layout="folders"), verify=False), tmp_path) == classes


def test_class_folders_below_a_table_are_read_as_those_beside_it(tmp_path: Path) -> None:
    classes = animals(tmp_path, "data/train/{name}")
    for i in range(3):
        save(tmp_path / "data/test" / CLASSES[i] / f"t{i}.png", 50 + i, 8)
    side_table(tmp_path, list(classes), "light", light)
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)

    assert by_path(found, tmp_path) == classes
    assert len(found.test_ids) == 3
    assert any("photos.csv" in warning for warning in found.warnings)


@pytest.mark.parametrize("above", ["", "images/", "data/train/"])
@pytest.mark.parametrize("column", ["specimen", "nest", "Pflanze"])
def test_specimens_within_the_classes_are_a_question(tmp_path: Path, above: str, column: str) -> None:
    """Each specimen has a folder in that of its species, and a table names the specimens."""
    classes, specimens = {}, {}
    for i in range(36):
        name = CLASSES[i % 3]
        path = f"{above}{name}/{name[0]}{i // 9}/p{i:02d}.png"
        save(tmp_path / path, i, 8)
        classes[path], specimens[path] = name, f"{name[0]}{i // 9}"
    paths = list(classes)
    side_table(tmp_path, paths, column, lambda i: specimens[paths[i]], "notes.csv")
    message = problems_of(tmp_path)
    assert f"the column {column!r} of notes.csv, or the folders 'cat', 'dog', 'fox'" in message
    chosen = read_images(tmp_path, DataOptions(label_column=column), verify=False)
    assert by_path(chosen, tmp_path) == specimens

    rows = [(path.rpartition("/")[2], specimens[path], classes[path]) for path in paths]
    write_table(tmp_path / "notes.csv", [("image", column, "genus"), *rows])
    assert "If the folders are the classes, add --label-column genus" in problems_of(tmp_path)
    assert by_path(read_images(tmp_path, DataOptions(label_column="genus"), verify=False), tmp_path) == classes


@pytest.mark.parametrize("place", ["{name}", "data/train/{name}", "site{two}/{name}"])
@pytest.mark.parametrize("other", ["cow", "blurry", "?", "cat red"])
@pytest.mark.parametrize("every", [2, 6, 24])
def test_labels_that_are_no_folder_contradict_the_folders_as_well(
    tmp_path: Path, place: str, other: str, every: int
) -> None:
    """The opinion of a second annotator, who saw a further class."""
    classes = animals(tmp_path, place)
    paths = list(classes)
    opinion = {path: other if i % every == 0 else classes[path] for i, path in enumerate(paths)}
    side_table(tmp_path, paths, "label", lambda i: opinion[paths[i]], "labels2.csv")
    assert f"{len(paths) // every} of {len(paths)} labels contradict the folders" in problems_of(tmp_path)
    assert by_path(read_images(tmp_path, DataOptions(layout="table"), verify=False), tmp_path) == opinion


def test_a_folder_under_another_name_contradicts_nothing(tmp_path: Path) -> None:
    classes = animals(tmp_path, "{name}")
    paths = list(classes)
    side_table(tmp_path, paths, "label", lambda i: classes[paths[i]].replace("fox", "red fox"), "labels.csv")
    assert read_images(tmp_path, verify=False).class_names == ("cat", "dog", "red fox")


@pytest.mark.parametrize("beside", ["cat_to_name.json", "classes.csv", "history.csv"])
def test_parts_in_a_wrapper_are_read_beside_files_that_label_nothing(tmp_path: Path, beside: str) -> None:
    """Oxford's 102 flowers on Kaggle: cat_to_name.json lies beside dataset/."""
    classes = animals(tmp_path, "dataset/train/{name}")
    animals(tmp_path, "dataset/valid/{name}")
    contents = {"cat_to_name.json": '{"cat": "tom cat"}', "classes.csv": "id,name\n0,cat\n1,dog\n2,fox\n"}
    (tmp_path / beside).write_text(contents.get(beside, "epoch,loss\n0,0.5\n1,0.4\n2,0.3\n"))
    found = read_images(tmp_path, verify=False)
    assert by_path(found, tmp_path) == classes
    assert any(beside in warning for warning in found.warnings)
    (tmp_path / "Befunde.csv").write_text(
        "Bild,Befund\n" + "".join(f"IMG_{i:03d}.jpg,{'ab'[i % 2]}\n" for i in range(30))
    )
    assert "give dataset inside of this folder" in problems_of(tmp_path)
