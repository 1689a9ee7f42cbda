"""Apply the corrections beside the data (`trainer.formats.label_tables`) to the labels that the data give."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.common.errors import DataError, counted, listed
from trainer.data.corrections.data_spellings import DataSpellings
from trainer.data.image_set import AppliedCorrections, ImageSet
from trainer.evaluation.several_labels import class_counts
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction, decided_twice, read_corrections

ADVICE = (
    "Decide about these images again with `search labels`, remove their rows from the file, or read the labels as they "
    "are: --no-corrections (data.corrections = false)"
)
"""What to do about corrections that do not fit the data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Corrected:
    """A data set after its corrections."""

    image_set: ImageSet
    problems: tuple[str, ...] = ()
    """Decisions that do not fit the data, a sentence each; with any, ``image_set`` is without corrections."""


def apply_corrections_beside(image_set: ImageSet) -> Corrected:
    """Apply `CORRECTIONS_FILE` in the folder of ``image_set``, if it is there.

    Raises:
        DataError: the file cannot be read.
    """
    path = corrections_path(image_set)
    if not os.path.lexists(path):
        return Corrected(image_set=image_set)
    return apply_corrections(image_set, read_corrections(path))


def corrections_path(image_set: ImageSet) -> Path:
    """Where the corrections of a data set are."""
    return image_set.root / CORRECTIONS_FILE


def apply_again(image_set: ImageSet, decisions: Sequence[Correction]) -> Corrected:
    """Apply `AppliedCorrections.decisions` to the data that they changed once, under whatever name gives the labels."""
    if not decisions:
        return Corrected(image_set=image_set)
    return apply_corrections(image_set, [replace(each, label_source=image_set.label_source) for each in decisions])


def apply_corrections(image_set: ImageSet, corrections: Sequence[Correction]) -> Corrected:
    """Give the images the labels that were decided, and leave out those that are to be dropped.

    A decision counts for the image with its id, as long as the data give the label that they gave when it was decided.
    If they give the decided label already, there is nothing to do. Any other label is a problem: the data have changed
    since the decision. An id that the data lack is a warning. If one label of an image is to be another that the
    data give it as well, the row with the other one alone stays. Where an image may have several labels, a decision is
    about all of them. Decisions about labels from another source (`ImageSet.label_source`) change nothing, which is a
    warning: the same image may be 'yes' in one column and 'yes' in another. Texts are compared in one Unicode form.
    """
    spellings = DataSpellings(image_set)
    cells, corrections = spellings.cells, [spellings.correction(each) for each in corrections]
    by_id: dict[str, list[int]] = defaultdict(list)
    for row, identifier in enumerate(image_set.train_ids):
        by_id[identifier].append(row)
    y, dropped = image_set.y.copy(), set[int]()
    decisions = [each for each in corrections if each.is_about(image_set.label_source)]
    changed = {(each.id, each.given) for each in decisions if each.label != each.given}
    problems = decided_twice(decisions)
    absent: list[str] = []
    effective: list[Correction] = []
    for each in decisions:
        labels = {cells.write(image_set.y[row]): row for row in by_id.get(each.id, ())}
        if not labels:
            absent.append(each.id)
        elif each.given not in labels:
            if each.label not in labels:
                problems.append(f"{each.row}: {_changed(each, list(labels))}")
        elif each.label is None:
            dropped.add(labels[each.given])
            effective.append(each)
        elif each.label != each.given and each.label in labels:
            if (each.id, each.label) in changed:
                problems.append(
                    f"{each.row}: {each.id!r} is to be {each.label!r}, and its other label {each.label!r} is to be "
                    "another one or dropped: decide which label it has"
                )
            else:
                dropped.add(labels[each.given])
                effective.append(each)
        elif each.label != each.given:
            try:
                y[labels[each.given]] = cells.read(each.label)
                effective.append(each)
            except DataError as error:
                problems.append(f"{each.row}: {each.id!r} is to be {error.problems[0]}")
    kept = [row for row in range(len(y)) if row not in dropped]
    problems += _emptied(image_set, class_counts(y[kept], len(image_set.class_names)).tolist())
    if problems:
        return Corrected(image_set=image_set, problems=tuple(problems))
    warnings = [*image_set.warnings, *_source_warnings(image_set.label_source, corrections)]
    if absent:
        warnings.append(
            f"{CORRECTIONS_FILE} decides about {counted(len(absent), 'image')} that the data lack: {listed(absent, 3)}"
        )
    left = {image_set.train_ids[row] for row in kept}
    rows = sum(image_set.train_ids[row] in left for row in dropped)
    applied = AppliedCorrections(
        file=CORRECTIONS_FILE,
        corrected=int((y != image_set.y).reshape(len(y), -1).any(axis=1).sum()),
        dropped=len(dropped) - rows,
        dropped_rows=rows,
        several_labels=image_set.several_labels,
        decisions=tuple(effective),
    )
    notes = [*image_set.notes, *([applied.sentence] if applied.changes else [])]
    corrected = replace(image_set, y=y, notes=tuple(notes), warnings=tuple(warnings), corrections=applied)
    return Corrected(image_set=corrected.subset(kept) if dropped else corrected)


