"""``search status --failed``: the failed trainings of a study, with reasons and advice."""

from __future__ import annotations

import datetime
from collections import Counter

from rich.console import Console
from rich.text import Text

from search.runtime.console import open_console, say
from search.runtime.failures import ADVICE
from search.statistics.member_names import MemberName
from search.study_state.stages import confirmation_name
from storage.stores import Stores, open_stores
from storage.values import Failure, TrialRecord, TrialStatus, WorkKind
from trainer.inference.printable import excerpt

SHOWN_TRIALS = 30
"""Number of ended trials that are listed without ``--all``, the latest ones."""
SHOWN_REASON = 1_000
"""Characters of the reason of a failure in the list of failures."""


def show_failed(name: str | None, url: str, *, everything: bool = False) -> None:
    """Print the failed trainings of a study: time, worker, reason, and advice for each kind of failure.

    Args:
        name: of the study; None: the latest.
        everything: list all of them, not only the latest `SHOWN_TRIALS`.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
    """
    print_failed(open_console(), open_stores(url), name, everything=everything)


def print_failed(console: Console, stores: Stores, name: str | None, *, everything: bool) -> None:
    """As `show_failed`, on a console of the caller."""
    study = stores.study(name)
    failed = stores.trials.records(study.id, status=TrialStatus.FAILED)
    if not failed:
        say(console, f"No training of study {study.name} failed.")
        return
    say(console, Text.assemble("Study ", (study.name, "bold"), f": {counted(failed)}"))
    left_out = 0 if everything else max(0, len(failed) - SHOWN_TRIALS)
    if left_out:
        say(console, f"... {left_out} earlier ones; --all lists them")
    for record in failed[left_out:]:
        when = f"{datetime.datetime.fromtimestamp(record.finished):%Y-%m-%d %H:%M}"
        where = f"worker {record.worker}, attempt {record.attempt}"
        kind = (str(record.failure or Failure.BUG), "red")
        say(console, Text.assemble(f"{_training_of(record)}  ", kind, f"  {when}  {where}"))
        say(console, f"    {excerpt(record.reason, SHOWN_REASON)}")
    say(console, "Advice:")
    for failure in sorted({record.failure or Failure.BUG for record in failed}):
        say(console, ADVICE[failure], prefix=f"  {failure:8} ")
    say(console, f"Then: search retry --failed --study {study.name}", whole=True)


def counted(records: list[TrialRecord]) -> str:
    """Number of failed trainings, and of each kind of failure."""
    kinds = Counter(record.failure or Failure.BUG for record in records)
    return f"{len(records)} failed (" + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) + ")"


def _training_of(record: TrialRecord) -> str:
    if record.kind is WorkKind.CONFIRM:
        return f"confirmation of {confirmation_name(record)}"
    if record.kind is not WorkKind.SEARCH:
        return f"{record.kind}, seed {record.seed}"
    if record.number is None:
        return "a trial before it had a number"
    return str(MemberName(trial=record.number, is_probe=record.is_probe))
