"""``search compare``: scores of the finalists on fresh splits, and which of them differ by more than noise."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from search.export.output.folder import Owner, output_folder
from search.report.finalists.forest_plot import Mark, draw_forest
from search.report.live.progress import recipe_difference
from search.runtime.console import Column, note, open_console, print_table, say
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.runtime.output_files import FileNotOurs, check_picture
from search.statistics.estimates import Estimate, Estimates
from search.statistics.member_names import members_named
from search.study_setup.image_weights import weights_lines
from search.study_state.confirmation import Confirmation, judge, read_confirmation, why_skipped
from search.study_state.snapshot import read_snapshot
from storage.stores import Stores, open_stores
from storage.values import DEFAULT_TRIAL, TrialRecord

PICTURE = "compare.png"
"""Default name of the picture."""
FORMATS = (".png", ".pdf", ".svg")
"""Formats of the picture, by the ending of its name."""

log = logging.getLogger(__name__)


class PictureNotWritable(SearchError):
    """The picture cannot be written to the given path."""


class NothingConfirmed(SearchError):
    """No trial was confirmed on a fresh split, so there is nothing to compare."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Finalists of one study: their estimated scores, and sentences about them."""

    study: str
    metric: str
    estimates: Estimates
    trials: dict[int, TrialRecord]
    """The search trials of the finalists by number."""
    differences: dict[int, str]
    """Settings of each recipe that differ from the default recipe."""
    columns: tuple[str, ...]
    """Explanation of the table's columns, a sentence each."""
    conclusions: tuple[str, ...]
    """A sentence each."""
    doubts: tuple[str, ...]
    """Questions that the confirmation leaves open, a sentence each."""


def compare(name: str | None, url: str, home: Path, picture: Path | None) -> None:
    """Print and draw the comparison of a study's finalists.

    Args:
        picture: file to draw into; None: ``compare.png`` in the folder of the study's exports.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        NothingConfirmed: no trial was confirmed; names the command that confirms.
        PictureNotWritable, FileNotOurs: ``picture`` cannot be written.
    """
    if picture is not None:
        check_target(picture)
    console, stores = open_console(), open_stores(url)
    study = stores.study(name)
    path = picture
    if path is None:
        path = _picture_of(stores, study.name, Home(root=home))
        check_picture(path)
    _show(console, compare_finalists(stores, study.name), path)


def check_target(picture: Path) -> None:
    """Check the name of a picture, and that no file of other origin is in its place.

    Raises:
        PictureNotWritable, FileNotOurs: the picture cannot be written.
    """
    if picture.suffix.lower() not in FORMATS:
        raise PictureNotWritable(f"{picture} has to end in one of {', '.join(FORMATS)}")
    check_picture(picture)


def show_comparison(console: Console, stores: Stores, name: str, home: Home) -> None:
    """Print the comparison and draw it into the folder of the exports, if any trial was confirmed."""
    with suppress(NothingConfirmed), _foreign_pictures_logged():
        _show(console, compare_finalists(stores, name), _picture_of(stores, name, home))


def draw_finalists(stores: Stores, name: str, home: Home) -> None:
    """Draw the comparison into the folder of the exports, if any trial was confirmed; print nothing."""
    with suppress(NothingConfirmed), _foreign_pictures_logged():
        draw_comparison(_picture_of(stores, name, home), compare_finalists(stores, name))


@contextmanager
def _foreign_pictures_logged() -> Iterator[None]:
    """A picture of other origin is no reason to end a search."""
    try:
        yield
    except FileNotOurs as problem:
        log.warning("%s", problem)


def _picture_of(stores: Stores, name: str, home: Home) -> Path:
    return output_folder(Owner.of(stores, name), home) / PICTURE


def _show(console: Console, comparison: Comparison, path: Path) -> None:
    print_comparison(console, comparison)
    draw_comparison(path, comparison)
    say(console, f"As a picture: {path}", whole=True)


def compare_finalists(stores: Stores, name: str) -> Comparison:
    """Compare the finalists of the study called ``name``.

    Raises:
        NothingConfirmed: there are none.
    """
    confirmation = read_confirmation(stores, name)
    estimates = judge(stores, confirmation)
    if estimates is None:
        raise NothingConfirmed(_nothing_confirmed(confirmation))
    default = confirmation.study.spec.default_recipe()
    trials = {row.number: confirmation.trials[row.number] for row in estimates.rows}
    return Comparison(
        study=name,
        metric=confirmation.study.metric,
        estimates=estimates,
        trials=trials,
        differences={number: recipe_difference(record, default) for number, record in trials.items()},
        columns=(
            *weights_lines(stores, confirmation.study),
            *_column_lines(confirmation.study.metric, estimates),
        ),
        conclusions=tuple(_verdict(confirmation, estimates)),
        doubts=(*_unfinished(stores, name), *_doubts(estimates)),
    )


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the table of the finalists, the best first, and the sentences about it.

    The columns ``mean`` and the metric score one network. ``averaged`` is the expected score of the average of a
    recipe's fold models, which is exported and therefore compared.
    """
    rows = comparison.estimates.rows
    numbers = ("trial", "rounds", "mean", comparison.metric, "averaged", "gap", "chance best")
    print_table(
        console,
        f"{comparison.study}: the finalists on fresh splits",
        [*(Column(name=name, number=True) for name in numbers), Column(name="recipe", prose=True)],
        [
            (
                f"{row.number}{' =' if row.tied and len(rows) > 1 else '  '}",
                str(row.rounds),
                f"{row.mean:.4f}",
                f"{row.shrunk:.4f} ± {row.error:.4f}",
                f"{row.averaged:.4f}",
                "leads" if row is comparison.estimates.leader else _gap(row),
                f"{row.chance_best:.0%}",
                comparison.differences[row.number],
            )
            for row in rows
        ],
        dim=[i for i, row in enumerate(rows) if not row.tied],
    )
    for line in (*comparison.columns, *comparison.conclusions):
        say(console, line)
    for line in comparison.doubts:
        note(console, line)


def draw_comparison(path: Path, comparison: Comparison) -> None:
    """Draw the table's estimates as a forest plot.

    Raises:
        PictureNotWritable: its folder or the file cannot be written.
    """
    marks = [
        Mark(
            label=str(row.name) + (" (default)" if row.number == DEFAULT_TRIAL else ""),
            estimate=row.shrunk,
            error=row.error,
            averaged=row.averaged,
            searched=comparison.trials[row.number].value,
            tied=row.tied,
            default=row.number == DEFAULT_TRIAL,
            note=f"{row.chance_best:.0%}",
        )
        for row in comparison.estimates.rows
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_forest(path, title=f"{comparison.study}: finalists on fresh splits", metric=comparison.metric, marks=marks)
    except OSError as error:
        raise PictureNotWritable(f"{path} cannot be written: {error.strerror or error}") from error


def _nothing_confirmed(confirmation: Confirmation) -> str:
    name = confirmation.study.name
    reason = why_skipped(confirmation)
    if reason:
        return f"no trial of study {name} is confirmed on a fresh split: {reason}"
    return f"no trial of study {name} is confirmed on a fresh split yet: `search confirm --study {name}` confirms them"


def _unfinished(stores: Stores, name: str) -> list[str]:
    """The progress of a confirmation that still runs."""
    snapshot = read_snapshot(stores, name)
    if not snapshot.confirms_open:
        return []
    total = snapshot.confirms_done + snapshot.confirms_open
    return [f"the confirmation still runs: {snapshot.confirms_done} of {total} trainings are done"]


def _column_lines(metric: str, estimates: Estimates) -> list[str]:
    """Explanation of the columns."""
    rows = estimates.rows
    lines = [f"mean: {metric} of one network on the fresh splits, as measured."]
    if any(row.shrunk != row.mean for row in rows):
        lines.append(f"{metric}: the same, moved toward the finalists' mean, because noise exaggerates differences.")
    if any(row.averaged > row.shrunk for row in rows):
        lines.append(
            "averaged: expected score of the average of a recipe's networks. The export uses this average, so it "
            "decides the order and the next two columns."
        )
    if len(rows) > 1:
        lines.append("gap: how far below the leader, ± standard error. chance best: probability of being the best.")
    return lines


def _gap(row: Estimate) -> str:
    """A recipe's gap to the leader with its standard error; a gap that rounds to zero has no sign."""
    return f"{row.gap_to_leader:z.4f} ± {row.gap_error:.4f}"


def _verdict(confirmation: Confirmation, estimates: Estimates) -> list[str]:
    leader, rows = estimates.leader, estimates.rows
    lines = []
    if len(rows) > 2:
        lines.append(
            f"About {estimates.reliability:.0%} of the variance between the means is real. The rest is noise, "
            f"± {estimates.noise:.4f} in each mean."
        )
    tied = [row.name for row in rows if row.tied and row is not leader]
    if tied:
        lines.append(f"=: within one standard error of the leader, so possibly just as good: {members_named(tied)}.")
    elif len(rows) > 1:
        lines.append(f"{leader.name.first} leads by more than one standard error over every other finalist.")
    default = _default(estimates)
    if default is not None and default is not leader and default.gap_to_leader > default.gap_error:
        lines.append(f"The leader beats the default recipe by {_gap(default)}.")
    lines.append(
        "The fresh splits had no part in choosing these recipes, so these scores are free of the search's selection "
        "bias."
    )
    searched = next((row for row in rows if row.number == confirmation.best), None)
    value = None if searched is None else confirmation.trials[searched.number].value
    if searched is not None and value is not None:
        optimistic = " (optimistic)" * (value > searched.mean)
        lines.append(
            f"The best of the search, {searched.name}, scored {value:.4f} in the search{optimistic} and "
            f"{searched.mean:.4f} on fresh splits."
        )
    return lines


def _default(estimates: Estimates) -> Estimate | None:
    """The estimate of the default recipe, unless it is the only finalist."""
    default = next((row for row in estimates.rows if row.number == DEFAULT_TRIAL), None)
    return default if len(estimates.rows) > 1 else None


def _doubts(estimates: Estimates) -> list[str]:
    default = _default(estimates)
    if default is None:
        return []
    if default is estimates.leader:
        return ["the search has not been shown to beat the default recipe: the default recipe leads"]
    if default.gap_to_leader <= default.gap_error:
        return [
            "the search has not been shown to beat the default recipe: the leader's advantage over it is "
            f"{_gap(default)}, which may be noise"
        ]
    return []
