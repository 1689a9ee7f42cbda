"""Files that were made from an image and lie beside it are named in a warning, however they are called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.trainer.images import save
from trainer.data.read import read_images


def classes(root: Path, stems: Iterable[str]) -> Path:
    for seed, stem in enumerate(stems):
        for place, name in enumerate(("cat", "dog")):
            save(root / name / f"{stem}.png", 100 * place + seed, 8)
    return root


def warnings_of(root: Path) -> str:
    return "\n".join(read_images(root, verify=False).warnings)


@pytest.mark.parametrize(
    "form",
    [
        *(
            "{}-d",
            "{}_bin",
            "{}_anno",
            "{}_result",
            "{}_thumb",
            "{}_s",
            "{}_nir",
            "{} (1)",
            "{} - Copy",
            "{}d",
            "{}Gray",
        ),
        *("small_{}", "gray-{}", "{}_1"),
    ],
)
@pytest.mark.parametrize("stems", [("1491-001", "1491-002", "1491-013", "1501-001"), ("a1", "b2", "c3")])
def test_a_file_with_the_same_addition_beside_each_image(tmp_path: Path, form: str, stems: tuple[str, ...]) -> None:
    further = [form.format(stem) for stem in stems]
    warnings = warnings_of(classes(tmp_path, (*stems, *further)))
    count = 2 * len(stems)
    assert f"{count} of {2 * count} images are called as another one beside them and {form.format('')!r}" in warnings
    assert f"such as cat/{further[0]}.png beside cat/{stems[0]}.png" in warnings
    for path in [path for stem in further for path in tmp_path.rglob(f"{stem}.png")]:
        path.unlink()
    assert warnings_of(tmp_path) == ""


def test_several_additions_are_one_warning(tmp_path: Path) -> None:
    warnings = warnings_of(classes(tmp_path, [f"{stem}{end}" for stem in "abcd" for end in ("", "_x", "_y")]))
    assert "16 of 24 images are called as another one beside them and '_x', '_y'" in warnings


def test_one_class_alone_may_have_them(tmp_path: Path) -> None:
    classes(tmp_path, "abcdefgh")
    for number in range(8):
        save(tmp_path / "cat" / f"{'abcdefgh'[number]}_out.png", 500 + number, 8)
    assert "8 of 24 images are called as another one beside them and '_out'" in warnings_of(tmp_path)


@pytest.mark.parametrize(
    "stems",
    [
        [f"{name}_{number}" for name in "ab" for number in range(4)],
        [str(number) for number in range(1, 40)],
        [str(number) for number in (1, 2, 3, 4, 10, 20, 30, 40)],
        [f"IMG_{number}" for number in range(1, 30)],
        ["img", *(f"img_{number}" for number in range(6))],
        [f"frame{number}{eye}" for number in range(5) for eye in ("L", "R")],
        [*"abcdefgh", "a_edited", "b_edited"],
        [f"{number}.{part}" for number in range(5) for part in range(3)],
        [f"{name}{end}" for name in ("cat", "kitten", "kitty", "tom") for end in ("", " (1)", " (2)", " (3)")],
    ],
)
def test_counted_images_are_no_such_files(tmp_path: Path, stems: list[str]) -> None:
    assert warnings_of(classes(tmp_path, stems)) == ""


def test_altered_versions_are_counted_by_another_line(tmp_path: Path) -> None:
    """They stay in one fold; a mask beside the original is named all the same."""
    stems = [f"p{number}{addition}" for number in range(10) for addition in ("", "_flip", "-d")]
    found = warnings_of(classes(tmp_path, stems))
    assert "'-d'" in found and "_flip" not in found
