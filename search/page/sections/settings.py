"""What matters: importance of the sampled settings, and the scores against the values of those that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from search.page import text
from search.page.facts import Facts
from search.page.sections.importance import LEAST_TRIALS, Importance, importances
from search.page.svg.charts import Frame, Point, categories_scale, chart, x_scale, y_scale
from search.page.svg.rows import Mark, Row, rows_chart
from search.page.svg.shapes import Drawing
from search.report.live.progress import short
from storage.values import TrialRecord, current_value

MOST_ROWS = 20
"""Largest number of settings in the picture."""
MOST_SLICES = 4
"""Largest number of settings whose values are drawn against the score."""
MOST_CATEGORIES = 12
"""Largest number of choices that are drawn; of more, the most frequent ones."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The scores against the values of one setting."""

    parameter: str
    summary: str
    drawing: Drawing
    rows: tuple[tuple[str, str, str], ...]
    """Name, value and score of each trial."""


@dataclass(frozen=True, kw_only=True)
class SettingsView:
    """Importance of the settings."""

    summary: str
    drawing: Drawing | None
    """None with too few trials."""
    rows: tuple[Importance, ...]
    slices: tuple[Slice, ...]


def settings(facts: Facts) -> SettingsView | None:
    """The importance of the sampled settings; None if the study samples none."""
    if facts.study.budget == 0 or not facts.study.spec.space:
        return None
    records = {r.number: r for r in facts.finished if not r.is_probe and r.number is not None}
    optuna_trials = facts.stores.optuna_study(facts.study.name).get_trials(
        deepcopy=False, states=(TrialState.COMPLETE,)
    )
    trials = [trial for trial in optuna_trials if trial.number in records]
    if len(trials) < LEAST_TRIALS:
        line = (
            f"Which settings matter shows from {LEAST_TRIALS} finished trials on; there are {len(trials)} so far "
            "(probes do not count)."
        )
        return SettingsView(summary=line, drawing=None, rows=(), slices=())
    found = importances(trials)
    if not found:
        return SettingsView(summary="No setting has two values yet.", drawing=None, rows=(), slices=())
    drawn = [
        Row(
            name=shown_parameter(row.parameter),
            marks=(
                Mark(value=row.share, style="dot" if row.matters else "faint", is_bar=True),
                Mark(value=(row.low + row.high) / 2.0, error=(row.high - row.low) / 2.0, style="none"),
            ),
            note=f"{row.share:.0%}",
        )
        for row in found[:MOST_ROWS]
    ]
    drawing = rows_chart(
        "Importance of the sampled settings", drawn, label="share of the importance, 90% interval", ends=(0.0, 1.0)
    )
    chosen = ([row for row in found if row.matters] or found[:1])[:MOST_SLICES]
    return SettingsView(
        summary=_summary(found, len(trials)),
        drawing=drawing,
        rows=tuple(found),
        slices=tuple(_slice(facts, row.parameter, trials, records) for row in chosen),
    )


def shown_parameter(parameter: str) -> str:
    """``optimizer.lr@sgd`` as ``optimizer.lr (sgd)``."""
    field, _, case = parameter.partition("@")
    return f"{field} ({case})" if case else field


def _summary(found: Sequence[Importance], trials: int) -> str:
    real = [shown_parameter(row.parameter) for row in found if row.matters]
    if not real:
        return f"After {trials} finished trials no setting stands out from chance."
    names = real[0] if len(real) == 1 else f"{', '.join(real[:-1])} and {real[-1]}"
    verb = "matters" if len(real) == 1 else "matter"
    return f"After {trials} finished trials {names} {verb} by more than chance (blue). The others may be noise."


def _slice(facts: Facts, parameter: str, trials: Sequence[FrozenTrial], records: dict[int, TrialRecord]) -> Slice:
    own = [trial for trial in trials if parameter in trial.params]
    scored = [(trial, records[trial.number]) for trial in own]
    distribution = own[0].distributions[parameter]
    values = [record.value or 0.0 for _, record in scored]
    label = shown_parameter(parameter)
    if isinstance(distribution, CategoricalDistribution):
        frame, points, summary = _by_category(facts, parameter, scored)
    else:
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        numbers = [float(trial.params[parameter]) for trial in own]
        frame = Frame(
            title=f"{facts.metric} against {label}",
            x_label=label + (", logarithmic" if distribution.log else ""),
            y_label=facts.metric,
            x=x_scale(numbers, log=distribution.log),
            y=y_scale(values),
        )
        points = [
            Point(x=number, y=record.value or 0.0, hint=f"{text.trial_name(record)}: {number:.3g}, {record.value:.4f}")
            for number, (_, record) in zip(numbers, scored, strict=True)
        ]
        best = sorted(zip(values, numbers, strict=True))[-max(3, len(scored) // 5) :]
        (low, high), (least, most) = (np.quantile(x, (0.25, 0.75)) for x in ([n for _, n in best], numbers))
        summary = (
            f"Of the best {len(best)} of {len(scored)} trials, half have {label} from {low:.3g} to {high:.3g}; of all "
            f"trials, half have {least:.3g} to {most:.3g}."
        )
    rows = tuple(
        (text.trial_name(record), short(trial.params[parameter]), text.score(record.value, record.value_se))
        for trial, record in sorted(scored, key=lambda pair: -(pair[1].value or 0.0))
    )
    return Slice(parameter=label, summary=summary, drawing=chart(frame, points), rows=rows)


def _by_category(
    facts: Facts, parameter: str, scored: Sequence[tuple[FrozenTrial, TrialRecord]]
) -> tuple[Frame, list[Point], str]:
    """Points in columns, spread by a fixed pattern, and the choice with the best median."""
    groups: dict[str, list[TrialRecord]] = {}
    for trial, record in scored:
        groups.setdefault(str(current_value(parameter, trial.params[parameter])), []).append(record)
    medians = {choice: float(np.median([r.value or 0.0 for r in records])) for choice, records in groups.items()}
    frequent = sorted(groups, key=lambda choice: (-len(groups[choice]), choice))[:MOST_CATEGORIES]
    shown = sorted(frequent, key=lambda choice: (-medians[choice], choice))
    points = []
    for column, choice in enumerate(shown):
        for i, record in enumerate(groups[choice]):
            offset = 0.3 * ((i * 0.618) % 1.0 - 0.5)
            hint = f"{text.trial_name(record)}: {choice}, {record.value:.4f}"
            points.append(Point(x=column + offset, y=record.value or 0.0, hint=hint))
    label = shown_parameter(parameter)
    long = len(shown) * max(map(len, shown)) > 48
    frame = Frame(
        title=f"{facts.metric} against {label}",
        x_label=label + (", numbered as in the sentence above" if long else ""),
        y_label=facts.metric,
        x=categories_scale(len(shown)),
        y=y_scale([point.y for point in points]),
        categories=tuple(str(i) for i in range(1, len(shown) + 1)) if long else tuple(shown),
    )
    listed = ", ".join(
        f"{f'{i}: ' * long}{choice} {medians[choice]:.4f} ({text.counted(len(groups[choice]), 'trial')})"
        for i, choice in enumerate(shown, 1)
    )
    return frame, points, f"Median {facts.metric} by {label}: {listed}."
