"""Numbers, names and commands as the report writes them."""

from __future__ import annotations

import datetime
import shlex

from search.report.live.status_line import duration
from search.runtime.commands import complete, completed
from storage.values import TrialRecord
from trainer.evaluation.metrics import METRICS
from trainer.inference.printable import printable

LONGEST_NAME = 40  # characters of a class name or an image id


def score(value: float | None, error: float | None = None) -> str:
    """A score with four decimal places, as in all tables of the service: ``0.9414 ± 0.0106``."""
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" ± {error:.4f}" if error is not None else "")


def share(value: float | None) -> str:
    """A share in whole percent, but 0% and 100% only where it is exactly that."""
    if value is None:
        return "-"
    return "<1%" if 0.0 < value < 0.005 else ">99%" if 0.995 < value < 1.0 else f"{value:.0%}"


def seconds(value: float) -> str:
    """A duration: ``6.8 s``, ``2 min 15 s``, ``1 h 05 min``."""
    return f"{value:.1f} s" if value < 60.0 else duration(value)


def moment(unix: float) -> str:
    """A time of this machine's zone: ``2026-11-26 23:45``."""
    return f"{datetime.datetime.fromtimestamp(unix):%Y-%m-%d %H:%M}"


def counted(number: int, thing: str) -> str:
    """``1 image``, ``3 images``, ``2 classes``."""
    plural = f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else plural}"


def name(text: str) -> str:
    """A name from outside, with control characters and marks of the writing direction as escapes, and shortened.

    The beginning and the end stay, by which long names differ.
    """
    shown = printable(text)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 11]}…{shown[-10:]}"


def trial_name(record: TrialRecord) -> str:
    """``trial 7`` or ``probe 3``."""
    return f"{'probe' if record.is_probe else 'trial'} {record.number}"


def command(*words: str) -> str:
    """A command line that can be copied, with the database that the user named."""
    return completed(shlex.join(words))


def commands(text: str) -> list[str]:
    """A sentence cut at its backticks, its commands completed: every second part is a command."""
    return complete(text).split("`")


def metric_line(metric: str) -> str:
    """What the metric is, as the end of a sentence."""
    return f"{metric}: {METRICS[metric].doc}; higher is better"
