"""Machine and package versions of a measurement, and Markdown tables."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import Any

from trainer.common.environment import cpu_name

PACKAGES = ("optuna", "sqlalchemy", "psycopg", "numpy", "torch", "timm")


def describe_machine(*databases: str) -> dict[str, Any]:
    """Date, cores and versions, as a report holds them.

    Args:
        databases: names and versions of the database systems in use.
    """
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu_name(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "databases": list(databases),
    }


def one_line(machine: dict[str, Any]) -> str:
    """The result of `describe_machine` as a line of text."""
    releases = ", ".join(f"{name} {machine[name]}" for name in ("python", *PACKAGES))
    where = f"{machine['date']}, {machine['cores']} cores ({machine['cpu']})"
    return ", ".join([where, *machine["databases"], releases])


def table(rows: list[dict[str, object]]) -> str:
    """Rows with the same keys as a Markdown table."""
    if not rows:
        return ""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([_shown(row[head]) for head in heads] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
