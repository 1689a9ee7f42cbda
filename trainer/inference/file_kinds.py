"""What a file is, judged by its first bytes: an image that can be read, or which other kind of file."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, TiffImagePlugin

HEAD = 4096  # bytes by which a file is judged
READS_HEIF = find_spec("pillow_heif") is not None
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM", "AVIF", "HEIF")
"""Pillow's names of the formats that are opened. Formats with an interpreter, such as EPS and PDF, are not."""
SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".jp2", ".avif"),
        *(".ppm", ".pgm", ".pbm", ".pnm"),
        *((".heic", ".heif", ".hif") if READS_HEIF else ()),
    ]
)
"""Extensions of image files, in lower case. HEIC files are read if the package pillow-heif is installed."""
_NEVER_IMAGES = frozenset(
    [
        # Camera raw files look like TIFF, and only their small preview could be read.
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef"),
        *(".raw", ".srw", ".x3f", ".3fr", ".iiq", ".kdc", ".mrw"),
        *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".py", ".ipynb"),
        *(".npz", ".npy", ".parquet", ".pkl", ".xlsx", ".docx"),
        # Unfinished downloads and backups.
        *(".part", ".crdownload", ".download", ".aria2", ".tmp", ".bak", ".old", ".swp"),
    ]
)
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".tbz2", ".txz", ".001", ".z01")
"""Extensions of archives and of first parts of archives, in lower case."""
ARCHIVE_PART = re.compile(r"\.(\d{3}|[zr]\d\d)")
"""Extension of one of several parts of an archive."""
CONTAINERS = frozenset(
    [
        *(".tfrec", ".tfrecord", ".tfrecords", ".record", ".h5", ".hdf5", ".parquet", ".arrow", ".feather", ".lmdb"),
        *(".mdb", ".npy", ".npz", ".pkl", ".pickle", ".mat", ".db", ".sqlite", ".pt", ".pth"),
    ]
)
"""Extensions of files that may hold many images."""
NO_IMAGES = frozenset(
    [
        *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".md", ".rst"),
        *(".html", ".py", ".ipynb", ".sh", ".log", ".xlsx", ".xls", ".docx", ".pdf", ".md5", ".sha256", ".bib"),
    ]
)
"""Extensions of files that hold no images, so that no advice is given on them."""
_SYSTEM_FILES = frozenset(
    [
        *("__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin"),
        *("system volume information", "lost+found"),
    ]
)
_OF_OFFICE = re.compile(r"~\$.+|~wr[a-z]\d+\.tmp")
"""Files that Microsoft Office keeps beside an open document, and leaves behind after a crash."""
BROKEN_LINK = "broken link"
SPECIAL_KINDS = frozenset(["named pipe", "socket", "device"])
"""Kinds of what is no file, by `special_kind`."""
CONVERT = "convert it to JPEG or PNG"
_HEIF_HELP = "install pillow-heif (pip install pillow-heif) or convert it to JPEG"


@dataclass(frozen=True, kw_only=True)
class FileKind:
    """A kind of file. ``image``: `images.read_image` can read it. ``help``: what to do, as the end of a sentence."""

    name: str
    image: bool = False
    help: str = ""


def _images(*kinds: tuple[int, bytes, str]) -> list[tuple[int, bytes, FileKind]]:
    return [(offset, magic, FileKind(name=name, image=True)) for offset, magic, name in kinds]


def _others(helping: str, *kinds: tuple[int, bytes, str]) -> list[tuple[int, bytes, FileKind]]:
    return [(offset, magic, FileKind(name=name, help=helping)) for offset, magic, name in kinds]


