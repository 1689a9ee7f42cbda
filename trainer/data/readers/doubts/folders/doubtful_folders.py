"""Warnings about class folders that may be no classes: dates, cameras, sides of data, copies, leftovers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from trainer.common.errors import listed
from trainer.data.names.further import are_further_images, tells_no_class
from trainer.data.names.put_aside import flawed_among, is_aside, is_vague, selected_among
from trainer.data.readers.doubts.folders.folder_grids import same_classes
from trainer.data.readers.doubts.folders.folder_twins import NUMBERED, twins
from trainer.formats.parts import part_of

_DATE = re.compile(r"(?:19|20)\d\d([-_. ]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?:\D.*)?")
_DAY_FIRST = re.compile(r"(?:0?[1-9]|[12]\d|3[01])([-_. ])(?:0?[1-9]|1[0-2])\1(?:19|20)?\d\d")
_YEAR = re.compile(r"(?:19|20)\d\d")
_DECADE = re.compile(r"(?:19|20)\d0")
_OF_CAMERA = re.compile(r"[1-9]\d\d(?=\w*[A-Z_])[A-Z0-9_]{5}")  # the folders on a camera's card: 100CANON
_SOURCE = re.compile(
    r"(?:cam|camera|kamera|patient|pat|subject|sub|person|participant|session|visit|day|scan|device|sensor|site|run"
    r"|video|clip|カメラ|患者|被験者)[\W_]*(?:\d+|[a-z])"
    r"|(?:pt|case|slide|mouse|rat|animal|plot|specimen|plate|well|series|proband)[\W_]*\d+"
    r"|[ps]\d{2,}|tcga-.+|[a-h](?:0[1-9]|1[0-2])|[0-9a-f]{8}-[0-9a-f]{4}-.+",
    re.IGNORECASE,
)
"""Also wells of a plate, A01 to H12, and UUIDs."""
_FEWEST_LETTERS = 3  # in the name of one such folder beside classes: 101_1234 is a code
_FEWEST_DIGITS = 3  # of a size; fewer count the folders
_DERIVED = frozenset((
    "small", "large", "new", "extra", "more", "bad", "unseen", "unused", "other", "resized", "cropped", "crop", "crops",
    "thumb", "thumbs", "thumbnail", "thumbnails", "augmented", "edited", "raw", "original", "originals", "bw", "alt",
    "blurry", "dark",
))  # fmt: skip
"""Words beside the name of a class in that of a folder with further or changed images of it."""
_COPY = re.compile(
    r"(?:copy of |kopie von |copie de |copia de |c\u00f3pia de |kopie van |copia di |kopia )(?P<of>.+)|(?P<name>.+?)"
    r"(?:[ _-]*\(\d+\)| [2-9]|[ _-]+(?:copy|kopie|copie|c[o\u00f3]pia|コピー)(?:[ _-]*\(?\d+\)?)?"
    r"|[ _-]*(?:のコピー|的副本|의 ?사본)(?:[ _-]*\(?\d+\)?)?"
    r"|[ _-]+(?:kopia|副本|복사본|사본|копия|\(copia\)|orig|original)|[ _.-]+(?:old|alt|backup|bak)|~)",
    re.IGNORECASE,
)
_AUGMENTED = re.compile(r"(.+?)[\W_]+(?:aug|augmented|augmentation|flipped|rotated|resized|cropped)", re.IGNORECASE)
_FURTHER = re.compile(r"(.*[^\W\d_]{3})(?:[\W_]*v(?:er(?:sion)?)?)?[\W_]*\d\d?\)?", re.IGNORECASE)
"""A further folder for the images of one class, as ``cat1`` and ``cat_v2`` beside ``cat``; A1 beside A is a code."""
_FEWEST_STEMS = 2
_SIDES = frozenset((
    "gallery", "query", "queries", "hr", "lr", "hq", "lq", "highres", "lowres", "highresolution", "lowresolution",
    "reference", "distorted", "noisy", "denoised",
))  # fmt: skip
"""Names of the sides of data for retrieval or restoration of images, without blanks and punctuation."""


def _is_derived(word: str) -> bool:
    """Whether a word beside the name of a class speaks of further or changed images, as the 224 of ``cat_224`` does."""
    return word in _DERIVED or is_aside(word) or (word.isdecimal() and len(word) >= _FEWEST_DIGITS)


def _holds_letters(name: str) -> bool:
    return len(re.findall(r"[A-Z]", name)) >= _FEWEST_LETTERS


def _is_copy_of(name: str, known: Collection[str]) -> bool:
    """Whether a folder holds copies of another one's images: ``cat_aug`` beside ``cat``."""
    found = _AUGMENTED.fullmatch(name)
    return found is not None and found[1].casefold() in known


