"""What the choice of the table of training labels needs to know of a data folder, and what it tells the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from trainer.data.image_set import DataOptions
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.parts.own_folder import files_for
from trainer.data.readers.tables.choice.folder_levels import FolderLevel, folder_levels, same_level
from trainer.data.readers.tables.choice.unread_tables import UnreadTables
from trainer.data.readers.tables.folder_labels import FolderTable
from trainer.data.readers.tables.links.linked_table import Links
from trainer.data.readers.tables.reading.table_files import read_table
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.delimited import Table
from trainer.inference.printable import printable


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelSearch:
    """The search for the training labels among the tables of a data folder."""

    files: ImageFiles
    """Of the data folder."""
    options: DataOptions
    sample: SampleHints
    class_folders: Sequence[str]
    """Names of the folders that could be the classes; empty if there are none."""
    links: Links
    """The tables that are joined with one of image names."""
    deeper: Sequence[Path]
    """The tables in the folders below, as `deeper_tables` finds them."""
    unread: UnreadTables
    notes: list[str] = field(default_factory=list)
    """Sentences about the choice."""
    warnings: list[str] = field(default_factory=list)
    """Sentences about what the tables hold."""

    _tables: dict[Path, Table] = field(default_factory=dict, init=False)
    """The tables that were read: several rules look at the same ones."""

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.files.root

    @cached_property
    def matcher(self) -> ImageMatcher:
        """Finds training images by the cells of tables."""
        return ImageMatcher(self.files, "train")

    def place_of(self, path: Path) -> str:
        """The path of a table in the data folder."""
        return path.relative_to(self.folder).as_posix()

    def levels_of(self, labels: Mapping[str, str]) -> list[FolderLevel]:
        """The folders that may be the classes of images, by the images' labels."""
        return folder_levels(labels, self.files.paths, self.class_folders)

    def classes_around(self, labels: Mapping[str, str]) -> Sequence[str]:
        """The names of the folders that the labels of images mean, however deep they lie; empty without any."""
        level = None if self.class_folders else same_level(self.levels_of(labels), labels)
        return self.class_folders if level is None else level.names

    def read(self, path: Path) -> Table:
        """Read a table.

        Raises:
            DataError: it cannot be read.
        """
        if path not in self._tables:
            table = read_table(path, encoding=self.options.encoding)
            self._tables[path] = replace(table, place=printable(self.place_of(path)))
        return self._tables[path]

    def candidate(self, table: Table) -> TrainingTable:
        """A table that may label the images that it names. One that is joined with another keeps its link."""
        linked = self.links.tables.get(table.path)
        files = self.files if linked is not None else files_for(table, self.files)
        matcher = self.matcher if files is self.files else ImageMatcher(files, "train")
        return TrainingTable(table, self.options, matcher, self.sample, linked=linked)

    def of_whole_folders(self, found: FolderTable) -> TrainingTable:
        """A table that labels whole folders, as one that labels their images. Adds a note and warnings.

        Raises:
            DataError: some of the images may be copies, or put aside, by the names of their folders.
        """
        where = self.place_of(found.table.path)
        self.notes.append(found.note(where))
        self.warnings.extend(found.warnings(where, self.files, is_asked=self.options.layout == "table"))
        return TrainingTable(found.table, self.options, self.matcher, self.sample, found)
