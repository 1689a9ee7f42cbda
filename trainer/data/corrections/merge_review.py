"""Make corrections from a review that a person has filled in, and join them with the earlier ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.common.errors import DataError, suggest
from trainer.data.corrections.data_spellings import DataSpellings
from trainer.data.corrections.label_cells import LabelCells
from trainer.data.image_set import ImageSet
from trainer.data.readers.columns.several_labels import NO_LABELS
from trainer.formats.label_tables import CLASS_PREFIX, DROP, KEEP, Correction, ReviewRow, decided_twice, is_keyword
from trainer.inference.predictions import SEPARATOR


@dataclass(frozen=True, kw_only=True)
class MergedReview:
    """The corrections after a review."""

    corrections: tuple[Correction, ...]
    """The earlier ones in their order, those about labels from other sources first, then the new ones in that of the
    review."""
    decided: int
    """Rows of the review with a decision."""
    undecided: int
    """Rows of the review without one."""


@dataclass(frozen=True, kw_only=True)
class _Labelled:
    """One label that the data give an image, and the label that the image has by the earlier corrections.

    Each is a cell of `LabelCells`: of images with several labels it holds all of them.
    """

    given: str
    label: str | None
    """None: the image is left out."""


def merge_review(image_set: ImageSet, earlier: Sequence[Correction], review: Sequence[ReviewRow]) -> MergedReview:
    """Check all decisions of a review and join them with the earlier corrections.

    A review may be of a study on the corrected labels. Its ``given`` is therefore the label by the earlier corrections,
    or the label in the data. A new decision replaces the earlier one about the same image and label, and those about
    labels that the data no longer give this image. Earlier decisions about labels from another source stay.

    Args:
        image_set: the data set without corrections.

    Raises:
        DataError: decisions about labels from another source, ids or classes that do not exist, labels that are not
            the image's, or two decisions about one label; every problem is listed.
    """
    spellings = DataSpellings(image_set)
    cells = spellings.cells
    decided = [spellings.review_row(row) for row in review if row.decision]
    _check_source(image_set.label_source, decided)
    earlier = [spellings.correction(each) for each in earlier]
    apart = [each for each in earlier if not each.is_about(image_set.label_source)]
    earlier = [each for each in earlier if each.is_about(image_set.label_source)]
    labelled = _labels_by_id(image_set, earlier, cells)
    after = {(each.id, each.given): each for each in earlier}
    new: dict[tuple[str, str], tuple[ReviewRow, str | None]] = {}
    problems = decided_twice(earlier)
    for row in decided:
        try:
            labels = _labels_of(row, labelled)
            given = _given(row, labels, cells)
            label = _label(row, cells)
        except DataError as error:
            problems += error.problems
            continue
        key = (row.id, given)
        if key in new and new[key][1] != label:
            problems.append(f"{row.row}: {row.id!r} is decided differently in {new[key][0].row}")
            continue
        new[key] = row, label
        after[key] = Correction(
            id=row.id,
            given=given,
            label=label,
            fingerprint=image_set.fingerprint,
            label_source=image_set.label_source,
            row=row.row,
        )
    if problems:
        raise DataError(
            problems,
            f"A decision is {KEEP}, {DROP}, {_what(cells)}, or empty. Nothing was changed: mend these rows and "
            "type the same command again",
        )
    renewed = {identifier for identifier, _ in new}
    kept = [each for each in after.values() if each.id not in renewed or _is_given(each, labelled[each.id])]
    return MergedReview(
        corrections=(*apart, *kept),
        decided=len(decided),
        undecided=len(review) - len(decided),
    )


def _what(cells: LabelCells) -> str:
    """What a decision may be beside `KEEP` and `DROP`, as a part of a sentence."""
    if not cells.several:
        return "the name of a class"
    return f"all labels of the image with {SEPARATOR} between them ({NO_LABELS}: none)"


def _check_source(label_source: str, decided: Sequence[ReviewRow]) -> None:
    """Refuse decisions about labels from another source."""
    others = [row for row in decided if row.label_source not in ("", label_source)]
    if others:
        raise DataError(
            f"{others[0].row} decides about the labels of {others[0].label_source!r}, but the study reads those of "
            f"{label_source!r}: name the study that was reviewed (--study NAME). If these are the same labels under a "
            "new name, write it into the column label_source"
        )


def _is_given(correction: Correction, labels: Sequence[_Labelled]) -> bool:
    """Whether the data still give the label that was decided about."""
    return any(each.given == correction.given for each in labels)


def _labels_by_id(image_set: ImageSet, earlier: Sequence[Correction], cells: LabelCells) -> dict[str, list[_Labelled]]:
    corrected = {(each.id, each.given): each.label for each in earlier}
    labelled: dict[str, list[_Labelled]] = defaultdict(list)
    for identifier, label in zip(image_set.train_ids, image_set.y, strict=True):
        given = cells.write(label)
        labelled[identifier].append(_Labelled(given=given, label=corrected.get((identifier, given), given)))
    return labelled


def _labels_of(row: ReviewRow, labelled: Mapping[str, list[_Labelled]]) -> list[_Labelled]:
    found = labelled.get(row.id)
    if found is None:
        raise DataError(f"{row.row}: there is no training image {row.id!r}{suggest(row.id, labelled)}")
    return found


def _given(row: ReviewRow, labels: Sequence[_Labelled], cells: LabelCells) -> str:
    """The label in the data that a row of the review is about."""
    given = cells.canonical(row.given)
    by_correction = [each.given for each in labels if each.label == given]
    by_data = [each.given for each in labels if each.given == given]
    for found in (by_correction, by_data):
        if found:
            return found[0]
    now = " and ".join(dict.fromkeys(repr(each.label or each.given) for each in labels))
    raise DataError(f"{row.row}: {row.id!r} has the label {now}, not {row.given!r}: was it changed after the review?")


def _label(row: ReviewRow, cells: LabelCells) -> str | None:
    """The label that a decision gives; None: the image is left out.

    Raises:
        DataError: the decision is no class, or could be a class as well as `KEEP` or `DROP`.
    """
    decision, class_names = row.decision, cells.class_names
    if is_keyword(decision):
        if any(name.lower() == decision.lower() for name in class_names):
            raise DataError(
                f"{row.row}: {decision!r} may be the decision or the class of that name: write "
                f"{CLASS_PREFIX}{decision} for the class; for the decision, rename the class in the data"
            )
        return cells.canonical(row.given) if decision.lower() == KEEP else None
    problems: list[str] = []
    for text in (decision, decision.removeprefix(CLASS_PREFIX)):
        try:
            return cells.write(cells.read(text))
        except DataError as error:
            problems += error.problems
    if cells.several:
        raise DataError(f"{row.row}: the decision is {problems[0]}")
    raise DataError(
        f"{row.row}: {decision!r} is no class, {KEEP} or {DROP}{suggest(decision, [*class_names, KEEP, DROP])}"
    )
