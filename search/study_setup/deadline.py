"""The deadline of a study, by ``--hours``.

``--hours 8`` counts from the first `search start` with ``--hours``. The same command, typed again after a crash, keeps
the deadline; another number corrects it. ``--hours +2`` counts from now and begins another period: from then on,
numbers without + count from its begin. So does the first ``--hours`` after a start without, which removed a deadline
that had passed.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

from search.runtime.errors import SearchError
from search.study_state.study import Study, read_study
from storage.stores import Stores
from trainer.networks.architectures import STEP

SHORTEST = 0.01
LONGEST = 24.0 * 366
"""Bounds of ``--hours``."""


class BadHours(SearchError):
    """A value of ``--hours`` that is no number of hours."""


class DeadlineTooShort(SearchError):
    """No training of a study has ended before its deadline."""

    def __init__(self, study: Study) -> None:
        size = int(study.spec.default_recipe()["image_size"])
        smaller = max(STEP, size // 2 // STEP * STEP)
        images = f"smaller images (--set recipe.image_size={smaller} --name NAME) or " * (smaller < size)
        super().__init__(
            f"no training of study {study.name} ended before the deadline, so there is nothing to export. The same "
            f"command with --hours +1 continues it for another hour; {images}a smaller backbone "
            f"{'train' if images else 'trains'} faster"
        )


@dataclass(frozen=True, kw_only=True)
class Hours:
    """A value of ``--hours``."""

    hours: float
    from_now: bool
    """Whether the time counts from now; otherwise from the begin of the study's present period."""


def parse_hours(text: str) -> Hours:
    """Read a value of ``--hours``: ``8``, ``0.5`` or ``+2``.

    Raises:
        BadHours: it is no number from `SHORTEST` to `LONGEST`.
    """
    from_now = text.strip().startswith("+")
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not SHORTEST <= hours <= LONGEST:
        raise BadHours(
            f"--hours takes a number of hours from {SHORTEST:g} to {LONGEST:g}, not {text!r}; +2 means two more hours "
            "from now"
        )
    return Hours(hours=hours, from_now=from_now)


def set_deadline(stores: Stores, study: Study, hours: Hours | None, *, begun: float) -> tuple[Study, str]:
    """Set, keep, correct or remove the deadline of a study that is started or continued.

    Args:
        hours: None: a deadline that is ahead stays, one that has passed is removed.
        begun: when this command began, Unix seconds on the database's clock.

    Returns:
        The study, and what became of the deadline, for people; empty if there is none.
    """
    old, stored = study.deadline, study.stored
    if hours is None:
        if old is not None and old <= begun:
            stores.studies.set_deadline(study.id, None)
            return read_study(stores, study.name), f"The deadline of {clock(old)} has passed; there is none any more."
        return study, "" if old is None else f"The deadline stays {clock(old)}."
    fresh = hours.from_now or old is None or stored.period_began is None
    began = begun if fresh or stored.period_began is None else stored.period_began
    new = began + hours.hours * 3600.0
    if new != old:
        stores.studies.set_deadline(study.id, new, hours=hours.hours, period_began=began)
    if new <= begun:
        return read_study(stores, study.name), (
            f"The deadline was {clock(new)}, because --hours counts from {clock(began)}: nothing more is trained. "
            f"`--hours +{hours.hours:g}` counts from now."
        )
    since = f"--hours counts from the start at {clock(began)}; --hours +{hours.hours:g} would count from now."
    if old is None or fresh:
        line = f"The deadline is {clock(new)}."
    elif new != old:
        line = f"The deadline is {clock(new)} now, instead of {clock(old)}. {since}"
    else:
        line = f"The deadline stays {clock(new)}. {since}"
    return read_study(stores, study.name), line


def clock(seconds: float) -> str:
    """A time of the database's clock in the time zone of this host: ``03:40``, with its date if that is another day."""
    moment = datetime.datetime.fromtimestamp(seconds)
    today = moment.date() == datetime.datetime.now().date()
    return f"{moment:%H:%M:%S}" if today else f"{moment:%Y-%m-%d %H:%M}"
