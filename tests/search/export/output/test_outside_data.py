from __future__ import annotations

import re
from pathlib import Path

import pytest

from search.export.output.outside_data import OutputInData, check_file, check_folder
from tests.trainer.images import save
from trainer.data.read import read_images

HOME = Path("retable")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders in ``data``, and the working folder around them."""
    for name, seed in (("cat", 0), ("dog", 10)):
        for number in range(3):
            save(tmp_path / "data" / "train" / name / f"{number}.png", seed + number)
    monkeypatch.chdir(tmp_path)
    return Path("data")


@pytest.mark.parametrize("name", ["p.png", "preview.png", "report.html", "folds.csv", "new/p.pdf"])
@pytest.mark.parametrize("folder", ["train/cat", "train"])
def test_no_file_is_written_into_a_folder_of_images(data: Path, folder: str, name: str) -> None:
    with pytest.raises(OutputInData, match="lies in a folder of images of the data") as caught:
        check_file(data / folder / name, [data], HOME)

    check_file(suggested(caught.value), [data], HOME)


@pytest.mark.parametrize("name", ["cat", "train/cat", "train", "train/new", "train/cat/a/b"])
def test_no_folder_is_written_into_a_folder_of_images(data: Path, name: str) -> None:
    if not (data / name).exists():
        check_folder(data / "other", [data], HOME)
    folder = data / ("train/cat" if name == "cat" else name)

    with pytest.raises(OutputInData, match="a folder of images of the data") as caught:
        check_folder(folder, [data], HOME)

    check_folder(suggested(caught.value), [data], HOME)


@pytest.mark.parametrize("name", ["p.png", "pictures/p.JPG", "train.csv", "train_folds.csv", "labels.csv"])
def test_what_would_be_read_as_data_is_not_written_beside_the_images(data: Path, name: str) -> None:
    with pytest.raises(OutputInData, match=r"would be read as (an image|a table)") as caught:
        check_file(data / name, [data], HOME)

    check_file(suggested(caught.value), [data], HOME)


@pytest.mark.parametrize("where", ["around", "data"])
def test_advice_and_usual_names_work_in_any_working_folder(
    data: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_images(data)
    given = data
    if where == "data":
        monkeypatch.chdir(data)
        given = Path()
    (given / HOME / ".cache").mkdir(parents=True)
    for name in ("preview.png", "compare.png", "report.html", "mine.html", "folds.csv", "f2.csv", "p.pdf"):
        check_file(given / name, [given], HOME)
    for folder in (Path(), Path("exports"), HOME / "study", HOME):
        check_folder(given / folder, [given], given / HOME)
        check_file(given / HOME / folder / "p.png", [given], given / HOME)
    with pytest.raises(OutputInData) as caught:
        check_file(given / "p.png", [given], HOME)
    save(suggested(caught.value), 99)
    assert read_images(given).train_ids == found.train_ids

    with pytest.raises(OutputInData) as caught:
        check_file(given / "p.png", [given], HOME)
    assert not suggested(caught.value).exists()


def test_links_into_the_data_are_followed(data: Path) -> None:
    Path("out").symlink_to(data / "train" / "cat")

    with pytest.raises(OutputInData):
        check_file(Path("out/p.png"), [data], HOME)
    with pytest.raises(OutputInData):
        check_folder(Path("out"), [data], HOME)


def suggested(error: OutputInData) -> Path:
    found = re.search(r"such as (.+)$", str(error))
    assert found is not None
    return Path(found[1])
