"""Find the folders on the paths of a table's images that may be classes, however deep they lie."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from trainer.data.names.masks import holds_masks
from trainer.data.names.parts import are_parts, folder_part
from trainer.data.readers.class_folders import are_numbered, parts_among, seem_parts
from trainer.data.readers.matching.id_spellings import composed
from trainer.formats.labels import natural_key

_MANY = 5
"""Files in a folder that is a class rather than that of one image and its masks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderLevel:
    """Folders that may be classes: those beside each other, or at one depth of the paths of a table's images.

    names: as spelled, in natural order; those beside the folders of the table's images, too.
    folders: the name of the folder of each image that lies in one of them, as `folded`.
    surely: whether they are what a reading without the table would take for the class folders.
    """

    names: Sequence[str]
    folders: Mapping[str, str]
    surely: bool = False

    @cached_property
    def known(self) -> frozenset[str]:
        """The names, as `folded`."""
        return frozenset(map(folded, self.names))

    @cached_property
    def numbered(self) -> bool:
        """Whether the folders differ in numbers alone, as those of patients, sites and dates often do."""
        return are_numbered(list(set(self.folders.values()) or self.known))

    def repeats(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels of images mean these folders by their names.

        Further down, numbers have to agree for most images: grades from 1 to 4 are not the patients 1 to 50.
        """
        named = [path for path, label in labels.items() if path in self.folders and folded(label) in self.known]
        if self.surely or not self.numbered:
            return bool(named)
        return 2 * sum(folded(labels[path]) == self.folders[path] for path in named) > len(named)

    def numbers(self, labels: Mapping[str, str]) -> bool:
        """Whether each label stands for one folder, and each folder for one label."""
        pairs = self._pairs(labels)
        return len(pairs) == len({label for label, _ in pairs}) == len({folder for _, folder in pairs})

    def crosses(self, labels: Mapping[str, str]) -> bool:
        """Whether labels have several folders and folders several labels."""
        pairs = self._pairs(labels)
        return len(pairs) > max(len({label for label, _ in pairs}), len({folder for _, folder in pairs}))

    def encloses(self, labels: Mapping[str, str]) -> bool:
        """Whether each label lies in one of several folders, and most folders hold several labels."""
        pairs = self._pairs(labels)
        folders = {folder for _, folder in pairs}
        return len(folders) > 1 and 2 * len(folders) <= len(pairs) == len({label for label, _ in pairs})

    def _pairs(self, labels: Mapping[str, str]) -> set[tuple[str, str]]:
        return {(folded(label), self.folders[path]) for path, label in labels.items() if path in self.folders}


def folded(name: str) -> str:
    """A name in one Unicode form and without case."""
    return composed(name).casefold()


def folder_levels(
    images: Collection[str], files: Iterable[str], class_folders: Sequence[str] = ()
) -> list[FolderLevel]:
    """The folders that may be classes of ``images``, outermost first after ``class_folders``.

    Folders of parts, and those with names for images (``data``, ``fold_0``, ``Part A``), are no classes, but may hold
    them. Folders of which one holds all images count only if no others divide these: beside it may lie those of
    images that the table does not name.

    Args:
        images: paths of the images of a table.
        files: paths of all images of the data folder.
        class_folders: names of the folders that could be the classes for a reading without the table.
    """
    files = list(files)
    found = [_class_level(images, class_folders)] if class_folders else []
    surely = found[0].known if found else frozenset()
    undivided: list[FolderLevel] = []
    for depth, (here, beside) in enumerate(zip(_by_depth(images), _names_beside(images, files), strict=True)):
        taken = set(here.values())
        shown = [name for name in beside if name in taken or not (holds_masks(name) or folder_part(name, beside))]
        if surely.issuperset(map(folded, taken)) or len(shown) < 2 or not _may_be_classes(beside):
            continue
        level = FolderLevel(names=shown, folders={path: folded(name) for path, name in here.items()})
        if len(taken) == 1:
            undivided.append(level)
        elif (
            _may_be_classes(list(taken))
            and 2 * len(here) > len(images)
            and (2 * len(taken) <= len(here) or (not level.numbered and _hold_many(here, depth, files)))
        ):
            found.append(level)  # no folder for each image
    return found or undivided[-1:]


def same_level(levels: Iterable[FolderLevel], labels: Mapping[str, str]) -> FolderLevel | None:
    """The first level whose folders the labels of images mean, by name or else by number; None without one."""
    found = list(levels)
    by_name = (level for level in found if level.repeats(labels))
    return next(by_name, next((level for level in found if level.numbers(labels)), None))


def rival_level(
    levels: Sequence[FolderLevel], labels: Mapping[str, str], *, enclosing: bool = False
) -> FolderLevel | None:
    """The level whose folders may be the classes and say something else than the labels; None without one.

    Labels may mean an outer level by its names. Those that mean an inner one, such as day and night, or divide the
    images as a level does, such as two annotators with a folder each, may be classes or not: folders of another level
    may be them. Names that differ in numbers come after others here.

    Args:
        enclosing: whether folders around those that the labels mean may be the classes, too: the labels may be the
            specimens of species.
    """
    outer = next((level for level in levels if level.surely or not level.numbered), None)
    if outer is not None and outer.repeats(labels):
        return None
    same = [level for level in levels if level.repeats(labels) or level.numbers(labels)]
    rivals = [level for level in levels if level not in same and level.folders.keys() & labels.keys()]
    if same:
        words = any(not level.numbered for level in same)
        around = [level for level in rivals if enclosing and not level.numbered and level.encloses(labels)]
        rivals = [level for level in rivals if level.crosses(labels) and not (words and level.numbered)] + around
    return min(rivals, key=lambda level: level.numbered, default=None)


def _class_level(images: Iterable[str], class_folders: Sequence[str]) -> FolderLevel:
    known = frozenset(map(folded, class_folders))
    parents = {path: map(folded, PurePosixPath(path).parts[:-1]) for path in images}
    own = {path: next((name for name in names if name in known), None) for path, names in parents.items()}
    folders = {path: name for path, name in own.items() if name is not None}
    return FolderLevel(names=class_folders, folders=folders, surely=True)


def _by_depth(images: Iterable[str]) -> list[dict[str, str]]:
    """For each depth of folders, the name of that of each image, outermost first."""
    found: list[dict[str, str]] = []
    for path in images:
        for depth, name in enumerate(path.split("/")[:-1]):
            if depth == len(found):
                found.append({})
            found[depth][path] = name
    return found


def _names_beside(images: Iterable[str], files: Iterable[str]) -> list[list[str]]:
    """For each depth, the names of the folders of ``images`` and of those beside them that hold ``files``."""
    own = {tuple(path.split("/")[:-1]) for path in images}
    above = {parts[:depth] for parts in own for depth in range(len(parts))}
    found: list[set[str]] = [set() for _ in range(max(map(len, own), default=0))]
    for parts in {tuple(path.split("/")[:-1]) for path in files} | own:
        for depth, name in enumerate(parts):
            if parts[:depth] not in above:
                break
            found[depth].add(name)
    return [sorted(names, key=natural_key) for names in found]


def _hold_many(images: Iterable[str], depth: int, files: Iterable[str]) -> bool:
    """Whether the folders of ``images`` at a depth hold `_MANY` files each on average, of which a table names few."""
    own = {tuple(path.split("/")[: depth + 1]) for path in images}
    return sum(tuple(path.split("/")[: depth + 1]) in own for path in files) >= _MANY * len(own)


def _may_be_classes(names: Sequence[str]) -> bool:
    """Whether folders beside each other may be classes by their names."""
    return not (seem_parts(names) or are_parts(names) or parts_among(names, names))
