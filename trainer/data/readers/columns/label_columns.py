"""Choose the column of labels, or the one-hot columns, of a training table."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from trainer.common.errors import DataError, listed
from trainer.data.names.parts import split_of
from trainer.data.names.predictions import is_column_of_predictions
from trainer.data.readers.columns.ambiguous_labels import (
    ambiguous,
    label_for_each_side,
    no_label_column,
    other_facts,
    pair_or_column,
    predicted_labels,
)
from trainer.data.readers.columns.class_columns import (
    MarkedColumns,
    described,
    few_unlike_one_hot,
    holds_shares,
    marked_columns,
    odd_cells,
    one_hot,
    sum_to_one,
    unlike_one_hot,
)
from trainer.data.readers.columns.compare_columns import (
    answers_otherwise,
    contradicting_rows,
    corrects,
    holding_ranked,
    lists_classes,
    numbers_words,
    refuse_epithets,
    same_classes,
)
from trainer.data.readers.columns.label_names import (
    LABEL_NAMES,
    METADATA,
    NOT_LABELS,
    any_usual_label,
    coordinates,
    one_stem,
    plain_name,
    sides_of,
)
from trainer.data.readers.columns.measured_numbers import SIDE_FACTS, doubt, measured, question
from trainer.data.readers.columns.several.further_labels import speaks_of_predictions
from trainer.data.readers.columns.several.stated_labels import may_be_predicted, predicted_warning
from trainer.data.readers.doubts.metadata_cells import kind_of_cells
from trainer.data.readers.matching.id_spellings import composed
from trainer.formats.labels import SeveralLabels, is_number
from trainer.formats.parts import are_parts_alone
from trainer.formats.shares import NO, YES

_PLACES = frozenset(("folder", "folder_name", "subfolder", "dir", "directory", "dirname", "path"))
"""Names of columns that hold the folder of an image."""
_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "scientific_name")
"""Columns of a taxonomy. Beside others of them, ``class`` is a rank, such as Aves."""
_SAYS_LABELS = re.compile("label|annotat|target|class|truth|answer")
"""In the name of a table whose other column is the label, whatever that is called."""
_FEW_ROWS = 10  # up to this many rows, a column whose values all differ may hold labels


@dataclass(frozen=True, kw_only=True)
class SampleHints:
    """What a sample submission says about the training table.

    header: its column names, that of the ids first; empty where it has none.
    values: the values of its only prediction column; empty where it has several columns, or the same single word
        everywhere.
    """

    header: tuple[str, ...] = ()
    values: frozenset[str] = frozenset()

    def asks_for(self, names: Collection[str]) -> bool:
        """Whether one of the column ``names`` is that of a prediction."""
        return not set(self.header[1:]).isdisjoint(names)


@dataclass(frozen=True, kw_only=True)
class LabelChoice:
    """The columns of a table out of which those of the labels are chosen, and what is known of them.

    file: name of the table.
    rows: below the header.
    free: positions of the columns without another use.
    sample: what the sample submission says about the columns.
    folders: name of the folder of the image of each of the first rows.
    words: the word in front of the number in each row's image name; empty where some name has another form.
    several: whether the user says that an image may have several labels.
    image: position of the column that names the images.
    named: whether cells of that column name images.
    row_name: the name of a row in messages.
    notes: `choose` adds a sentence where the choice is not obvious.
    warnings: `choose` adds a sentence for each column that may be a label and is not read as one.
    """

    file: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    free: Sequence[int]
    sample: SampleHints
    folders: Sequence[str]
    words: Sequence[str]
    several: SeveralLabels
    image: int
    named: bool
    row_name: Callable[[Sequence[str]], str]
    notes: list[str]
    warnings: list[str]

    def choose(self) -> tuple[int | None, tuple[int, ...]]:
        """The label column, or None and the class columns.

        Raises:
            NoLabelColumnError: no column can hold labels.
            DataError: several columns fit equally well, or a cell in columns of 0 and 1 is neither.
        """
        label, classes = self._choose()
        self._refuse_predictions((label,) if label is not None else classes)
        if label is not None and may_be_predicted(self.file, self.names, self.rows, self.image, label):
            self.warnings.append(predicted_warning(self.file, self.names[label]))
        return label, classes

    def _choose(self) -> tuple[int | None, tuple[int, ...]]:
        """As `choose`, whatever the names say of predictions."""
        if (found := self._of_sample()) is not None:
            self._refuse_corrections(found[0])
            return found
        if (usual := self._usual()) and (chosen := self._by_name(usual)) is not None:
            return chosen, ()
        if self.several == "yes" and len(self._marked.columns) > 1:
            if error := odd_cells(self.names, self.rows, self._marked, self.row_name):
                raise error
            notes, warnings = described(self.names, self.rows, self._free, self._marked)
            self.notes.extend(notes)
            self.warnings.extend(warnings)
            return None, self._marked.columns
        return self._by_cells()

    @cached_property
    def _values(self) -> Mapping[int, set[str]]:
        """The distinct cells of each column."""
        return {column: {composed(row[column].strip()) for row in self.rows} for column in self.free}

    @cached_property
    def _free(self) -> list[int]:
        """The columns without those of a point or a box."""
        points = coordinates(self.names)
        marks = [name for name in points if {row[self.names.index(name)].strip() for row in self.rows} == {"0", "1"}]
        if marks and self.several == "yes":
            self.warnings.append(
                f"{listed(marks)} are taken for coordinates and not read as labels, although they hold 0 and 1; if "
                "they are labels, give them other names"
            )
        return [column for column in self.free if self.names[column] not in points]

    @cached_property
    def _marked(self) -> MarkedColumns:
        kept = [column for column in self._free if plain_name(self.names[column]) not in NOT_LABELS]
        return marked_columns(self.rows, kept)

    def _may_be_labels(self, column: int) -> bool:
        """Whether a column has at least two values, and several rows with the same one."""
        values = self._values[column]
        if plain_name(self.names[column]) in NOT_LABELS or len(values - {""}) < 2:
            return False
        return len(values) < len(self.rows) or (len(self.rows) <= _FEW_ROWS and not self._numbers_rows(column))

    def _numbers_rows(self, column: int) -> bool:
        """Whether a column is called an id, as one that numbers the rows is."""
        return re.fullmatch(r"(?:.+_)?(?:id|uuid|guid|no|nr|number)", plain_name(self.names[column])) is not None

    def _equals_folders(self, column: int) -> bool:
        """Whether the cells of a column are the names of the images' folders."""
        cells = (composed(row[column].strip()) for row in self.rows)
        return all(cell == composed(folder) for cell, folder in zip(cells, self.folders, strict=False))

    def _of_sample(self) -> tuple[int | None, tuple[int, ...]] | None:
        """The columns that the sample submission asks for, or that are one-hot; None if it does not tell."""
        predicted, free, values = self.sample.header[1:], self.free, self._values
        by_name = {self.names[column]: column for column in free}
        if len(predicted) == 1 and predicted[0] in by_name and not self._holds_answers(by_name[predicted[0]]):
            return by_name[predicted[0]], ()
        asked = [by_name[name] for name in predicted if name in by_name]
        if len(asked) == len(predicted) > 1 and all(holds_shares(self.rows, column) for column in asked):
            return None, tuple(sorted(asked))
        if len(predicted) > 1:
            # The sample has one column per class: the label column holds these class names.
            wanted = set(map(composed, predicted))
            holding = [column for column in free if len(values[column] - {""}) > 1 and values[column] - {""} <= wanted]
            holding = holding or [column for column in free if lists_classes(values[column] - {""}, wanted)]
            if len(holding) == 1:
                return holding[0], ()
        if len(free) > 1 and sum_to_one(self.rows, free):
            return None, tuple(free)
        if (ranked := holding_ranked(self.rows, self.sample.values, values)) is not None:
            self.notes.append(f"the sample submission lists values of {self.names[ranked]!r}, so these are the labels")
            return ranked, ()
        return None

    def _holds_answers(self, column: int) -> bool:
        """Whether a column of a sample submission's name holds answers to it, not labels: ``prediction``.

        Some competitions call the labels so, too, in a table of training labels without another column for them.
        """
        if not is_column_of_predictions(self.names[column]):
            return False
        return split_of(self.file) != "train" or any_usual_label([self.names[other] for other in self._free])

    def _refuse_predictions(self, chosen: Sequence[int]) -> None:
        """Refuse to train on what a network has predicted, by the names of the columns.

        Raises:
            NoLabelColumnError: all ``chosen`` columns are called after predictions, and no table of training labels
                shares their names with the sample submission.
        """
        names = [self.names[column] for column in chosen]
        asked = split_of(self.file) == "train" and self.sample.asks_for(names)
        if names and not asked and all(map(is_column_of_predictions, names)):
            raise predicted_labels(self.file, names)

    def _usual(self) -> list[int]:
        """The columns with a usual name of labels, in order of preference.

        Raises:
            DataError: there are several ranks of a taxonomy instead.
        """
        names, free = self.names, self._free
        usual = [column for name in LABEL_NAMES for column in free if plain_name(names[column]) == name]
        usual = [column for column in usual if not are_parts_alone(self._values[column])]
        usual = [column for column in usual if len(self._values[column]) > 1] or usual
        ranks = [column for column in free if plain_name(names[column]) in _RANKS]
        if len(ranks) > 2:
            usual = [column for column in usual if plain_name(names[column]) != "class"]
            ranks = [column for column in ranks if self._may_be_labels(column)]
            if not usual and len(ranks) > 1:
                raise ambiguous(self.file, [names[column] for column in ranks])
        return usual

    def _by_name(self, usual: Sequence[int]) -> int:
        """The column of labels out of those with a ``usual`` name.

        Raises:
            DataError: several of them, or another column, answer the same question in another way.
        """
        names, rows, sampled = self.names, self.rows, self.sample.values
        other = [column for column in usual[1:] if not same_classes(rows, usual[0], column)]
        named = [column for column in usual if other and numbers_words(rows, column, self.words)]
        if named:  # the classes of Oxford's pets: Abyssinian_100 is of class 1
            usual = named
            self.notes.append(
                f"{names[named[0]]!r} agrees with the names of the images, such as {rows[0][named[0]].strip()!r} for "
                f"{self.words[0]!r}; --label-column NAME (data.label_column) chooses another column"
            )
        elif other and not (self.several == "yes" and one_stem([names[column] for column in usual])):
            why = self._contradictions(usual[0], other)
            raise ambiguous(self.file, [names[column] for column in (usual[0], *other)], why=why)
        # A label's name and its number: the sample shows which of them a submission takes.
        as_sample = [
            c for c in self._free if sampled and sampled <= self._values[c] and same_classes(rows, usual[0], c)
        ]
        chosen = usual[0] if not as_sample or usual[0] in as_sample else as_sample[0]
        if not sampled and (named := [c for c in usual if self._equals_folders(c)]):
            chosen = named[0]  # not the number of a class whose name is that of its folder
        self._compare_others(chosen, [column for column in self._free if column not in usual])
        return chosen

    def _compare_others(self, chosen: int, others: Sequence[int]) -> None:
        """Note which other columns could hold the labels, too.

        Raises:
            DataError: one of them gives some images another one of the same labels.
        """
        names, rows = self.names, self.rows
        refuse_epithets(self.file, names, rows, chosen)
        differing = [names[c] for c in others if answers_otherwise(rows, chosen, c) or corrects(names, rows, chosen, c)]
        counted = [name for name in differing if one_stem([names[chosen], name])]
        differing = [name for name in differing if self.several != "yes" or name not in counted]
        if differing:
            raise ambiguous(
                self.file,
                [names[chosen], *differing],
                why="They differ in some rows. ",
                counted=bool(counted) and self.several == "auto",
            )
        further = [c for c in others if self._may_be_labels(c) and not same_classes(rows, chosen, c)]
        if why := self._contradictions(chosen, further):
            raise ambiguous(self.file, [names[c] for c in (chosen, *further)], why=why)
        left = [names[c] for c in further]
        if left:
            self.notes.append(
                f"the labels are {names[chosen]!r}, a usual name, but {listed(left)} could hold them, too: "
                "--label-column NAME (data.label_column) chooses another column"
            )
        unread = [names[c] for c in self._marked.columns if c in others]
        if self.several == "yes" and len(unread) > 1:
            self.warnings.append(
                f"{listed(unread, 4)} hold 0 and 1, and are not read as labels, because {names[chosen]!r} is a usual "
                f"name of labels; if they are the labels, remove {names[chosen]!r} from the table"
            )

    def _refuse_corrections(self, asked: int | None) -> None:
        """Refuse to guess whether the column of the sample submission or one that corrects it holds the labels.

        Raises:
            DataError: another column gives some images another one of the same labels, and is called neither a
                prediction nor a further label.
        """
        if asked is None:
            return
        names, rows = self.names, self.rows
        differing = [
            names[c]
            for c in self._free
            if c != asked
            and not (speaks_of_predictions(names[c]) or one_stem([names[asked], names[c]]))
            and (answers_otherwise(rows, asked, c) or corrects(names, rows, asked, c))
        ]
        if differing:
            raise ambiguous(self.file, [names[asked], *differing], why="They differ in some rows. ")

    def _contradictions(self, chosen: int, others: Sequence[int]) -> str:
        """A sentence about a column of ``others`` that names the numbers in ``chosen`` but for few rows; else empty."""
        for other in others:
            if odd := contradicting_rows(self.rows, chosen, other):
                row = self.rows[odd[0]]
                return (
                    f"{self.names[chosen]!r} and {self.names[other]!r} contradict each other in {len(odd)} of "
                    f"{len(self.rows)} rows, such as {self.row_name(row)}, with {row[chosen].strip()!r} and "
                    f"{row[other].strip()!r}: correct these rows. "
                )
        return ""

    def _by_cells(self) -> tuple[int | None, tuple[int, ...]]:
        """The columns of labels by their cells: the names of folders, one-hot columns, or the only possible column."""
        names, free = self.names, self._free
        possible = [column for column in free if self._may_be_labels(column)]
        if as_folders := [column for column in possible if self._equals_folders(column)]:
            chosen = as_folders[0]
            rivals = [column for column in possible if not same_classes(self.rows, chosen, column)]
            if not (rivals and self._says_place(chosen)):
                self._check_name(chosen)
                self.notes.append(f"{names[chosen]!r} equals the folder of each image")
                return chosen, ()
        hot = one_hot(self.rows, free, self._values)
        rivals = [column for column in possible if column not in hot]
        if len(hot) > 2 or (len(hot) == 2 and not rivals):
            self._compare_measured(hot)
            if left := [names[column] for column in free if column not in hot]:
                self.notes.append(f"not among the one-hot columns: {listed(left)}")
            return None, tuple(hot)
        if not possible:
            raise no_label_column(self.file, names)
        marked = self._marked.columns
        one_name = one_stem([names[column] for column in possible]) and not {*marked}.issuperset(possible)
        if len(possible) == 1:
            self._check_name(possible[0])
            self._compare_measured(possible)
            left = [names[c] for c in free if c != possible[0] and not one_stem([names[possible[0]], names[c]])]
            if left:
                self.notes.append(f"{listed(left)} cannot be labels")
            return possible[0], ()
        if one_name and self.several == "yes":
            return possible[0], ()
        if len(hot) == 2:
            raise pair_or_column(self.file, [names[c] for c in hot], [names[c] for c in rivals])
        raise self._ambiguous(possible, counted=one_name and self.several == "auto")

    def _says_place(self, column: int) -> bool:
        """Whether the name or the cells of a column say where an image lies or comes from: a folder, a patient."""
        name = plain_name(self.names[column])
        return name in METADATA or name in _PLACES or kind_of_cells(self._values[column]) is not None

    def _check_name(self, column: int) -> None:
        """Refuse the only possible column if its name or all of its cells say something else.

        Raises:
            NoLabelColumnError: they do, and the name of the table does not say that it holds labels.
        """
        name, kind = self.names[column], kind_of_cells(self._values[column])
        if (kind or plain_name(name) in METADATA) and not _SAYS_LABELS.search(self.file.lower()):
            raise other_facts(self.file, name, kind)

    def _compare_measured(self, chosen: Sequence[int]) -> None:
        """Warn of columns of measured numbers beside labels without a usual name, which may be what is wanted.

        Raises:
            DataError: the labels are often a fact beside such numbers: ``sex`` beside ``bmi``.
        """
        names = [self.names[column] for column in chosen]
        found = measured(self.names, self.rows, [column for column in self._free if column not in chosen])
        numbers = [self.names[column] for column in found]
        if numbers and SIDE_FACTS.issuperset(map(plain_name, names)):
            raise question(self.file, names, numbers)
        plain = [name for name in numbers if plain_name(name) not in METADATA]
        if len(chosen) == 1:
            self.warnings.extend(doubt(names[0], plain))

    def _is_unlike_classes(self, column: int) -> bool:
        """Whether a column has gaps, holds numbers, yes and no, or is called after other facts."""
        values, name = self._values[column], plain_name(self.names[column])
        flags = column in self._marked.columns or {value.casefold() for value in values} & {*YES, *NO}
        says_other = name in METADATA or name in SIDE_FACTS or name in _PLACES
        return bool(flags) or "" in values or says_other or all(is_number(value) for value in values)

    def _ambiguous(self, possible: Sequence[int], *, counted: bool) -> DataError:
        """The error for several ``possible`` columns; ``counted``: as of `ambiguous`."""
        if not self.named and (sides := sides_of([self.names[column] for column in possible])):
            return label_for_each_side(self.file, sides)
        possible = sorted(possible, key=self._is_unlike_classes)
        marked, values = self._marked.columns, [self._values[column] for column in possible]
        known = [self.names[column] for column in possible]
        only_marked = len(marked) > 1 and {*marked}.issuperset(possible)
        likely = not self._is_unlike_classes(possible[0])
        if only_marked or (len(marked) > 2 and not likely):
            odd = odd_cells(self.names, self.rows, self._marked, self.row_name)
            if odd is not None:
                first = f"{ambiguous(self.file, known)}, or correct these cells:"
                return DataError([first, *odd.problems], odd.advice)
        if only_marked or len(marked) > 2:
            error = few_unlike_one_hot(
                self.file,
                self.names,
                self.rows,
                marked,
                lambda row: f"{self.row_name(row)} (image {row[self.image]!r})",
                may_be_several=self.several == "auto",
            )
            if error is not None and self.several != "yes":
                return error
        attributes = only_marked or (len(possible) > 2 and all(len(cells - {""}) == 2 for cells in values))
        return ambiguous(
            self.file,
            known,
            attributes=attributes and self.several != "no",
            counted=counted,
            unread=sorted(set().union(*values)) if self.several == "yes" else (),
            odd_rows=unlike_one_hot(self.rows, possible) if attributes else "",
        )
