"""Compare the cells of a column with the labels, with the names of the images, or with a sample submission."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from trainer.common.errors import DataError, listed
from trainer.data.readers.columns.label_names import any_usual_label, plain_name
from trainer.data.readers.columns.several_labels import SEPARATORS, parts_of
from trainer.formats.class_lists import odd_rows
from trainer.formats.labels import is_number

_CORRECTIONS = frozenset(("corrected", "correction", "final", "relabel", "relabelled", "relabeled", "consensus"))
"""Names of columns that correct labels."""
_CORRECTING = _CORRECTIONS | {"correct", "new", "true", "actual", "expert", "revised", "fixed", "gold", "updated"}
"""Words beside ``label`` in the names of such columns."""
_TRUTH = frozenset((
    "gold", "gold_standard", "truth", "ground_truth", "gt", "adjudicated", "adjudication", "agreed", "majority",
    "majority_vote", "goldstandard", "groundtruth", "wahrheit", "konsens", "verdad", "consenso",
))  # fmt: skip
"""Names of columns that say of the same labels that these are right."""
_SAME_QUESTION = 0.8  # share of equal cells from which two columns of two values answer the same question


def answers_otherwise(rows: Sequence[Sequence[str]], labels: int, column: int) -> bool:
    """Whether a column gives some images another one of the same labels, such as ``corrected_label`` beside ``label``.

    It agrees in most rows, or is filled in few. Of yes and no, and of numbers, nearly all rows have to agree, because
    other questions have these answers, too.
    """
    pairs = [(row[labels].strip(), row[column].strip()) for row in rows if row[column].strip()]
    classes, answers = {row[labels].strip() for row in rows}, {answer for _, answer in pairs}
    differing = sum(label != answer for label, answer in pairs)
    if not differing or not answers <= classes:
        return False
    agreeing = 1 - differing / len(pairs)
    if len(classes) == 2 or any(map(is_number, classes)):
        return len(answers) > 1 and agreeing >= _SAME_QUESTION
    return agreeing >= 0.5 or len(pairs) * 2 <= len(rows)


def corrects(names: Sequence[str], rows: Sequence[Sequence[str]], labels: int, column: int) -> bool:
    """Whether a column corrects some labels by its name and its cells, perhaps with a new class: ``true_label``.

    One called after the truth (``gold``) may contradict most of the labels: half of its values have to be labels.
    """
    if plain_name(names[column]) in _TRUTH:
        classes, answers = ({row[c].strip() for row in rows} - {""} for c in (labels, column))
        known = 2 * len(answers & classes) >= len(answers) > 1
        return known and any(row[column].strip() not in ("", row[labels].strip()) for row in rows)
    words = set(plain_name(names[column]).split("_"))
    rest = words - _CORRECTING
    of_labels = any_usual_label(["_".join(sorted(rest))]) if rest else not words.isdisjoint(_CORRECTIONS)
    if words == rest or not of_labels:
        return False
    return any(row[column].strip() not in ("", row[labels].strip()) for row in rows)


def refuse_epithets(file: str, names: Sequence[str], rows: Sequence[Sequence[str]], labels: int) -> None:
    """Refuse the second part of a species' name as the label, because several genera have it: ``vulgaris``.

    Raises:
        DataError: the column is called ``species``, and one of its values stands beside several of ``genus``.
    """
    plain = [plain_name(name) for name in names]
    if plain[labels] != "species" or "genus" not in plain:
        return
    genera: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        genera[row[labels].strip()].add(row[plain.index("genus")].strip())
    shared = next((value for value, found in genera.items() if value and len(found - {""}) > 1), None)
    if shared is not None:
        raise DataError(
            f"{file}: several genera have the species {shared!r}, such as {listed(sorted(genera[shared]), 3)}. Write "
            "genus and species into one column and choose it with --label-column NAME (data.label_column); "
            f"--label-column {names[labels]} takes the species alone"
        )


def numbers_words(rows: Sequence[Sequence[str]], column: int, words: Sequence[str]) -> bool:
    """Whether each value of a column stands for one word of the image names, and each word for one value."""
    pairs = {(row[column].strip(), word) for row, word in zip(rows, words, strict=False)}
    values, named = {value for value, _ in pairs}, {word for _, word in pairs}
    return len(words) == len(rows) and 1 < len(pairs) == len(values) == len(named)


def same_classes(rows: Sequence[Sequence[str]], one: int, other: int) -> bool:
    """Whether two columns divide the rows in the same way, such as a label's name and its number."""
    pairs = {(row[one].strip(), row[other].strip()) for row in rows}
    return len(pairs) == len({first for first, _ in pairs}) == len({second for _, second in pairs})


def contradicting_rows(rows: Sequence[Sequence[str]], one: int, other: int) -> list[int]:
    """The rows in which a label's number and its name contradict the other rows; empty if they are none of a label."""
    cells = [[row[column].strip() for row in rows] for column in (one, other)]
    numbers = [all(map(is_number, found)) for found in cells]
    return odd_rows(*cells) if any(numbers) and not all(numbers) else []


def lists_classes(cells: set[str], wanted: Collection[str]) -> bool:
    """Whether the cells of a column are lists of the classes ``wanted``, with one separator."""
    return any(
        len(cells) > 1 and all(set(parts_of(cell, mark)) <= set(wanted) for cell in cells) for mark in SEPARATORS
    )


def holding_ranked(
    rows: Sequence[Sequence[str]], sampled: frozenset[str], values: Mapping[int, set[str]]
) -> int | None:
    """The only column of which the sample holds several values a row, divided by blanks; None without such a column."""
    words = {word for cell in sampled for word in cell.split()}
    if any(sampled <= known for known in values.values()) or all(len(cell.split()) < 2 for cell in sampled):
        return None
    holding = [column for column, known in values.items() if words <= known and 1 < len(known) < len(rows)]
    if not holding or any(not same_classes(rows, holding[0], column) for column in holding[1:]):
        return None
    return holding[0]
