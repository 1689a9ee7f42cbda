"""A summary of a data set as lines of text, printed by ``search check``."""

from __future__ import annotations

import numpy as np

from trainer.common.errors import counted, first_lines
from trainer.data.duplicates import DuplicateReport
from trainer.data.folds import fold_groups, fold_warnings
from trainer.data.image_set import ImageSet
from trainer.formats.submission import SubmissionFormat

LONGEST_LINE = 500
"""Characters of a line about the data: names of classes and columns may be far longer."""
_SHOWN = 10  # classes, pairs or warnings listed in full
_KIND_TEXT = {
    "label": "one label per image",
    "integer": "one whole number per image",
    "probabilities": "one probability per class",
    "probability": "one probability per image",
    "labels": "all labels of an image in one cell",
    "indicators": "0 or 1 for each class",
    None: "labels or probabilities: the sample does not say, the metric decides",
}


def describe(image_set: ImageSet, duplicates: DuplicateReport, n_folds: int) -> list[str]:
    """Lines on format, classes, sizes, test images, submission format and near-duplicates, then ``warning: ...`` lines.

    Args:
        n_folds: number of folds for which classes with too few images are reported.
    """
    lines = [f"format: {image_set.reader}", *(f"  {note}" for note in image_set.notes)]
    counts = image_set.class_counts()
    n, several = len(image_set.train_ids), image_set.several_labels
    lines.append(f"training images: {n} in {counted(len(counts), 'class')}")
    if several:
        of_image = image_set.y.sum(axis=1)
        lines.append(
            f"  several labels an image: {of_image.mean():.2f} on average, at most {of_image.max()}; "
            f"{counted(int((of_image == 0).sum()), 'image')} without a label"
        )
    order = np.argsort(-counts, kind="stable")
    # Shares of several labels add up to more than 1.
    whole = n if several else counts.sum()
    lines += [f"  {image_set.class_names[c]}: {counts[c]} ({counts[c] / whole:.1%})" for c in order[:_SHOWN]]
    if len(order) > _SHOWN:
        rest = counts[order[_SHOWN:]]
        images = counted(int(rest.max()), "image")
        if rest.min() < rest.max():
            images = f"{rest.min()} to {images}"
        lines.append(f"  and {counted(len(rest), 'more class')} with {images}{' each' * (len(rest) > 1)}")
    lines += _sizes(image_set)
    if image_set.groups is not None:
        values = counted(len(set(image_set.groups)), "value")
        lines.append(f"groups: {values} of the group column; images with the same value stay in one fold")
    lines += version_lines(image_set)
    lines.append(f"test images: {len(image_set.test_ids)}")
    if image_set.submission is not None:
        lines.append(_submission(image_set.submission, from_table=image_set.reader == "table"))
    lines += duplicate_lines(image_set, duplicates)
    if image_set.skipped:
        lines.append(f"left out: {counted(len(image_set.skipped), 'training image')}")
    groups = fold_groups(image_set, duplicates.groups)
    few = fold_warnings(image_set.y, groups, image_set.class_names, n_folds)
    warnings = [*first_lines(image_set.warnings, _SHOWN), *few]
    return [*lines, *(f"warning: {warning}" for warning in warnings)]


def duplicate_lines(image_set: ImageSet, duplicates: DuplicateReport) -> list[str]:
    """Lines that count the near-duplicates and name those with two labels and those in both train and test."""
    if not len(duplicates.pairs):
        return ["near-duplicates: none"]
    n = len(image_set.train_ids)
    sizes = np.bincount(duplicates.groups)
    ids = (*image_set.train_ids, *(f"\n{identifier}" for identifier in image_set.test_ids))  # no id of a training image
    count = sum(ids[i] != ids[j] for i, j in duplicates.pairs)
    if not count:
        return ["near-duplicates: none but the images in several rows"]
    lines = [
        f"near-duplicates: {counted(count, 'pair')}; {counted(int((sizes > 1).sum()), 'group')} of up to "
        f"{sizes.max()} images, each kept in one fold"
    ]

    def label(i: int) -> str:
        return f"{image_set.train_ids[i]} ({image_set.label_of(i)})"

    two_labels = [f"{label(i)} and {label(j)}" for i, j in duplicates.two_labels]
    train_and_test = [f"{label(i)} and {image_set.test_ids[j - n]}" for i, j in duplicates.train_and_test]
    for title, found in (("with two labels", two_labels), ("in both train and test", train_and_test)):
        if found:
            lines.append(f"  {title}: {counted(len(found), 'pair')}")
            lines += [f"    {pair}" for pair in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"    and {len(found) - _SHOWN} more")
    return lines


def version_lines(image_set: ImageSet) -> list[str]:
    """A line that counts the altered versions of images by their names; empty without any, or with a group column."""
    found = image_set.versions.members if image_set.groups is None else []
    if not found:
        return []
    first, second = (image_set.train_ids[index] for index in found[0][:2])
    images = sum(map(len, found))
    return [
        f"altered versions by their names: {images} images of {counted(len(found), 'original')}, such as {first} and "
        f"{second}; those of one original stay in one fold"
    ]


def _sizes(image_set: ImageSet) -> list[str]:
    if image_set.inspected is None:
        return []
    sizes, counts = np.unique(image_set.inspected.sizes, axis=0, return_counts=True)
    height, width = sizes[counts.argmax()]
    if len(sizes) == 1:
        return [f"size: {width} x {height} pixels (width x height)"]
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    return [
        f"sizes: {low[1]} to {high[1]} pixels wide, {low[0]} to {high[0]} high; most often {width} x {height} "
        f"({counts.max() / counts.sum():.0%})"
    ]


def _submission(form: SubmissionFormat, *, from_table: bool) -> str:
    source = f"as in {form.source}" if form.source else "no sample" + ": columns as in the training table" * from_table
    if form.header is None:
        header = "no header"
    elif 0 < len(form.header) <= _SHOWN:
        header = f"header {form.delimiter.join(form.header)}"
    else:
        header = counted(len(form.header), "column")
    parts = [source, header.replace("\t", " <tab> "), _KIND_TEXT[form.kind]]
    return "submission: " + "; ".join(parts)
