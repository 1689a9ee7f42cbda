"""Sentences about suspicious labels: how many there are, by which predictions, and how far those can be trusted."""

from __future__ import annotations

from collections.abc import Iterator

from search.page import text
from search.page.labels.candidates import Candidates
from trainer.common.errors import listed
from trainer.formats.label_tables import CORRECTIONS_FILE
from trainer.inference.printable import excerpt

SHOWN_NAMES = 8
"""Names of labels that a sentence lists."""


def summary(found: Candidates, decided: int = 0) -> Iterator[str]:
    """Sentences on the candidates.

    Args:
        decided: number of candidates that the corrections have decided about.
    """
    probes = sum(record.is_probe for record in found.averaged)
    counts = (("trial", len(found.averaged) - probes), ("linear probe", probes))
    source = " and ".join(text.counted(number, thing) for thing, number in counts if number)
    mean = "the mean out-of-fold predictions" if len(found.averaged) > 1 else "the out-of-fold predictions"
    left = len(found.candidates) - decided
    doubt = f"{text.counted(left, 'label')} may be wrong" if left else "No label looks wrong"
    if found.several_labels:
        doubt = (
            f"The labels of {text.counted(left, 'image')} may be wrong" if left else "The labels of no image look wrong"
        )
    yield (
        f"{doubt} by {mean} of {source} (confident learning), which {found.predicted}. Expected number of wrong "
        f"labels: about {found.expected} of {_judged(found)}."
        + " The predictions cannot tell the other wrong labels from right ones."
        * (found.expected > len(found.candidates) > 0)
        + " A hard image looks the same, so look at each one." * bool(left)
    )
    if found.unjudged:
        names = listed(map(excerpt, found.unjudged), SHOWN_NAMES)
        yield f"Not judged, because the predictions know no more of them than their frequency: {names}."
    if found.too_many:
        yield (
            "So many candidates are rather the fault of weak predictions than of the labels: a better trial, or "
            "`search probe DATA --weights FOLDER` with pre-trained weights, would tell them apart."
        )
    if decided:
        candidates = text.counted(decided, "further candidate")
        yield f"{candidates} {'is' if decided == 1 else 'are'} left out, decided in {CORRECTIONS_FILE} already."


def _judged(found: Candidates) -> str:
    if not found.several_labels:
        return f"{found.judged:,}"
    labels = len(found.dataset.class_names) - len(found.unjudged)
    return f"{text.counted(labels, 'label')} of {found.judged:,} images"
