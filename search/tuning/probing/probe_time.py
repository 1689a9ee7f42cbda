"""Whether a waiting probe of a study with a deadline may begin."""

from __future__ import annotations

from collections.abc import Sequence

from search.study_state.study import Study
from search.study_state.time_budget import MARGIN
from search.study_state.time_left import latest_probe_end, probes_end
from search.study_state.training_costs import predicted_cost
from search.tuning.probing.plan import SIZE_STEP
from storage.values import TrialRecord
from trainer.recipe.recipe import LINEAR_PROBE


def is_time_for_probe(
    study: Study, ended: Sequence[TrialRecord], backbone: str, now: float, *, on_larger_images: bool
) -> bool:
    """Whether another probe may begin before the probes have had their share of the time until the deadline.

    A probe on enlarged images has to end in time instead (`is_time_on_larger_images`). The first probe may always
    begin, and so may all where no trials follow.

    Args:
        ended: records of the probes that have ended.
        backbone: of the probe.
        now: Unix seconds on the database's clock.
        on_larger_images: whether its images are larger than those that compare backbones.
    """
    if study.deadline is None or study.budget == 0 or not ended:
        return True
    if not on_larger_images:
        return now < probes_end(study)
    return is_time_on_larger_images(study, ended, backbone, now)


def is_time_on_larger_images(study: Study, ended: Sequence[TrialRecord], backbone: str, now: float) -> bool:
    """Whether a probe of a backbone on images one step larger than before would end in time (`latest_probe_end`).

    The worker reduces larger images to the time.

    Args:
        ended, now: as in `is_time_for_probe`.
    """
    if study.deadline is None:
        return True
    sizes = [int(r.recipe["image_size"]) for r in ended if r.recipe and r.recipe["backbone"] == backbone]
    least = max(sizes, default=0) + SIZE_STEP
    cost = predicted_cost(ended, {"backbone": backbone, "method": LINEAR_PROBE, "image_size": least})
    seconds = MARGIN * cost.total(1) if cost is not None else 0.0
    return now + seconds < latest_probe_end(study, ended, backbone, least)
