"""``search compare``: the finalists by their confirmations on fresh splits, who can be told apart from whom."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.report.forest_plot import Mark, draw_forest
from search.report.progress import recipe_difference
from search.runtime.home import Home
from search.statistics.estimates import Estimate, Estimates
from search.statistics.member_names import trials_named
from search.study_setup.image_weights import weights_lines
from search.study_state.confirmation import Confirmation, judge, read_confirmation, why_skipped
from search.study_state.snapshot import read_standing
from storage.stores import Ledger, open_ledger
from storage.values import DEFAULT_TRIAL, TrialRecord

PICTURE = "compare.png"
"""Its name where nobody gives another."""
FORMATS = (".png", ".pdf", ".svg")


class PictureNotWritable(ValueError):  # noqa: N818 - named for the fact
    """The picture cannot be written where it was asked for."""


class NothingConfirmed(ValueError):  # noqa: N818 - named for the fact
    """No trial has been run again on a fresh split, so there is nothing to compare."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Finalists of one study, and what is said of them."""

    study: str
    metric: str
    estimates: Estimates
    trials: dict[int, TrialRecord]
    """The search trials of the finalists by number."""
    differences: dict[int, str]
    """How each recipe differs from the default one, with Rich's markup."""
    lines: tuple[str, ...]
    """What follows from the table, for people."""


def compare(name: str | None, url: str, home: Path, picture: Path | None) -> None:
    """Print the comparison of a study's finalists and draw it.

    Args:
        picture: file to draw into; None: ``compare.png`` in the folder of the study's exports.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        NothingConfirmed: nobody was confirmed; says what to type.
        PictureNotWritable: as it says; nothing was compared.
    """
    if picture is not None and picture.suffix.lower() not in FORMATS:
        raise PictureNotWritable(f"{picture} has to end in one of {', '.join(FORMATS)}")
    console, ledger = Console(), open_ledger(url)
    study = ledger.study(name)
    path = Home(root=home).exports(study.name) / PICTURE if picture is None else picture
    _show(console, compare_finalists(ledger, study.name), path)


def show_comparison(console: Console, ledger: Ledger, name: str, home: Home) -> None:
    """Print the comparison and draw it beside the exports, where anybody has been confirmed."""
    with suppress(NothingConfirmed):
        _show(console, compare_finalists(ledger, name), home.exports(name) / PICTURE)


def _show(console: Console, comparison: Comparison, path: Path) -> None:
    print_comparison(console, comparison)
    draw_comparison(path, comparison)
    console.print(f"As a picture: {escape(str(path))}", highlight=False, soft_wrap=True)


def compare_finalists(ledger: Ledger, name: str) -> Comparison:
    """Compare the finalists of the study called ``name``.

    Raises:
        NothingConfirmed: there are none.
    """
    confirmation = read_confirmation(ledger, name)
    estimates = judge(ledger, confirmation)
    if estimates is None:
        raise NothingConfirmed(_what_to_type(confirmation))
    default = confirmation.spec.default_recipe()
    trials = {row.number: confirmation.trials[row.number] for row in estimates.rows}
    return Comparison(
        study=name,
        metric=confirmation.spec.protocol.metric,
        estimates=estimates,
        trials=trials,
        differences={number: recipe_difference(record, default) for number, record in trials.items()},
        lines=(
            *_open_lines(ledger, name),
            *weights_lines(ledger, confirmation.study),
            *_verdict(confirmation, estimates),
        ),
    )


