"""Choose the best one of several tables that may label the training images."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, counted, listed
from trainer.data.readers.columns.ambiguous_labels import NoLabelColumnError
from trainer.data.readers.columns.choose_columns import NoSuchColumnError
from trainer.data.readers.doubts.folder_choice import folders_choice
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.tables.find_tables import claim_level, is_named_training
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.class_lists import odd_rows


def best_table(
    folder: Path,
    files: ImageFiles,
    naming: Sequence[TrainingTable],
    class_folders: Sequence[str],
    notes: list[str],
    warnings: list[str],
) -> TrainingTable | None:
    """The table of labels among the tables that name images."""
    if not naming:
        return None
    lacking = [candidate for candidate in naming if isinstance(candidate.unclear, NoSuchColumnError)]
    if len(lacking) < len(naming):
        notes += [f"not read: {candidate.unclear}" for candidate in lacking]
        naming = [candidate for candidate in naming if candidate not in lacking]
    for candidate in list(naming):
        path = candidate.table.path
        optional = class_folders or path.suffix.lower() == ".txt" or len(naming) > 1
        if optional and isinstance(candidate.unclear, NoLabelColumnError):
            notes.append(f"not read: {place_of(folder, path)}, which has no column of labels")
            naming = [other for other in naming if other is not candidate]
    if not naming:
        return None
    clear = [candidate for candidate in naming if candidate.unclear is None]
    for candidate in list(naming):
        if candidate.unclear is not None and (whole := next(filter(candidate.is_excerpt_of, clear), None)):
            notes.append(f"not read: {place_of(folder, candidate.table.path)}, an excerpt of {whole.table.path.name}")
            naming = [other for other in naming if other is not candidate]
    sure = any(candidate.claims_labels() or candidate.columns.classes for candidate in clear)
    if not clear or (len(clear) < len(naming) and not sure):
        unclear = naming[0].unclear
        if len(naming) == 1 and (not class_folders or is_named_training(naming[0].table.path)):
            if not class_folders or unclear is None or isinstance(unclear, NoSuchColumnError):
                return naming[0]
            choice = folders_choice(folder, files)
            raise DataError(unclear.problems, f"If the folders {listed(class_folders, 4)} are the classes, {choice}")
        reasons = [problem for candidate in naming if candidate.unclear for problem in candidate.unclear.problems]
        folders = f"the folders {listed(class_folders, 4)} may be the classes; " * bool(class_folders)
        tables = listed(place_of(folder, candidate.table.path) for candidate in naming)
        choices = f"--table NAME (of {tables}) with --label-column NAME"
        if class_folders:
            choices += f"; if the folders are the classes, {folders_choice(folder, files)}"
        raise DataError(reasons, f"Several sources could give the labels: {folders}choose with {choices}")
    weaker = min(claim_level(candidate.table.path) for candidate in clear)
    for candidate in naming:
        if candidate.unclear is not None and claim_level(candidate.table.path) < weaker:
            raise candidate.unclear
    claims = {candidate: (not candidate.is_asked(), claim_level(candidate.table.path)) for candidate in clear}
    first = [candidate for candidate in clear if claims[candidate] == min(claims.values())]
    chosen = first[0] if len(naming) == 1 else max(first, key=lambda candidate: len(candidate.labels))
    for other in naming:
        if other is chosen:
            continue
        where = place_of(folder, other.table.path)
        if other.unclear is not None:
            notes.append(f"not read: {where}, which names images but has no clear column of labels")
            continue
        _compare(folder, chosen, other, equal=other in first)
        further = len(other.labels.keys() - chosen.labels.keys())
        if further:
            warnings.append(
                f"not read: {where}, which labels {counted(further, 'further image')}; --table NAME chooses it"
            )
        else:
            notes.append(f"not read: {where}")
    return chosen


def refuse_lost_labels(folder: Path, chosen: TrainingTable, lost: Sequence[TrainingTable]) -> None:
    """Refuse a table without a column of a usual name, while another one labels ids that name no image.

    Args:
        lost: tables that name no image.

    Raises:
        DataError: one of them has labels for several ids.
    """
    if chosen.owns_labels():
        return
    for candidate in lost:
        if candidate.owns_labels() and candidate.repeats_labels():
            names = [place_of(folder, table.table.path) for table in (candidate, chosen)]
            raise DataError(
                f"{names[0]} has labels, but its ids name no image, and are not in {names[1]}, which names images. "
                "Give the images of these ids in a table with the columns of ids and of image names, or add --table "
                f"{names[1]} (data.table) with --label-column NAME (data.label_column)"
            )


def refuse_other_question(folder: Path, files: ImageFiles, table: TrainingTable, class_folders: Sequence[str]) -> None:
    """Refuse a table whose only possible labels say something else than the class folders of its images.

    A column such as ``camera`` may be the only one with several rows of each value, and no label. A usual name of the
    table or of the column, and that of the sample submission, say that it is one.

    Raises:
        DataError: nothing says that the column holds labels.
    """
    columns = table.columns
    if columns.label is None or table.claims_labels():
        return
    known = {composed(name).casefold() for name in class_folders}
    pairs = {
        (composed(part).casefold(), label)
        for path, label in table.labels.items()
        for part in PurePosixPath(path).parts[:-1]
        if composed(part).casefold() in known
    }
    labels = {label for _, label in pairs}
    same = len(pairs) == len(labels) == len({part for part, _ in pairs})
    if not pairs or same or {composed(label).casefold() for label in labels} & known:
        return
    name, where = table.names[columns.label], place_of(folder, table.table.path)
    raise DataError(
        f"the labels may be the column {name!r} of {where}, or the folders {listed(class_folders, 4)} of the images. "
        f"Choose the column with --label-column {shlex.quote(name)} (data.label_column). If the folders are the "
        f"classes, {folders_choice(folder, files)}"
    )


def _compare(folder: Path, chosen: TrainingTable, other: TrainingTable, *, equal: bool) -> None:
    """Refuse two tables that contradict each other, or of which neither is the obvious one."""
    both = chosen.labels.keys() & other.labels.keys()
    names = listed(place_of(folder, candidate.table.path) for candidate in (chosen, other))
    same_question = set(chosen.labels.values()) & set(other.labels.values())
    differing = sorted(path for path in both if chosen.labels[path] != other.labels[path])
    if not same_question and differing:  # names in the one and numbers in the other
        paths = sorted(both)
        odd = odd_rows([chosen.labels[path] for path in paths], [other.labels[path] for path in paths])
        if odd:
            differing, same_question = [paths[row] for row in odd], {""}
        elif not equal:
            differing = []
    if differing and (same_question or equal):
        path = differing[0]
        raise DataError(
            f"{names} label {len(differing)} of {len(both)} images differently, such as {path} as "
            f"{chosen.labels[path]!r} and {other.labels[path]!r}. Choose one with --table NAME (data.table)"
        )
    if equal and other.labels.keys() - chosen.labels.keys():
        raise DataError(
            f"{names}: each of these could be the table of training labels. Choose one with --table NAME "
            "(data.table), or join them into one table"
        )


def found_images(candidate: TrainingTable) -> bool:
    """Whether a table names an image that is there, or its columns are unclear."""
    return candidate.unclear is not None or bool(candidate.labels)


def place_of(folder: Path, path: Path) -> str:
    """The path of a table in the data folder."""
    return path.relative_to(folder).as_posix()