_SIGNATURES = [
    *_others(CONVERT, (8, b"CR\x02", "a camera raw file (CR2)")),
    *_images(
        (0, b"\xff\xd8\xff", "a JPEG image"),
        (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (0, b"GIF8", "a GIF image"),
        (0, b"BM", "a BMP image"),
        (0, b"II*\0", "a TIFF image"),
        (0, b"MM\0*", "a TIFF image"),
        (0, b"II+\0", "a TIFF image"),
        (0, b"MM\0+", "a TIFF image"),
        (8, b"WEBP", "a WebP image"),
        (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    ),
    *_others(
        CONVERT,
        (0, b"\xff\x0a", "a JPEG XL image"),
        (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
        (0, b"8BPS", "a Photoshop file"),
        (0, b"%PDF", "a PDF document"),
        (0, b"%!PS", "a PostScript file"),
        (128, b"DICM", "a DICOM file"),
        (0, b"FUJIFILMCCD-RAW", "a camera raw file (RAF)"),
        (0, b"IIRO", "a camera raw file (ORF)"),
        (0, b"IIU\0", "a camera raw file (RW2)"),
        (0, b"FOVb", "a camera raw file (X3F)"),
        (0, b"\0\0\x01\0", "a Windows icon"),
        (0, b"v/1\x01", "an OpenEXR image"),
        (0, b"#?RADIANCE", "a Radiance image"),
        (0, b"DDS ", "a DDS texture"),
        (0, b"SIMPLE  =", "a FITS file"),
        (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (0, b"\x93NUMPY", "a NumPy array"),
        (0, b"gimp xcf", "a GIMP file"),
        (0, b"II\xbc", "a JPEG XR image"),
    ),
    *_others(
        "save its frames as images",
        (0, b"\x1aE\xdf\xa3", "a video (Matroska)"),
        (8, b"AVI ", "a video (AVI)"),
        (0, b"FLV\x01", "a video (Flash)"),
        (0, b"\0\0\x01\xba", "a video (MPEG)"),
    ),
    *_others(
        "unpack it first",
        (0, b"PK\x03\x04", "a ZIP archive"),
        (0, b"\x1f\x8b", "a gzip archive"),
        (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (0, b"Rar!", "a RAR archive"),
        (0, b"BZh", "a bzip2 archive"),
        (0, b"\xfd7zXZ\0", "an xz archive"),
        (257, b"ustar", "a tar archive"),
    ),
    *_others(
        "run `git lfs pull` to fetch the image",
        (0, b"version https://git-lfs.github.com/spec", "a Git LFS pointer"),
    ),
]
_AGAIN = "perhaps the error page of a download: download it again"
_SVG = rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype\s+svg[^>]*>\s*)?<svg\b"
_TEXTS = (
    (re.compile(_SVG, re.IGNORECASE | re.DOTALL), "an SVG drawing", CONVERT),
    (re.compile(rb"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE), "an HTML page", _AGAIN),
    (re.compile(rb"\s*<\?xml", re.IGNORECASE), "an XML document", _AGAIN),
    (re.compile(rb"\s*[\[{]\s*[\"\]}\[{]"), "a JSON document", _AGAIN),
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or one that operating systems, archivers and Office leave behind."""
    lower = name.lower()
    left_behind = lower.endswith(":zone.identifier") or _OF_OFFICE.fullmatch(lower)
    return name.startswith(".") or lower in _SYSTEM_FILES or bool(left_behind)


def kind_of_bytes(head: bytes) -> FileKind | None:
    """The kind of a file with these first bytes (at most `HEAD` are looked at); None: unknown."""
    if not head:
        return FileKind(name="empty (0 bytes)", help="download it again")
    if head[4:8] == b"ftyp":
        return _kind_of_brands(head[8 : max(12, min(int.from_bytes(head[:4], "big"), 256))])
    for offset, magic, kind in _SIGNATURES:
        if head.startswith(magic, offset):
            return kind
    if re.match(rb"P[1-6]\s", head):
        return FileKind(name="a PPM image", image=True)
    start = head[:HEAD].removeprefix(b"\xef\xbb\xbf")
    for pattern, name, helping in _TEXTS:
        if pattern.match(start):
            return FileKind(name=name, help=helping)
    if not start.strip(b"\0"):
        return FileKind(name="zeros only", help="download it again")
    if _is_text(start):
        return FileKind(name="text")
    return None


def _kind_of_brands(brands: bytes) -> FileKind:
    """The kind of an ISO media file, by its main brand (4 bytes) and all compatible ones: HEIC, AVIF, most videos."""
    main = brands[:4]
    if main in (b"avif", b"avis") or (main in (b"mif1", b"msf1") and b"avif" in brands):
        reads = "AVIF" in _openable()
        return FileKind(name="an AVIF image", image=reads, help="" if reads else "Pillow 11.3 or later reads it")
    if main in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"):
        return FileKind(name="a HEIC image", image=READS_HEIF, help=_HEIF_HELP)
    if main == b"crx ":
        return FileKind(name="a camera raw file (CR3)", help=CONVERT)
    return FileKind(name="a video (MP4 or MOV)", help="save its frames as images")


def _openable() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def openable_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this installation opens. HEIC needs pillow-heif, AVIF a recent Pillow."""
    if READS_HEIF and "HEIF" not in Image.OPEN:
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return _openable()


def special_kind(path: Path) -> str | None:
    """What holds no bytes of its own but exists under a path, such as ``named pipe``; None: nothing, or a file."""
    if path.is_file() or not path.exists():
        return None
    tests = {"folder": path.is_dir, "named pipe": path.is_fifo, "socket": path.is_socket}
    return next((kind for kind, test in tests.items() if test()), "device")


def unread_kind(path: Path) -> str | None:
    """The kind of a file that is not read as an image, for counting, such as ``.heic``; None: it is read as one.

    A known extension decides. Of any other file the first bytes decide: ``photo.jpg_large`` and ``photo`` may be JPEG.
    """
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return None
    if suffix in _NEVER_IMAGES or suffix.endswith("~"):
        return suffix
    try:
        if not path.is_file():  # not opened, because reading a pipe would wait for ever
            return special_kind(path) or BROKEN_LINK
        with path.open("rb") as file:
            kind = kind_of_bytes(file.read(HEAD))
    except OSError as error:
        return f"unreadable ({error.strerror or error})"
    if kind is not None and kind.image:
        return None
    return suffix or (f"without extension ({kind.name})" if kind else "without extension")


def describe_tiff(data: bytes) -> str | None:
    """What a TIFF file holds, such as ``a TIFF with 13 channels of 16 bits``; None: its header cannot be read."""
    try:
        header = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8])  # 43: BigTIFF
        stream = io.BytesIO(data)
        stream.seek(header.next)
        header.load(stream)
        bits, bands = header.get(258, (1,)), int(header.get(277, 1))
        number = int(bits[0] if isinstance(bits, tuple) else bits)
        sample_format = header.get(339, (1,))
        code = int(sample_format[0] if isinstance(sample_format, tuple) else sample_format)
    except Exception:  # damaged tags raise many types; the caller then says that the file is damaged
        return None
    if 258 not in header:
        return None
    form = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}.get(code, "")
    planes = " in separate planes" if header.get(284, 1) == 2 and bands > 1 else ""
    # Programs for satellite images write three bands of 16 bits without calling them colours.
    gray = " whose photometric interpretation is gray" if header.get(262) in (0, 1) and bands in (3, 4) else ""
    return f"a TIFF with {bands} channel{'s' * (bands > 1)} of {number} {form}bit{'s' * (number > 1)}{planes}{gray}"


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:
            return False
        text = start[: error.start].decode()
    return text.isprintable() or all(c.isprintable() or c in "\r\n\t" for c in text)