def _source_warnings(label_source: str, corrections: Sequence[Correction]) -> Iterator[str]:
    """Warnings about decisions on labels from another source, and about those whose source is not on record."""
    others = Counter(each.label_source for each in corrections if not each.is_about(label_source))
    for other, count in others.items():
        yield (
            f"not applied: {count} decision{'s' * (count != 1)} in {CORRECTIONS_FILE} about the labels of {other!r}; "
            f"the labels here are those of {label_source!r}. If these are the same labels under a new name, write it "
            "into the column label_source"
        )
    if unknown := sum(not each.label_source for each in corrections):
        yield (
            f"{CORRECTIONS_FILE} has {unknown} decision{'s' * (unknown != 1)} without a label_source; applied to the "
            f"labels of {label_source!r}. If that is right, write {label_source!r} into the fifth column, label_source"
        )


def _changed(correction: Correction, labels: Sequence[str]) -> str:
    now = " and ".join(map(repr, labels))
    return f"{correction.id!r} had the label {correction.given!r} when it was decided, and has {now} now"


def _emptied(image_set: ImageSet, counts: Sequence[int]) -> Iterator[str]:
    before = image_set.class_counts()
    for name, had, has in zip(image_set.class_names, before, counts, strict=True):
        if had and not has:
            yield f"{CORRECTIONS_FILE} leaves no image with the label {name!r}, of which the data have {had}"


def other_corrections_beside(image_set: ImageSet) -> bool:
    """Whether `CORRECTIONS_FILE` in the folder of a data set would now change other labels than it did in this one."""
    applied = set() if image_set.corrections is None else {_key(each) for each in image_set.corrections.decisions}
    path = corrections_path(image_set)
    try:
        found = read_corrections(path) if os.path.lexists(path) else []
    except DataError:
        return True
    spellings = DataSpellings(image_set)
    labels: dict[str, set[str]] = defaultdict(set)
    for identifier, label in zip(image_set.train_ids, image_set.y, strict=True):
        labels[identifier].add(spellings.cells.write(label))
    about = (each for each in map(spellings.correction, found) if each.is_about(image_set.label_source))
    now = {_key(each) for each in about if each.label != each.given}
    return not applied <= now or any(given in labels[identifier] for identifier, given, _ in now - applied)


def _key(correction: Correction) -> tuple[str, str, str | None]:
    return correction.id, correction.given, correction.label


def check_corrections(image_set: ImageSet, corrections: Sequence[Correction]) -> AppliedCorrections:
    """What ``corrections`` would change in a data set that was read without any.

    Raises:
        DataError: they do not fit the data; every problem is listed.
    """
    corrected = apply_corrections(image_set, corrections)
    if corrected.problems:
        raise DataError(corrected.problems, "Nothing was changed")
    applied = corrected.image_set.corrections
    assert applied is not None
    return applied
