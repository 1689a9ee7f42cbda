"""Join the tables of CUB-200-2011 and its like: numbers of images with their paths, and with labels, classes, parts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, listed
from trainer.data.readers.columns.image_column import PROBED_ROWS
from trainer.data.readers.matching.id_spellings import is_image_name
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.class_names import (
    Names,
    check_named_folders,
    class_names,
    contradiction,
    says_classes,
)
from trainer.data.readers.tables.find_tables import is_named_training
from trainer.data.readers.tables.part_tables import PartTable
from trainer.data.readers.tables.reading.table_files import read_table
from trainer.formats.delimited import Table, read_lines
from trainer.formats.labels import natural_key
from trainer.formats.part_words import Part
from trainer.formats.parts import numbered_parts, part_of

Pairs = dict[str, str]
_TRAINING_FLAG: dict[str, Part] = {"1": "train", "0": "test"}  # of train_test_split.txt in CUB-200-2011 and NABirds
_ONE_TO_ONE = 0.8  # share of images whose folder fits their label, from which the others are contradictions


@dataclass(frozen=True, kw_only=True)
class JoinedTables:
    """The joined table of labels, with the columns image and label.

    parts: the part of each image; None without a table of parts.
    notes: which tables were joined.
    warnings: which list of classes is not used.
    """

    table: Table
    parts: PartTable | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def join_tables(
    paths: Sequence[Path], matcher: ImageMatcher, encoding: str | None, class_folders: Sequence[str]
) -> JoinedTables | None:
    """The joined tables; None without a table that numbers the images and one that labels these numbers.

    Args:
        paths: the tables of the data folder.
        class_folders: names of the folders that may be the classes; they give the labels where no table does.

    Raises:
        DataError: several tables label the numbers, numbers are missing, or labels contradict the folders.
    """
    pairs = {path: found for path in paths if (found := _pairs(path, encoding)) is not None}
    listing = [path for path, found in pairs.items() if _numbers_images(found, matcher)]
    if len(listing) != 1:
        return None
    (images,) = listing
    keyed = {path: found for path, found in pairs.items() if path != images and _share_keys(found, pairs[images])}
    dividing = [path for path in keyed if "split" in path.stem.lower() or "partition" in path.stem.lower()]
    labelling = [path for path in keyed if path not in dividing and says_classes(path)]
    rivals = [path for path in paths if path not in keyed and path != images and is_named_training(path)]
    if rivals or len(dividing) > 1 or not (labelling or (dividing and class_folders)):
        return None
    if len(labelling) > 1:
        raise DataError(
            f"{listed(path.name for path in labelling)}: each labels the numbers of {images.name}. If they label "
            "different images, join them into one table; if they contradict each other, move all but one out of the "
            "data folder; if the folders are the classes, add --layout folders (data.layout)"
        )
    numbered = {key: path for key, path in pairs[images].items() if is_image_name(path)}  # without a header
    folders = {key: PurePosixPath(path).parent.name for key, path in numbered.items()}
    notes = []
    warnings: list[str] = []
    if labelling:
        (source,) = labelling
        own = {key: label for key, label in keyed[source].items() if key not in pairs[images].keys() - numbered.keys()}
        if source.suffix.lower() != ".txt" and numbered.keys() != own.keys():
            return None  # joined as `trainer.data.readers.tables.links`, by the names in their headers
        _check_numbers(numbered, own, images, source)
        named = _class_names(own, paths, pairs, {images, *keyed}, encoding)
        labels, note = own, ""
        if isinstance(named, str):
            warnings += filter(None, [named])
        else:
            listing_path, names, note = named
            labels = {key: names[label] for key, label in own.items()}
            _check_folders(labels, folders, source)
            check_named_folders(labels, folders, list(names.values()), source, listing_path)
        notes.append(f"{source.name} labels the images that {images.name} numbers{note and ', '}{note}")
    else:
        source, labels = images, folders
        notes.append(f"labels are the names of the folders in {images.name}")
    _check_folders(labels, folders, source)
    parts = _parts(dividing[0], keyed[dividing[0]], numbered) if dividing else None
    if dividing and parts is None:
        raise DataError(
            f"{dividing[0].name} seems to divide the images for training and testing, but its values "
            f"{listed(sorted(set(keyed[dividing[0]].values())), 4)} have no known meaning. Write train, val or test "
            "there, or move it out of the data folder"
        )
    if parts is not None:
        notes.append("--layout folders trains on the images of all parts" if class_folders else "")
    rows = [("image", "label"), *((numbered[key], label) for key, label in labels.items())]
    table = Table(
        path=source,
        rows=tuple(rows),
        numbers=tuple(range(len(rows))),  # no header in the file: its first row is 1
        delimiter=",",
        newline="\n",
        bom=False,
    )
    return JoinedTables(table=table, parts=parts, notes=tuple(filter(None, notes)), warnings=tuple(warnings))


def _pairs(path: Path, encoding: str | None) -> Pairs | None:
    """The second cell of each row by its first; None if a row has other cells, or a first cell occurs twice.

    In a text file, the second cell is the rest of the line.
    """
    rows: list[Sequence[str]]
    try:
        if path.suffix.lower() == ".txt":
            lines = read_lines(path, encoding)
            rows = [line.split(None, 1) for line in lines if line.strip()]
        else:
            rows = list(read_table(path, encoding=encoding).rows)
    except DataError:
        return None
    if not rows or any(len(row) != 2 for row in rows):
        return None
    pairs = {row[0].strip(): row[1].strip() for row in rows}
    return pairs if len(pairs) == len(rows) else None


def _numbers_images(pairs: Pairs, matcher: ImageMatcher) -> bool:
    """Whether the second cells name different images, and the first cells none."""
    values = [value for value in pairs.values() if is_image_name(value)]
    if len(values) < len(pairs) - 1 or len(set(values)) < len(values):  # there may be a header
        return False
    probed = values[:PROBED_ROWS]
    return len(matcher.match(probed).paths) * 2 > len(probed) and not any(map(is_image_name, pairs))


def _share_keys(pairs: Pairs, images: Pairs) -> bool:
    return len(pairs.keys() & images.keys()) * 2 > max(len(pairs), len(images))


def _class_names(
    labels: Pairs, paths: Sequence[Path], pairs: Mapping[Path, Pairs], used: set[Path], encoding: str | None
) -> tuple[Path, Names, str] | str:
    """`class_names` of the labels, from the tables that are not ``used``."""
    lists = [path for path in paths if path not in used and says_classes(path)]
    numbered = {path: pairs[path] for path in lists if path in pairs}
    known = sorted(set(labels.values()), key=natural_key)
    return class_names(known, numbered, [path for path in lists if path not in pairs], encoding)


def _check_numbers(images: Pairs, labels: Pairs, listing: Path, source: Path) -> None:
    """Raise a DataError if images have no label, or labels no image."""
    if missing := [key for key in images if key not in labels]:
        raise DataError(f"{source.name} has no row for {len(missing)} numbers of {listing.name}: {listed(missing, 5)}")
    if unknown := [key for key in labels if key not in images]:
        raise DataError(f"{source.name} labels {len(unknown)} numbers that {listing.name} lacks: {listed(unknown, 5)}")


def _check_folders(labels: Mapping[str, str], folders: Mapping[str, str], source: Path) -> None:
    """Raise a DataError if most labels have a folder of their own, but some images lie in another label's folder."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for key, label in labels.items():
        counts[label][folders[key]] += 1
    main = {label: found.most_common(1)[0][0] for label, found in counts.items()}
    wrong = [key for key, label in labels.items() if folders[key] != main[label]]
    one_to_one = len(set(main.values())) == len(main) > 1
    if wrong and one_to_one and len(labels) - len(wrong) >= _ONE_TO_ONE * len(labels):
        raise contradiction(source, wrong, labels, folders)


def _parts(path: Path, pairs: Pairs, images: Pairs) -> PartTable | None:
    """The part of each image; None if the values have no known meaning."""
    values = {
        images[key]: value.lower() for key, value in pairs.items() if key in images and is_image_name(images[key])
    }
    counts = Counter(values.values())
    numbers: Mapping[str, Part] = numbered_parts(path.stem.lower(), counts) or {}
    if set(counts) == {"0", "1"} and "train_test" in path.stem.lower():
        numbers = _TRAINING_FLAG
    parts = numbers or {value: part for value in counts if (part := part_of(value))}
    if set(counts) - parts.keys() or "train" not in parts.values():
        return None
    return PartTable(path=path, parts={image: parts[value] for image, value in values.items()}, numbers=numbers)
