"""Options that change settings of a study file, as the overrides of ``--set``."""

from __future__ import annotations

import typer


def overrides_of(
    assignments: list[str] | None, skip_bad: bool, no_corrections: bool = False, **data: str | None
) -> list[str]:
    """The changes of ``--set``, ``--skip-bad``, ``--no-corrections`` and the options on data to a study file, as
    ``FIELD=VALUE``.

    Args:
        data: values by the key of [data]; None for an option that is not given.

    Raises:
        typer.BadParameter: an option and ``--set`` give one setting different values.
    """
    options = {key: (f"--{key.replace('_', '-')}", value) for key, value in data.items() if value is not None}
    flags = {"skip_bad": ("--skip-bad", "true", skip_bad), "corrections": ("--no-corrections", "false", no_corrections)}
    options |= {key: (option, value) for key, (option, value, is_given) in flags.items() if is_given}
    for key, (option, value) in options.items():
        _check_agreement(option, f"data.{key}", value, assignments or [])
    return [*(assignments or []), *(f"data.{key}={value}" for key, (_, value) in options.items())]


def _check_agreement(option: str, setting: str, value: str, assignments: list[str]) -> None:
    """Check that no assignment gives a setting another value than its option.

    Raises:
        typer.BadParameter: one does.
    """
    from studies.file.overrides import parse_value

    for text in assignments:
        name, _, given = text.partition("=")
        if name.strip().replace('"', "") != setting or given.strip() == value:
            continue
        if parse_value(given.strip()) != parse_value(value):
            shown = option if option in ("--skip-bad", "--no-corrections") else f"{option} {value}"
            raise typer.BadParameter(
                f"{shown} and --set {text} contradict each other: leave out one of them", param_hint=option
            )
