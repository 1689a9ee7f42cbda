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
from tests.search.page.gallery.stored import gallery_of, jpeg, picture
from tests.search.page.made_up import lay_study

Content = dict[str, Any]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home")


@pytest.fixture
def file(stores: Stores, home: Home, tmp_path: Path) -> Path:
    study = lay_study(stores, tmp_path)
    gallery = gallery_of(study, picture(3, 0, 1), picture(0, None, 2, map=None, focus=""), notes=("A note.",))
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
        written = gallery_of(study, picture(3, 0, 1), picture(0, None, 2, map=None, focus=""), trial=trial)
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
    "another release": edit(format=2),
    "no number": edit(trial="1"),
    "a negative number": edit(trial=-1),
    "a long text": edit(source="a" * 5000),
    "no list": edit(pictures=5),
    "many pictures": lambda content: content.update(pictures=content["pictures"] * (MOST_PICTURES // 2 + 1)),
    "another part": edit_picture(part="../../etc"),
    "a row that does not exist": edit_picture(row=60),
    "a negative row": edit_picture(row=-1),
    "a class that does not exist": edit_picture(label=3),
    "a predicted class that does not exist": edit_picture(top=[[7, 0.5]]),
    "no prediction": edit_picture(top=[]),
    "a probability above 1": edit_picture(top=[[1, 1.5]]),
    "a probability that is none": edit_picture(top=[[1, float("nan")]]),
    "a probability of 400 digits": edit_picture(top=[[1, 10**400]]),
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
