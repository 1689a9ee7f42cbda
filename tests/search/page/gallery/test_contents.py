"""The file with the pictures: what is read back is what was written, and nothing else is shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.page.gallery.contents import MOST_PICTURES, read_gallery, remove_gallery, write_gallery
from search.runtime.home import Home
from storage.stores import Stores
from tests.search.page.gallery.stored import gallery_of, jpeg, of_sets, picture, second_labels
from tests.search.page.made_up import lay_study

Content = dict[str, Any]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home")


@pytest.fixture
def file(stores: Stores, home: Home, tmp_path: Path) -> Path:
    study = lay_study(stores, tmp_path)
    gallery = gallery_of(
        study, picture(3, 0, 1), picture(0, None, 2, map=None, mapped=None, focus=""), notes=("A note.",)
    )
    write_gallery(stores, home, study.name, gallery)
    (path,) = (home.artifacts / "galleries").rglob("*.json")
    return path


def read(stores: Stores, home: Home, name: str = "made_up") -> object:
    study = stores.study(name)
    return read_gallery(stores, home, name, stores.datasets.get(study.fingerprint))


def test_what_is_written_is_read(stores: Stores, home: Home, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    assert read(stores, home) is None
    remove_gallery(stores, home, study.name)
    for trial in (4, 5):
        written = gallery_of(study, picture(3, 0, 1), picture(0, None, 2, map=None, mapped=None, focus=""), trial=trial)
        write_gallery(stores, home, study.name, written)
        assert read(stores, home) == written
    remove_gallery(stores, home, study.name)
    assert read(stores, home) is None


def test_databases_that_share_a_home_keep_their_pictures_apart(
    stores: Stores, file: Path, home: Home, tmp_path: Path
) -> None:
    from storage.stores import open_stores

    other = open_stores(f"sqlite:///{tmp_path / 'other.db'}", create=True)
    lay_study(other, tmp_path)
    assert read(other, home) is None and read(stores, home) is not None
    other.database.close()


def edit(**changes: object) -> Callable[[Content], None]:
    return lambda content: content.update(changes)


def edit_picture(**changes: object) -> Callable[[Content], None]:
    return lambda content: content["pictures"][0].update(changes)


def of_size(data: bytes, side: int) -> bytes:
    """A JPEG whose header claims another size."""
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + 2 * side.to_bytes(2, "big") + data[place + 4 :]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


DAMAGES: dict[str, Callable[[Content], None]] = {
    "another program": edit(made_by="other"),
    "another release": edit(format=3),
    "no number": edit(trial="1"),
    "a negative number": edit(trial=-1),
    "a long text": edit(source="a" * 5000),
    "no list": edit(pictures=5),
    "many pictures": lambda content: content.update(pictures=content["pictures"] * (MOST_PICTURES // 2 + 1)),
    "another part": edit_picture(part="../../etc"),
    "a row that does not exist": edit_picture(row=60),
    "a negative row": edit_picture(row=-1),
    "a class that does not exist": edit_picture(labels=[3]),
    "the label of another image": edit_picture(labels=[1]),
    "two labels": edit_picture(labels=[0, 1]),
    "no label": edit_picture(labels=[]),
    "a label that is no list": edit_picture(labels="0"),
    "a predicted class that does not exist": edit_picture(predicted=[7]),
    "no prediction": edit_picture(predicted=[]),
    "a probability of a class that does not exist": edit_picture(shares=[[7, 0.5]]),
    "no probability": edit_picture(shares=[]),
    "a class twice": edit_picture(shares=[[1, 0.8], [1, 0.1]]),
    "probabilities that rise": edit_picture(shares=[[1, 0.1], [2, 0.8]]),
    "a probability above 1": edit_picture(shares=[[1, 1.5]]),
    "a probability that is none": edit_picture(shares=[[1, float("nan")]]),
    "a probability of 400 digits": edit_picture(shares=[[1, 10**400]]),
    "a map of a class that does not exist": edit_picture(mapped=3),
    "a map of no class": edit_picture(mapped=None),
    "a class without its map": edit_picture(map=None),
    "a reason for several labels": edit_picture(reasons=["missed"]),
    "true as a number": edit_picture(row=True),
    "an unknown reason": edit_picture(reasons=["<script>"]),
    "a reason twice": edit_picture(reasons=["loss", "loss"]),
    "no reason": edit_picture(reasons=[]),
    "no base64": edit_picture(jpeg='"><script>alert(1)</script>'),
    "no JPEG": edit_picture(jpeg=text(b"GIF89a" + b"0" * 100)),
    "an SVG": edit_picture(map=text(b"<svg onload='alert(1)'></svg>")),
    "a large picture": edit_picture(jpeg=text(jpeg(size=(161, 20)))),
    "a picture of billions of pixels": edit_picture(jpeg=text(of_size(jpeg(size=(8, 8)), 65_535))),
    "a heavy picture": edit_picture(jpeg=text(jpeg(size=(160, 160), quality=100))),
    "a test image with a label": edit_picture(part="test"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_shown(
    stores: Stores, home: Home, file: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = json.loads(file.read_text())
    DAMAGES[damage](content)
    file.write_text(json.dumps(content))
    assert read(stores, home) is None
    assert "damaged" in caplog.text and "an export draws them again" in caplog.text


def in_format_1(content: Content) -> None:
    """The file as it was written before images could have several labels."""
    content["format"] = 1
    for one in content["pictures"]:
        label = None if one.pop("labels") is None else 0
        shares = one.pop("shares")
        one |= {"label": label, "top": shares[:2], "label_probability": None if label is None else 0.05}
        del one["predicted"], one["mapped"]  # both were the class with the largest probability


OF_FORMAT_1: dict[str, Callable[[Content], None]] = {
    "no prediction": edit_picture(top=[]),
    "four probabilities": edit_picture(top=[[0, 0.5], [1, 0.2], [2, 0.1], [2, 0.1]]),
    "a class that does not exist": edit_picture(label=3),
    "a class twice": edit_picture(top=[[1, 0.8], [1, 0.1]]),
    "no probability of the label": edit_picture(label_probability=None),
    "a test image with a label": edit_picture(part="test"),
}


def test_a_file_of_format_1_is_read(stores: Stores, home: Home, file: Path) -> None:
    now = read(stores, home)
    content = json.loads(file.read_text())
    in_format_1(content)
    assert content["pictures"][0]["top"] == [[1, 0.8], [2, 0.15]] and "shares" not in content["pictures"][0]
    file.write_text(json.dumps(content))
    assert read(stores, home) == now


@pytest.mark.parametrize("damage", OF_FORMAT_1)
def test_a_damaged_file_of_format_1_is_not_shown(stores: Stores, home: Home, file: Path, damage: str) -> None:
    content = json.loads(file.read_text())
    in_format_1(content)
    OF_FORMAT_1[damage](content)
    file.write_text(json.dumps(content))
    assert read(stores, home) is None


@pytest.fixture
def of_several(stores: Stores, home: Home, tmp_path: Path) -> Path:
    """The file of a study whose images may have several labels."""
    y = second_labels(3)
    y[4] = 0
    study = lay_study(stores, tmp_path, metric="mean_f1", y=y)
    pictures = (
        of_sets(3, (0, 1), (0,)),
        of_sets(4, (), ()),
        of_sets(0, None, (0, 1, 2), map=None, mapped=None, focus=""),
    )
    written = gallery_of(study, *pictures)
    write_gallery(stores, home, study.name, written)
    assert read(stores, home) == written
    (path,) = (home.artifacts / "galleries").rglob("*.json")
    return path


OF_SEVERAL: dict[str, Callable[[Content], None]] = {
    "a label that does not exist": edit_picture(labels=[0, 3]),
    "a label too few": edit_picture(labels=[0]),
    "a label twice": edit_picture(labels=[0, 0]),
    "labels out of order": edit_picture(labels=[1, 0]),
    "a negative label": edit_picture(predicted=[-1]),
    "a label as a text": edit_picture(predicted=["0"]),
    "more labels than there are": edit_picture(predicted=[0, 1, 2, 2]),
    "labels as an object": edit_picture(predicted={"0": 1}),
    "no predicted labels": edit_picture(predicted=None),
    "a training image without its labels": edit_picture(labels=None),
    "a reason for one label": edit_picture(reasons=["pair"]),
    "format 1": in_format_1,
}


@pytest.mark.parametrize("damage", OF_SEVERAL)
def test_a_damaged_file_of_several_labels_is_not_shown(
    stores: Stores, home: Home, of_several: Path, damage: str
) -> None:
    content = json.loads(of_several.read_text())
    OF_SEVERAL[damage](content)
    of_several.write_text(json.dumps(content))
    assert read(stores, home) is None


def test_no_character_of_a_text_changes_the_page(stores: Stores, home: Home, file: Path) -> None:
    content = json.loads(file.read_text())
    edit(source="a\u202eb\x00", notes=["a\ud800"])(content)
    edit_picture(focus="top\u2028left")(content)
    file.write_text(json.dumps(content))
    found = read(stores, home)
    assert found is not None
    assert (found.source, *found.notes, found.pictures[0].focus) == ("a\\u202eb\\x00", "a\\ud800", "top\\u2028left")


OTHER_FILES = [b"", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}' + b" " * 2**23]


@pytest.mark.parametrize("content", OTHER_FILES, ids=range(len(OTHER_FILES)))
def test_another_file_is_not_shown(stores: Stores, home: Home, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert read(stores, home) is None


def test_pictures_of_other_images_are_not_shown(stores: Stores, home: Home, file: Path) -> None:
    content = json.loads(file.read_text())
    content["fingerprint"] = "0" * 64
    file.write_text(json.dumps(content))
    assert read(stores, home) is None


def test_a_link_is_not_followed(stores: Stores, home: Home, file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert read(stores, home) is None


def test_study_names_do_not_leave_the_folder(stores: Stores, home: Home, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    write_gallery(stores, home, "../../../outside", gallery_of(study, picture(0, 0, 1)))
    (path,) = tmp_path.rglob("gallery.json")
    assert path.parent.parent == home.artifacts / "galleries"
