"""Files are judged by their first bytes where their extension does not say enough."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.inference.errors import ImageError
from trainer.inference.file_kinds import READS_HEIF, kind_of_bytes, unread_kind
from trainer.inference.images import image_facts, read_image


def encoded(file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 100, np.uint8)).save(buffer, file_format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer: run `git lfs pull`"),
        (b"<!DOCTYPE html><html>", "HTML page"),
        (b"\n <HTML><head>", "HTML page"),
        (b'{"message": "Not Found"}', "JSON document"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "XML document"),
        (b'<?xml version="1.0"?>\n<!-- made by x -->\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG drawing"),
        (b"%PDF-1.7", "PDF document"),
        (bytes(128) + b"DICM" + bytes(20), "DICOM file"),
        (b"8BPS\0\1", "Photoshop file"),
        (b"\xff\x0a\xfa", "JPEG XL image"),
        (b"II*\0\x10\0\0\0CR\x02\0", "camera raw file"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0", "camera raw file"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "video"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "an AVIF image"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "a HEIC image"),
        (b"PK\x03\x04", "ZIP archive: unpack it first"),
        (bytes(257) + b"ustar\0", "tar archive"),
        (bytes(500), "zeros only"),
        (b"hello", "text"),
        (b"\x89PNG\r\n\x1a\n", "PNG image that is cut off"),
        (b"\xff\xd8\xff", "cut off"),
        (b"II*\0\x08\0\0\0", "TIFF image that is cut off"),
    ],
)
def test_a_file_that_is_no_image_is_named_for_what_it_is(data: bytes, named: str) -> None:
    with pytest.raises(ImageError, match=named.replace("(", r"\(")):
        read_image(data)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM"])
def test_every_format_that_is_read_is_recognised(file_format: str) -> None:
    kind = kind_of_bytes(encoded(file_format))
    assert kind is not None and kind.image


def test_the_content_decides_where_the_extension_does_not(tmp_path: Path) -> None:
    kinds = {
        "photo": (encoded("PNG"), None),
        "photo.jpg_large": (encoded("JPEG"), None),
        "PHOTO.JPE": (b"", None),
        "scan.PGM": (b"", None),
        "README": (b"hello", "without extension (text)"),
        "slice": (bytes(128) + b"DICM", "without extension (a DICOM file)"),
        "notes.txt": (encoded("PNG"), ".txt"),
        "raw.NEF": (encoded("TIFF"), ".nef"),
        "photo.jpg.part": (encoded("JPEG"), ".part"),
        "photo.jpg~": (encoded("JPEG"), ".jpg~"),
        "icon.tga": (b"\0\0\2", ".tga"),
    }
    for name, (data, expected) in kinds.items():
        (tmp_path / name).write_bytes(data)
        assert unread_kind(tmp_path / name) == expected, name
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    (tmp_path / "gone").symlink_to("nowhere")
    assert unread_kind(tmp_path / "pipe") == "named pipe"
    assert unread_kind(tmp_path / "gone") == "broken link"


def test_a_jpeg_named_heic_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(encoded("JPEG"))
    assert unread_kind(tmp_path / "a.heic") is None
    assert read_image(tmp_path / "a.heic").shape == (8, 8, 3)


def test_heic_needs_a_package_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    with pytest.raises(ImageError, match="HEIC image"):
        read_image(tmp_path / "a.heic")
    assert unread_kind(tmp_path / "a.heic") == (None if READS_HEIF else ".heic")


def test_heic_is_read_with_the_package(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:, :12] = (200, 30, 30)
    Image.fromarray(pixels).save(tmp_path / "a.heic", quality=95)
    read = read_image(tmp_path / "a.heic")
    assert read.shape == (16, 24, 3)
    np.testing.assert_allclose(read[8, 4], (200, 30, 30), atol=12)
    assert not image_facts(tmp_path / "a.heic").animated