def _copies(names: Sequence[str]) -> dict[str, str]:
    """The folders that are copies of another one by their names, or hold its further images, each with that one."""
    known = {name.casefold(): name for name in names}
    found = {}
    for name in names:
        copy, further = _COPY.fullmatch(name), _FURTHER.fullmatch(name)
        stems = [copy["of"] or copy["name"]] if copy else []
        stems += [further[1]] if further else []
        originals = [known[stem.casefold()] for stem in stems if stem.casefold() in known]
        if originals:
            found[name] = originals[0]
    return found


def images_in_two_formats(paths: Sequence[str]) -> list[str]:
    """A warning if most images of the class folders have another one of the same name in another format.

    Of two formats, one often holds masks or copies.

    Args:
        paths: of the images, relative to the data folder.
    """
    alike: dict[PurePosixPath, list[str]] = defaultdict(list)
    for path in paths:
        alike[PurePosixPath(path).with_suffix("")].append(path)
    pairs = [own for own in alike.values() if len(own) > 1]
    if 2 * sum(map(len, pairs)) <= len(paths):
        return []
    return [
        f"{len(pairs)} names of images stand for several files, such as {listed(sorted(pairs[0]))}: each file is read "
        "as an image of its own; if one of them is a mask or a copy, move it out of the class folder"
    ]


def doubtful_folders(names: Sequence[str]) -> list[str]:
    """Warnings about class folders that together may be no classes, or parts of the same ones, by their ``names``."""
    warnings = []
    for what, fits in (
        ("dates", lambda name: _DATE.fullmatch(name) or _DAY_FIRST.fullmatch(name)),
        ("years", lambda name: _YEAR.fullmatch(name) and not all(map(_DECADE.fullmatch, names))),
        ("the sides of data without classes", lambda name: re.sub(r"[\W_]+", "", name).casefold() in _SIDES),
        ("cameras, patients or recordings", lambda name: _OF_CAMERA.fullmatch(name) or _SOURCE.fullmatch(name)),
    ):
        if names and all(map(fits, names)):
            warnings.append(
                f"the folders {listed(names, 4)} are read as classes, though their names are those of {what}; if the "
                "labels are elsewhere, write a table labels.csv with the columns image and label"
            )
    alike, explained = same_classes(names)
    rest = [name for name in names if name not in explained]
    copies = [
        f"the folders {original!r} and {name!r} are read as two classes; if {name!r} holds copies, move it out of the "
        "data; if it holds further images of that class, move them into its folder"
        for name, original in _copies(names).items()
        if name in rest
    ]
    return list(dict.fromkeys((*warnings, *alike, *copies, *_numbered_alike(rest))))


def doubtful_among(names: Sequence[str]) -> list[str]:
    """The class folders each of which may be no class by its name, beside the others of ``names``."""
    known = {name.casefold() for name in names}
    single = [name for name, _ in twins(names, _is_derived)]
    single += [name for name, _ in twins(names, lambda word: part_of(word) == "train", beside=True)]
    single += [*flawed_among(names), *selected_among(names)]
    doubtful = {*single, *(name for name in names if _OF_CAMERA.fullmatch(name) and _holds_letters(name))}
    # Numbered samples or examples are classes of their own, unlike one such folder beside classes.
    are_numbered = all(map(is_aside, names)) and any(map(str.isdigit, "".join(names)))
    _, explained = same_classes(names)
    others = {*explained, *_copies(names)}  # another warning speaks of them
    return [
        name
        for name in names
        if name not in others
        and (
            (is_aside(name) and not are_numbered)
            or is_vague(name, names)
            or _is_copy_of(name, known)
            or tells_no_class(name, names)
            or are_further_images(name, known)
            or name in doubtful
        )
    ]


def _numbered_alike(names: Sequence[str]) -> list[str]:
    """A warning if folders share names but for a number at the end, as ``cats_1``, ``cats_2``, ``dogs_1``, ``dogs_2``.

    One shared name, as in ``type_1`` and ``type_2``, numbers the classes, unless all other names have numbers, too.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if found := NUMBERED.fullmatch(name):
            by_stem[found[1].casefold()].append(name)
    alike = [own for own in by_stem.values() if len(own) > 1]
    if alike and len(by_stem) >= _FEWEST_STEMS and sum(map(len, by_stem.values())) == len(names):
        alike += [own for stem, own in by_stem.items() if len(own) == 1 and len(stem) > 1]  # A1 is a code
    if len(alike) < _FEWEST_STEMS:
        return []
    return [
        f"the folders {listed(alike[0], 3)} are read as classes of their own, and so are {listed(alike[1], 3)}; if the "
        "numbers tell only parts of one class, put their images into one folder"
    ]
