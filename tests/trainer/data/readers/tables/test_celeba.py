"""CelebA's own text files: a count in the first line, a header without the first column, and several sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import read_table
from trainer.formats.text.count_lines import without_count

ATTRIBUTES = "5_o_Clock_Shadow Bald Male"
PARTS = (0,) * 8 + (1,) * 2 + (2,) * 3
IDS = tuple(f"{i:06d}.jpg" for i in range(1, 14))


def male(i: int) -> int:
    return 1 if i % 3 else -1


def celeba(root: Path, anno: str = ".", parts: str = ".", *, count: bool = True) -> Path:
    for i, name in enumerate(IDS):
        save(root / "img_align_celeba" / name, i, 8)
    for folder in (root / anno, root / parts):
        folder.mkdir(exist_ok=True)
    rows = [f"{name} {1 - i % 2 * 2:2d} {1 - i // 2 % 2 * 2:2d} {male(i):2d}" for i, name in enumerate(IDS)]
    (root / anno / "list_attr_celeba.txt").write_text(
        "\n".join([*([str(len(IDS))] if count else []), f"{ATTRIBUTES} ", *rows, ""])
    )
    (root / anno / "identity_CelebA.txt").write_text("\n".join(f"{name} {i % 4 + 2000}" for i, name in enumerate(IDS)))
    lines = [f"{name} {part}" for name, part in zip(IDS, PARTS, strict=True)]
    (root / parts / "list_eval_partition.txt").write_text("\n".join(lines))
    return root


@pytest.mark.parametrize("count", [True, False])
@pytest.mark.parametrize(("anno", "parts"), [(".", "."), ("Anno", "Eval")])
def test_an_attribute_is_chosen_by_its_name(tmp_path: Path, anno: str, parts: str, *, count: bool) -> None:
    celeba(tmp_path, anno, parts, count=count)
    message = problems_of(tmp_path)
    assert "it could be '5_o_Clock_Shadow', 'Bald', 'Male'. Each has two values, but they are not one-hot" in message
    assert "Several sources could give the labels" in message and "identity_CelebA.txt" in message
    chosen = Path(anno, "list_attr_celeba.txt").as_posix()
    found = read_images(tmp_path, DataOptions(table=chosen, label_column="Male"), verify=False)
    assert found.train_ids == IDS[:8] and labels_of(found) == [str(male(i)) for i in range(8)]
    assert found.test_ids == IDS[10:]


def test_identities_are_the_labels_where_nothing_else_is(tmp_path: Path) -> None:
    (celeba(tmp_path) / "list_attr_celeba.txt").unlink()
    assert labels_of(read_images(tmp_path, verify=False)) == [str(i % 4 + 2000) for i in range(8)]


def test_rows_keep_their_numbers(tmp_path: Path) -> None:
    table = read_table(celeba(tmp_path) / "list_attr_celeba.txt")
    assert table.rows[0] == ("", *ATTRIBUTES.split()) and table.numbers[:3] == (2, 3, 4)
    assert table.rows[1] == (IDS[0], "1", "1", "-1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3\n",
        "3\n4\n5\n",
        "id,label\na,1\nb,2\n",
        "id label\na 1 x\nb 2 y\n",  # a header that may lack its last name
        "image label\na.jpg 1 x\nb.jpg 2 y\n",
        "1 2\na 1 2\nb 1 2\n",
        "2\na b\nc d e f\n",
    ],
)
def test_other_tables_stay_as_they_are(text: str) -> None:
    assert without_count(text) == text


def test_the_count_may_stand_above_a_whole_header() -> None:
    assert without_count("2\r\nid,label\r\na,1\r\nb,2") == "\r\nid,label\r\na,1\r\nb,2"
