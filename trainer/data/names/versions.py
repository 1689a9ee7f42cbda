"""Altered versions of one image by the names of files: ``a.jpg`` beside ``a_flip.jpg``, ``a_jpg.rf.<hash>.jpg``.

Programs that augment data write such names. A training that has seen one version knows the others, so that they belong
into one fold.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field

MOST_VERSIONS = 50
"""Versions of one image. What more names have in common is a word of their own, such as that of a class."""
_LEAST_IMAGES = 2  # originals of which none is there itself, in one folder

_ROBOFLOW = re.compile(r"(.+)\.rf\.[0-9A-Za-z]{16,}")
_AUGMENTOR = re.compile(r".*_original_(.+)\.\w{3,4}_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_KERAS = re.compile(r"((?:aug[a-z]*)?_(?:0|[1-9]\d*))_\d{1,8}", re.IGNORECASE)
_EXTENSION = re.compile(r"\.[A-Za-z]\w{1,4}$")
_TOKEN = re.compile(r"[^\W_]+")
# fmt: off
_CLEAR = (
    "aug", "augm", "augment", "augmented", "augmentation", "flip", "flips", "flipped", "fliph", "flipv", "fliplr",
    "flipud", "flipx", "flipy", "hflip", "vflip", "lrflip", "udflip", "mirror", "mirrored", "rot", "rotate", "rotated",
    "rotation", "transposed", "sheared", "shear", "hsv", "clahe", "cutout", "jitter", "colorjitter", "colourjitter",
    "elastic", "transformed", "fliptb", "rotl", "rotr", "gespiegelt", "gedreht",
)
_UNCLEAR = (
    "transform", "bright", "brightness", "brighter", "brightened", "dark", "darker", "darken", "darkened", "contrast",
    "noise", "noisy", "blur", "blurred", "blurry", "gauss", "gaussian", "saltpepper", "zoom", "zoomed", "shift",
    "shifted", "translate", "translated", "translation", "scaled", "crop", "cropped", "hue", "saturation", "saturated",
    "gamma", "equalized", "sharp", "sharpen", "sharpened", "distorted", "distortion", "inverted", "invert", "warped",
    "affine", "perspective", "gray", "grey", "grayscale", "greyscale", "erased", "solarize", "posterize",
)
_BESIDE = (
    "horizontal", "horizontally", "vertical", "vertically", "h", "v", "lr", "ud", "left", "right", "up", "down", "cw",
    "ccw", "deg", "degree", "degrees", "random", "color", "colour", "salt", "pepper", "and",
)
# fmt: on


def _word(words: Sequence[str]) -> re.Pattern[str]:
    """Matches a word with numbers around it, and degrees: ``flip2``, ``new30degFlipLR``, ``90deg``."""
    degrees = r"(?:new)?\d{1,3}deg(?:rees?)?"
    return re.compile(rf"(?:{degrees})?(?:{'|'.join(words)})\d*(?:deg)?|{degrees}", re.IGNORECASE)


_CLEAR_WORD, _ANY_WORD = _word(_CLEAR), _word((*_CLEAR, *_UNCLEAR))
_WORD_BESIDE = re.compile(rf"(?:{'|'.join(_BESIDE)})\d*|\d{{1,4}}(?:deg)?", re.IGNORECASE)
_LETTERS = re.compile(r"[a-z]+")
_UNALTERED = re.compile(r"(.+?)[\W_]+(?:original|orig|org)", re.IGNORECASE)
_WORDS = frozenset((*_CLEAR, *_UNCLEAR, "deg", "degree", "degrees"))


@dataclass(kw_only=True)
class _Versions:
    """The images that may be versions of one; more are added while the names are read."""

    members: list[int] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    """What the names say of the alterations, without digits."""
    is_sure: bool = False
    """Whether the names alone say that they are versions."""


@dataclass(frozen=True, kw_only=True)
class VersionsOfImages:
    """Which images are versions of each other.

    keys: for each image a text that its other versions share; empty without another version.
    unassigned: indices of versions that the names assign to no image.
    """

    keys: tuple[str, ...]
    unassigned: tuple[int, ...] = ()

    @property
    def members(self) -> list[list[int]]:
        """The images of each set of versions, in order of the first one."""
        found: dict[str, list[int]] = defaultdict(list)
        for index, key in enumerate(self.keys):
            if key:
                found[key].append(index)
        return list(found.values())


def versions_among(names: Sequence[str], labels: Sequence[Hashable]) -> VersionsOfImages:
    """Find versions of one image, which lie in one folder, by the names of image files.

    Strong evidence is needed: names that a known program writes; a word of alteration at the name of another image
    that is there; or several versions of what seems to be the number of an image, with a word that means nothing else
    or with different words. Versions have one label, and no label has only one original: ``rot`` is also red in German.

    Args:
        names: paths with ``/``; the extension may lack.
        labels: of the images.
    """
    places = [place_and_stem(name) for name in names]
    candidates: dict[tuple[str, str], _Versions] = defaultdict(_Versions)
    keras: dict[tuple[str, str], list[int]] = defaultdict(list)
    unaltered: dict[tuple[str, str], list[int]] = defaultdict(list)
    stems: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, (place, stem) in enumerate(places):
        stems[place, stem].append(index)
    for index, (place, stem) in enumerate(places):
        if found := _ROBOFLOW.fullmatch(stem) or _AUGMENTOR.fullmatch(stem):
            _add(candidates[place, found[1]], index, "", is_sure=True)
            continue
        possible = _possible(stem)
        original, words = _original(stem, possible, [name for name in possible if (place, name) in stems])
        if original:
            _add(candidates[place, original], index, words, is_sure=not words)
        elif found := _KERAS.fullmatch(stem):
            keras[place, found[1]].append(index)
        elif found := _UNALTERED.fullmatch(stem):
            unaltered[place, found[1]].append(index)
    keys = [""] * len(names)
    for key, versions in _kept(candidates, stems).items():
        for index in (*stems.get(key, ()), *unaltered.get(key, ()), *versions.members):
            keys[index] = "/".join(key)
    unassigned = _join_numbered(keys, keras, places)
    _separate_labels(keys, labels)
    return VersionsOfImages(keys=tuple(keys), unassigned=tuple(unassigned))


def _separate_labels(keys: list[str], labels: Sequence[Hashable]) -> None:
    """Forget, in ``keys``, sets of versions with several labels, and those that hold all images of their label."""
    labels_of: dict[str, set[Hashable]] = defaultdict(set)
    groups_of: dict[Hashable, set[object]] = defaultdict(set)
    for index, (key, label) in enumerate(zip(keys, labels, strict=True)):
        labels_of[key].add(label)
        groups_of[label].add(key or index)
    several = {label for label, groups in groups_of.items() if len(groups) > 1}
    kept = {key for key, own in labels_of.items() if len(own) == 1 and own <= several}
    keys[:] = [key if key in kept else "" for key in keys]


def place_and_stem(name: str) -> tuple[str, str]:
    """The folder and the stem of a path with ``/``, or of an id, in which the extension may lack."""
    place, _, file = name.rpartition("/")
    return place, _EXTENSION.sub("", file)


def _add(versions: _Versions, index: int, words: str, *, is_sure: bool) -> None:
    versions.members.append(index)
    versions.words.add(words)
    versions.is_sure |= is_sure


def _possible(stem: str) -> list[str]:
    """The names that the original of a version may have: without words of alteration at the end, or at the beginning.

    The shortest name comes first.
    """
    # Most names have no such word. The letters of 30degFlipLR are degfliplr.
    if _WORDS.isdisjoint(word.removeprefix("deg") or word for word in _LETTERS.findall(stem.lower())):
        return []
    tokens = list(_TOKEN.finditer(stem))
    words = [token[0] for token in tokens]
    found = [stem[: tokens[first - 1].end()] for first in _tails(words)]
    for first in range(1, len(tokens)):
        if not (_ANY_WORD.fullmatch(words[first - 1]) or _WORD_BESIDE.fullmatch(words[first - 1])):
            break
        if any(map(_CLEAR_WORD.fullmatch, words[:first])):
            found.append(stem[tokens[first].start() :])
    return found


def _tails(words: Sequence[str]) -> list[int]:
    """Where words of alteration may begin that go on to the end of the name."""
    start = len(words)
    while start > 1 and (_ANY_WORD.fullmatch(words[start - 1]) or _WORD_BESIDE.fullmatch(words[start - 1])):
        start -= 1
    places = range(start, len(words))
    begins = [first for first in places if not words[first][0].isdigit() or _ANY_WORD.fullmatch(words[first])]
    return [first for first in begins if any(map(_ANY_WORD.fullmatch, words[first:]))]


def _original(stem: str, possible: Sequence[str], there: Collection[str]) -> tuple[str, str]:
    """The name of the original of a version, and the words of the alteration; empty without one.

    The words are empty if the original is among those that are ``there``.
    """
    for name in there:
        if name == possible[0] or not _possible(name):
            return name, ""
    words = _TOKEN.findall(stem) if possible else []
    tails = _tails(words)
    if tails and re.search(r"\d", possible[0]) and (alteration := _words_of(words[tails[0] :])):
        return possible[0], alteration
    return "", ""


def _words_of(tail: Sequence[str]) -> str:
    """The words of an alteration; one that may mean something else is marked, and a counter of many digits is none."""
    if any(re.fullmatch(r"0\d{2,}", token) for token in tail):
        return ""
    words = " ".join(re.sub(r"\d+", "", token).lower() for token in tail)
    return words if any(map(_CLEAR_WORD.fullmatch, tail)) else f"?{words}"


def _kept(
    candidates: dict[tuple[str, str], _Versions], stems: dict[tuple[str, str], list[int]]
) -> dict[tuple[str, str], _Versions]:
    """The candidates with enough evidence, of several images each."""
    several = {}
    for key, versions in candidates.items():
        count = len(versions.members) + len(stems.get(key, ()))
        is_clear = versions.is_sure or len(versions.words) > 1 or not next(iter(versions.words)).startswith("?")
        if 1 < count <= MOST_VERSIONS and is_clear:
            several[key] = versions
    originals: dict[str, int] = defaultdict(int)
    for place, _ in several:
        originals[place] += 1
    return {
        key: versions for key, versions in several.items() if versions.is_sure or originals[key[0]] >= _LEAST_IMAGES
    }


def _join_numbered(
    keys: list[str], keras: dict[tuple[str, str], list[int]], places: Sequence[tuple[str, str]]
) -> list[int]:
    """Join the files of Keras, ``aug_<number of the image>_<any number>``, in ``keys``; those that cannot be joined.

    The number is one in the list of images that were altered. It is 0 throughout if they were altered one by one, and
    it does not name the original, which may lie beside its versions.
    """
    numbered: dict[str, set[int]] = defaultdict(set)
    for (place, _), members in keras.items():
        numbered[place].update(members)
    unassigned: set[int] = set()
    beside: dict[str, int] = defaultdict(int)
    for index, (place, _) in enumerate(places):
        beside[place] += index not in numbered[place]
    for (place, number), members in keras.items():
        if len(members) > MOST_VERSIONS or 2 * len(members) > len(numbered[place]) > 1:
            unassigned.update(members)
            continue
        if beside[place]:
            unassigned.update(members)
        if len(members) > 1:
            for index in members:
                keys[index] = f"{place}/{number}"
    return sorted(unassigned)
