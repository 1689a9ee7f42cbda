"""A folder of tiny labelled images."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.trainer.training.support import shapes


def write_shapes(folder: Path) -> Path:
    """Write 50 images of three classes, 12 to 22 of each, as ``folder/class N/*.png``; returns ``folder``."""
    images, y = shapes(50)
    for number, (image, label) in enumerate(zip(images, y, strict=True)):
        path = folder / f"class {label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder
