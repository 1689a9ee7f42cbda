"""Cross-validation folds: stratified by label, near-duplicates in one fold, determined by the data and a seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, counted, listed
from trainer.data.image_set import ImageSet
from trainer.evaluation.several_labels import has_several
from trainer.formats.delimited import read_table, write_table
from trainer.formats.labels import spelled_as_among

SHOWN_CLASSES = 3  # rare classes that are named one by one
COLUMNS = ("image_id", "label", "group", "fold")


def fold_groups(image_set: ImageSet, duplicate_groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the sets of training images that must share a fold: int64 (n,), from 0 in order of their first image.

    Images are joined if they are duplicates, have one id, or have the same value in the group column (an empty value
    joins nothing). Without that column, versions of one image by their names are joined, too. The groups are the
    connected components: a duplicate of a patient's picture pulls in that patient's other pictures.

    Args:
        duplicate_groups: int64 (n + m,), as in `trainer.data.duplicates.DuplicateReport`: the groups of the m test
            images follow and are not used.
    """
    # The import takes half a second, and most commands need no groups.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(image_set.train_ids)
    # Each column joins the images with equal values. An id may be listed twice, with two labels.
    columns: list[Sequence[object]] = [duplicate_groups[:n].tolist(), image_set.train_ids]
    groups = image_set.versions.keys if image_set.groups is None else image_set.groups
    # An empty value becomes the image's own number, which no other image has.
    columns.append([group or image for image, group in enumerate(groups)])
    # One edge for each image and column, to the first image with the same value.
    edge_starts = np.tile(np.arange(n), len(columns))
    edge_ends: list[int] = []
    for column in columns:
        first_image_of: dict[object, int] = {}
        edge_ends += [first_image_of.setdefault(value, image) for image, value in enumerate(column)]
    graph = coo_array((np.ones(len(edge_starts)), (edge_starts, edge_ends)), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    # Number the components by their first image: SciPy guarantees no order, and the folds depend on these numbers.
    _, first_image, group = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_image))[group].astype(np.int64)


def make_folds(y: NDArray[np.int64], groups: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Assign each image to a fold 0 .. n_folds - 1: int64 (n,).

    A group is never split. Groups of several images are assigned first, from the largest to the smallest, each to the
    fold that holds the smallest share of the group's classes. Then the single images of each class are shuffled; each
    goes to the fold with the fewest images of that class, on a tie to the smallest fold. If every group is a single
    image, the class counts of two folds differ by at most one, and so do their sizes. The same arguments give the
    same folds on every machine. Images with several labels are divided by `_stratified_by_labels`.

    Args:
        y: int64 (n,), classes from 0; or (n, C), 0 and 1 for each of several labels.
        groups: int64 (n,), images of one group have the same number; any numbers are allowed.

    Raises:
        DataError: fewer than two folds, fewer groups than folds, or a fold that would be empty.
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if n_folds < 2:
        raise DataError(f"{n_folds} folds: cross-validation needs at least 2")
    if len(sizes) < n_folds:
        raise DataError(f"{len(y)} images in {len(sizes)} groups cannot be split into {n_folds} folds")
    rng = np.random.default_rng(seed)
    if has_several(y):
        of_group = np.zeros((len(sizes), y.shape[1]), np.int64)
        np.add.at(of_group, group_of, y)
        return _checked(_stratified_by_labels(of_group, sizes, n_folds, rng)[group_of].reshape(len(y)), n_folds)
    n_classes = int(y.max()) + 1
    class_sizes = np.maximum(np.bincount(y, minlength=n_classes), 1)
    counts = np.zeros((n_folds, n_classes), np.int64)  # images of each class in each fold
    fold_of_group = np.full(len(sizes), -1, np.int64)
    shuffled = rng.permutation(len(sizes))
    members = np.split(np.argsort(group_of, kind="stable"), np.cumsum(sizes)[:-1])
    for group in sorted((g for g in shuffled if sizes[g] > 1), key=lambda g: -int(sizes[g])):
        group_counts = np.bincount(y[members[group]], minlength=n_classes)
        share = counts @ (group_counts / class_sizes)
        fold = np.lexsort((counts.sum(axis=1), np.round(share, 12)))[0]
        fold_of_group[group] = fold
        counts[fold] += group_counts
    singles = np.array([g for g in shuffled if sizes[g] == 1], np.int64)
    single_labels = np.array([y[members[g][0]] for g in singles], np.int64)
    for label in range(n_classes):
        for group in singles[single_labels == label]:
            fold = np.lexsort((counts.sum(axis=1), counts[:, label]))[0]
            fold_of_group[group] = fold
            counts[fold, label] += 1
    return _checked(fold_of_group[group_of].reshape(len(y)), n_folds)


def _checked(folds: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    if len(np.unique(folds)) < n_folds:
        raise DataError(f"the groups are too large for {n_folds} folds: one fold would be empty; use fewer folds")
    return folds


def _stratified_by_labels(
    counts: NDArray[np.int64], sizes: NDArray[np.int64], n_folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The fold of each group of images with several labels: iterative stratification.

    Sechidis et al. 2011, "On the Stratification of Multi-Label Data": the label with the fewest images that are left
    is divided first, because later its images could no longer be spread. Each goes to the fold that lacks this label
    most, on a tie to the one that lacks most images. Here a group takes the place of an image, the largest ones first,
    and images without a label come last. The package iterative-stratification divides single images only.

    Args:
        counts: (groups, C), images of each group with each label.
        sizes: (groups,), images of each group.
    """
    fold_of = np.full(len(sizes), -1, np.int64)
    lacks = np.tile(counts.sum(axis=0) / n_folds, (n_folds, 1))  # images of each label that each fold still lacks
    lacks_images = np.full(n_folds, sizes.sum() / n_folds)
    rank = np.lexsort((rng.permutation(len(sizes)), -sizes))  # groups in the order in which they are assigned
    left = counts.sum(axis=0)
    while True:
        label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max))) if left.any() else None
        open_ones = rank[fold_of[rank] < 0]
        chosen = open_ones if label is None else open_ones[counts[open_ones, label] > 0]
        for group in chosen:
            first = np.zeros(n_folds) if label is None else lacks[:, label]
            fold = np.lexsort((np.round(-lacks_images, 9), np.round(-first, 9)))[0]
            fold_of[group] = fold
            lacks[fold] -= counts[group]
            lacks_images[fold] -= sizes[group]
            left = left - counts[group]
        if label is None:
            return fold_of


def fold_warnings(
    y: NDArray[np.int64], groups: NDArray[np.int64], class_names: Sequence[str], n_folds: int
) -> list[str]:
    """Sentences on the classes that cannot be in every fold, because they have fewer groups than there are folds.

    Returns:
        A sentence for each class, or one for all if there are more than `SHOWN_CLASSES`.
    """
    warnings, few = [], []
    for label, name in enumerate(class_names):
        own = y[:, label] == 1 if has_several(y) else y == label
        n_images, n_groups = int(own.sum()), len(np.unique(groups[own]))
        if n_groups < n_folds:
            few.append(f"{name!r} ({n_groups})")
            stays = "stays" if n_groups == 1 else "stay"
            in_groups = f" in {counted(n_groups, 'group')} that {stays} together" if n_groups < n_images else ""
            warnings.append(
                f"the class {name!r} has {counted(n_images, 'image')}{in_groups}, fewer than the "
                f"{n_folds} folds: some folds are scored without this class"
            )
    if len(few) > SHOWN_CLASSES:
        return [
            f"{len(few)} classes have fewer images or groups than the {n_folds} folds, such as "
            f"{', '.join(few[:SHOWN_CLASSES])}: some folds are scored without them"
        ]
    return warnings


def write_folds_csv(
    path: Path,
    *,
    ids: Sequence[str],
    labels: Sequence[str],
    groups: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> None:
    """Write one row per training image with the columns `COLUMNS`; a failure leaves no partial file."""
    rows = zip(ids, labels, map(str, groups.tolist()), map(str, folds.tolist()), strict=True)
    write_table(path, [COLUMNS, *rows])


def read_folds_csv(path: Path, ids: Sequence[str]) -> NDArray[np.int64]:
    """Read the folds of the training images ``ids``, in their order: int64 (n,), numbered from 0 without gaps.

    The table needs the columns ``image_id`` and ``fold``; other columns are ignored. Its ids may have another Unicode
    form than ``ids``.

    Raises:
        DataError: a missing column, an unknown or missing id, an id in two folds, or fold numbers that are not
            0 .. K-1. Every bad row is named.
    """
    table = read_table(path)
    header = [cell.strip() for cell in table.rows[0]]
    for column in ("image_id", "fold"):
        if column not in header:
            raise DataError(f"{path.name} has no column {column!r}; it has {listed(header)}")
    id_column, fold_column = header.index("image_id"), header.index("fold")
    known, spelled = set(ids), spelled_as_among(ids)
    problems: list[str] = []
    folds: dict[str, int] = {}
    for index, row in enumerate(table.rows[1:], 1):
        identifier, fold = spelled(row[id_column]), row[fold_column].strip()
        if identifier not in known:
            problems.append(f"{table.row_name(index)}: {identifier!r} is not a training image")
        elif not (fold.isascii() and fold.isdigit()):
            problems.append(f"{table.row_name(index)}: the fold {fold!r} is not a number 0, 1, 2, ...")
            folds.setdefault(identifier, 0)
        elif folds.setdefault(identifier, int(fold)) != int(fold):
            problems.append(f"{table.row_name(index)}: the id {identifier!r} is given twice, in different folds")
    if absent := [identifier for identifier in ids if identifier not in folds]:
        problems.append(f"{path.name} has no row for {counted(len(absent), 'training image')}: {listed(absent, 5)}")
    used = sorted(set(folds.values()))
    if not problems and (len(used) < 2 or used != list(range(len(used)))):
        problems.append(f"{path.name}: the folds are {used}; number at least two folds 0, 1, ... without gaps")
    if problems:
        raise DataError(problems)
    return np.array([folds[identifier] for identifier in ids], np.int64)