def print_comparison(console: Console, comparison: Comparison) -> None:
    """The table, the best first, and below it what it means.

    ``mean`` and the metric are those of one network, ``averaged`` is what the average of a recipe's fold models may be
    expected to score, which is compared and exported.
    """
    table = Table(title=f"{comparison.study}: the finalists on fresh splits", title_justify="left")
    for column in ("trial", "rounds", "mean", comparison.metric, "averaged", "behind", "chance best", "recipe"):
        table.add_column(column, justify="left" if column == "recipe" else "right", no_wrap=column != "recipe")
    for row in comparison.estimates.rows:
        tied = row.tied and len(comparison.estimates.rows) > 1
        table.add_row(
            f"{row.number}{' =' if tied else '  '}",
            str(row.rounds),
            f"{row.mean:.4f}",
            f"{row.shrunk:.4f} ± {row.error:.4f}",
            f"{row.averaged:.4f}",
            "leads" if row is comparison.estimates.leader else f"{row.gap_to_leader:.4f} ± {row.gap_error:.4f}",
            f"{row.chance_best:.0%}",
            comparison.differences[row.number],
            style=None if row.tied else "dim",
        )
    console.print(table)
    for line in comparison.lines:
        console.print(line, highlight=False)


def draw_comparison(path: Path, comparison: Comparison) -> None:
    """Draw the table's estimates as a forest plot.

    Raises:
        PictureNotWritable: no folder can be made, or no file.
    """
    marks = [
        Mark(
            label=f"trial {row.number}" + (" (default)" if row.number == DEFAULT_TRIAL else ""),
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


def _what_to_type(confirmation: Confirmation) -> str:
    name = confirmation.study.name
    reason = why_skipped(confirmation)
    if reason:
        return f"no trial of study {name} has been confirmed on a fresh split: {reason}"
    return f"no trial of study {name} has been confirmed on a fresh split yet: `search confirm --study {name}` does it"


def _open_lines(ledger: Ledger, name: str) -> list[str]:
    standing = read_standing(ledger, name)
    if not standing.confirms_open:
        return []
    total = standing.confirms_done + standing.confirms_open
    return [f"Confirmation is under way: {standing.confirms_done} of {total} done; this is how it stands now."]


def _verdict(confirmation: Confirmation, estimates: Estimates) -> list[str]:
    leader, rows = estimates.leader, estimates.rows
    lines = []
    if any(row.averaged > row.shrunk for row in rows):
        lines.append(
            "averaged: what the average of a recipe's fold models may be expected to score, by how much these differ "
            "on the test images. That is exported, so it says who leads and by how much."
        )
    if len(rows) > 2:
        lines.append(
            f"Of the differences between these means about {estimates.reliability:.0%} are more than noise, which is "
            f"± {estimates.noise:.4f} of each."
        )
    tied = [row.number for row in rows if row.tied and row is not leader]
    if tied:
        lines.append(f"=  {trials_named(tied)} may as well be the best: within one standard error of the leader.")
    elif len(rows) > 1:
        lines.append(f"Trial {leader.number} leads, and nobody else is within one standard error of it.")
    lines += _against_default(leader, rows)
    lines.append("Only these scores are estimates: no recipe was chosen by the splits that they are measured on.")
    searched = next((row for row in rows if row.number == confirmation.best), None)
    value = None if searched is None else confirmation.trials[searched.number].value
    if searched is not None and value is not None:
        flatters = " looks better than it is" if value > searched.mean else ""
        lines.append(
            f"The search's own best{flatters}: trial {searched.number} scored {value:.4f} there, "
            f"and {searched.mean:.4f} on fresh splits."
        )
    return lines


def _against_default(leader: Estimate, rows: tuple[Estimate, ...]) -> list[str]:
    default = next((row for row in rows if row.number == DEFAULT_TRIAL), None)
    if default is None or len(rows) < 2:
        return []
    if default is leader:
        return ["[yellow]The search has not been shown to beat the default recipe:[/] the default recipe leads."]
    if default.gap_to_leader <= default.gap_error:
        return [
            "[yellow]The search has not been shown to beat the default recipe:[/] the leader is "
            f"{default.gap_to_leader:.4f} ± {default.gap_error:.4f} better."
        ]
    return [f"The leader beats the default recipe by {default.gap_to_leader:.4f} ± {default.gap_error:.4f}."]
