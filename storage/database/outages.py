"""Waiting for a database that does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from storage.database.connection import is_outage

FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0  # seconds
PATIENCE = 1800.0  # seconds after which an outage is no longer taken for a restart

T = TypeVar("T")
log = logging.getLogger(__name__)


def patiently(call: Callable[[], T], *, patience: float = PATIENCE, sleep: Callable[[float], None] = time.sleep) -> T:
    """``call()``, again and again with growing pauses while the database does not answer.

    Every call made this way may safely run twice. Errors that waiting cannot mend, and an outage longer than
    ``patience`` seconds of pauses, are raised as they are.
    """
    pause, waited = FIRST_PAUSE, 0.0
    while True:
        try:
            return call()
        except Exception as error:
            if not is_outage(error) or waited >= patience:
                raise
            log.warning("the database does not answer; trying again in %.1f s", pause)
        sleep(pause)
        waited += pause
        pause = min(2 * pause, LONGEST_PAUSE)
