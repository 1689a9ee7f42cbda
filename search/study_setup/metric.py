"""Whether the metric and the recipes of a study fit the number of labels that an image has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from search.runtime.console import note
from studies.errors import StudyError
from studies.file.catalog import is_bundled
from studies.spec import StudySpec
from trainer.common.errors import listed
from trainer.data.image_set import ImageSet
from trainer.evaluation.metrics import METRICS, metrics_for
from trainer.recipe.recipe import KEEP

FIELD = "protocol.metric"
"""The setting."""


def fit_metric(
    spec: StudySpec, overrides: Sequence[str], study: str, images: ImageSet, console: Console
) -> tuple[StudySpec, Sequence[str]]:
    """The settings with a metric that fits the images: that of the study, or one for images with several labels.

    The metric of a shipped study is a default for images with one label each. Where images have several, the sample
    submission suggests another one: labels are scored by their F1, probabilities by ROC AUC. A note says so.

    Args:
        overrides: the settings that the user has changed.
        study: name or path of the study file.

    Returns:
        The settings and the overrides, with one more where the metric was replaced.

    Raises:
        StudyError: the user has chosen a metric that does not fit, or recipes judge labels of images with several.
    """
    possible = metrics_for(images.several_labels)
    chosen = any(text.startswith(f"{FIELD}=") for text in overrides) or not is_bundled(study)
    if spec.protocol.metric in possible or chosen or not images.several_labels:
        check_labels(spec, images)
        return spec, overrides
    _check_judging(spec, images)
    as_labels = images.submission is not None and images.submission.kind == "labels"
    found = "mean_f1" if as_labels else "roc_auc"
    note(
        console,
        f"the metric is {found} ({METRICS[found].doc}), because an image may have several labels; --set {FIELD}=METRIC "
        f"chooses another one: {listed(possible, len(possible))}",
    )
    return replace(spec, protocol=replace(spec.protocol, metric=found)), [*overrides, f"{FIELD}={found}"]


def check_labels(spec: StudySpec, images: ImageSet) -> None:
    """Check that the metric and the recipes fit the number of labels that an image has.

    Raises:
        StudyError: they do not.
    """
    _check_judging(spec, images)
    metric, possible = spec.protocol.metric, metrics_for(images.several_labels)
    if metric not in possible:
        labels = "several labels" if images.several_labels else "one label"
        raise StudyError(
            f"the metric {metric} does not fit images with {labels} each; --set {FIELD}=METRIC chooses another one: "
            f"{listed(possible, len(possible))}"
        )


def _check_judging(spec: StudySpec, images: ImageSet) -> None:
    """
    Raises:
        StudyError: recipes judge labels of images with several.
    """
    judging = [value for value in spec.values_of("suspicious_labels") if value != KEEP]
    if images.several_labels and judging:
        raise StudyError(
            f"suspicious_labels = {judging[0]!r} judges whether an image has the one right label, but images may have "
            f"several: leave {KEEP!r} alone"
        )
