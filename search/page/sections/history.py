"""Is the search done: scores of the trials in their order, the noise of the best, what further trials may gain."""

from __future__ import annotations

import math
from dataclasses import dataclass

from search.page import text
from search.page.facts import Facts
from search.page.svg.charts import Frame, Point, chart, x_scale, y_scale
from search.page.svg.shapes import Drawing
from search.report.live.progress import recipe_difference
from search.statistics.expected_gain import gain_of_trial, resampled_gain
from search.statistics.ranking import highest_of
from storage.values import TrialRecord, TrialStatus

FURTHER = 10
"""Number of further trials whose gain is estimated."""
SHOWN_BELOW = 3.0
"""Scores further below the median than this many interquartile ranges are drawn at the lower edge."""


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A row of the table of trials."""

    name: str
    status: str
    score: str
    duration: str
    recipe: str


@dataclass(frozen=True, kw_only=True)
class HistoryView:
    """The course of the search."""

    summary: str
    """One sentence on what the picture shows."""
    lines: tuple[str, ...]
    drawing: Drawing | None
    """None before a trial has finished."""
    rows: tuple[TrialRow, ...]
    """All ended trials by number."""


def history(facts: Facts) -> HistoryView:
    """The history of all ended trials and probes."""
    records = sorted(facts.snapshot.records, key=lambda record: (record.number is None, record.number or 0))
    rows = tuple(_row(record, facts) for record in records)
    finished = facts.finished
    if not finished:
        return HistoryView(summary="No trial has finished yet.", lines=(), drawing=None, rows=rows)
    best = facts.snapshot.ranking[0]
    others = [record for record in finished if record.number != best.number]
    alike = sum((record.value or 0.0) >= best.value - best.standard_error for record in others)
    if not others:
        summary = "Only the leader has finished."
    elif not alike:
        which = "The only other result is" if len(others) == 1 else f"All {len(others)} other results are"
        summary = f"{which} more than one standard error below the leader."
    else:
        summary = (
            f"{alike} of {text.counted(len(others), 'other result')} {'is' if alike == 1 else 'are'} within one "
            "standard error of the leader, in the shaded band or above it: chance may have decided between them."
        )
    drawing, outside = _drawing(facts, finished)
    lines = [*_honest(facts), *_further(facts)]
    if outside:
        lines.append(f"{text.counted(outside, 'score')} below the axis {'is' if outside == 1 else 'are'} at its edge.")
    return HistoryView(summary=summary, lines=tuple(lines), drawing=drawing, rows=rows)


def _row(record: TrialRecord, facts: Facts) -> TrialRow:
    finished = record.status is TrialStatus.FINISHED
    return TrialRow(
        name="a trial without number" if record.number is None else text.trial_name(record),
        status=str(record.status),
        score=text.score(record.value, record.value_se) if finished else "-",
        duration=text.seconds(record.seconds),
        recipe=recipe_difference(record, facts.default) if record.recipe else text.name(record.reason),
    )


def _honest(facts: Facts) -> list[str]:
    """The leader's score as seen, and without selection bias. The ranking weighs the Brier score as well, so another
    trial may have a higher score.
    """
    found = facts.optimism
    if found is None:
        return []
    name, metric = facts.snapshot.name_of(found.best.number), facts.metric
    score = f"{metric} {text.score(found.best.value, found.best.standard_error)} ({name})"
    highest = highest_of([found.best, *facts.snapshot.ranking])
    seen = f"Best seen: {score}."
    if highest is not found.best:
        other = f"{facts.snapshot.name_of(highest.number)} has the highest {metric}, {text.score(highest.value)}"
        seen = f"In the lead, with the Brier score: {score}; {other}."
    if len(facts.finished) < 2:
        return [seen]
    if not found.has_bias:
        return [f"{seen} Nested selection finds no selection bias in it."]
    unbiased = text.score(found.unbiased.score, found.unbiased.error)
    return [f"{seen} Without selection bias: {unbiased}, because the same images chose it (nested selection)."]


def _further(facts: Facts) -> list[str]:
    """What the next trials may gain. A probe is no draw of the sampler, and of all trials only a share finishes."""
    trials = [record for record in facts.finished if not record.is_probe]
    counted = [record for record in facts.snapshot.records if record.counts]
    scores, errors = [r.value or 0.0 for r in trials], [r.value_se or 0.0 for r in trials]
    expected = round(FURTHER * len(trials) / len(counted)) if counted else 0
    ends = resampled_gain(scores, errors, expected), gain_of_trial(scores, errors, expected)
    least, most = min(ends), max(ends)
    if math.isinf(most):
        return ["What further trials may gain is unknown before three trials have finished (probes do not count)."]
    finish = f", of which about {expected} finish," if expected < FURTHER else ""
    behind = (facts.leader.value or 0.0) - max(scores) if facts.leader is not None else 0.0
    if behind > most:
        end = f", which is not expected to reach the leader: it is {behind:.4f} better than the best fine-tuned trial"
    else:
        noise = facts.snapshot.ranking[0].standard_error
        end = ": less than the standard error of the best" if most < noise else ""
    return [
        f"The next {FURTHER} trials{finish} may still gain {least:.4f} to {most:.4f} in {facts.metric}{end}. Both ends "
        "take the scores so far as independent draws and leave out their noise: the lower one draws from these scores, "
        "the upper one from a normal distribution."
    ]


def _drawing(facts: Facts, finished: list[TrialRecord]) -> tuple[Drawing, int]:
    """The picture, and the number of scores below its axis."""
    values = sorted(record.value or 0.0 for record in finished)
    quarter, median = values[len(values) // 4], values[len(values) // 2]
    floor = median - SHOWN_BELOW * max(values[3 * len(values) // 4] - quarter, values[-1] - median)
    shown = [v for v in values if v >= floor]
    largest_error = max((r.value_se or 0.0 for r in finished), default=0.0) if len(finished) <= 60 else 0.0
    best = facts.snapshot.ranking[0]
    band = (best.value - best.standard_error, best.value + best.standard_error)
    y = y_scale([shown[0] - largest_error, shown[-1] + largest_error, *band])
    points, steps, so_far = [], [], -math.inf
    for record in finished:
        number, value = float(record.number or 0), record.value or 0.0
        so_far = max(so_far, value)
        steps.append((number, so_far))
        style = "chosen" if record.number == best.number else "probe" if record.is_probe else "dot"
        hint = f"{text.trial_name(record)}: {text.score(value, record.value_se)}"
        points.append(Point(x=number, y=value, error=record.value_se or 0.0, style=style, hint=hint))
    if len(points) > 300:  # error bars of so many points are a grey area
        points = [Point(x=p.x, y=p.y, style=p.style, hint="") for p in points]
    last = max(r.number or 0 for r in facts.snapshot.records if r.number is not None)
    if steps[-1][0] < last:
        steps.append((float(last), so_far))
    frame = Frame(
        title=f"{facts.metric} of each finished trial, and the best up to its number",
        x_label="number of the trial",
        y_label=facts.metric,
        x=x_scale([steps[0][0], float(last)], whole=True),
        y=y,
    )
    return chart(frame, points, steps=steps, band=band), len(values) - len(shown)
