"""The page of every command with its options, from the functions that typer turns into commands."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from typer.models import ArgumentInfo, OptionInfo

from docs.site.markdown import MARK, code, joined, listed, range_of, table, type_name
from search.cli.app import COMMANDS
from search.cli.app import _options as program_options
from search.runtime import errors

VARIABLES = {
    "RETABLE_DASHBOARD_TOKEN": "the access token of `search dashboard`, instead of a new one at each start",
    "HF_HOME": "the Hugging Face cache, where weights are looked for and downloaded to",
    "HF_HUB_OFFLINE": "`1`: the hub is never asked",
    "CUDA_VISIBLE_DEVICES": "the GPUs that a command may use",
}
"""Environment variables that belong to no option, with their meaning."""


def commands_page() -> str:
    """The page of all commands."""
    variables = dict(VARIABLES)
    sections = []
    for name, function in COMMANDS:
        section, read = command_section(name, function)
        sections.append(section)
        for variable, (option, meaning) in read.items():
            variables.setdefault(variable, f"{code(option)}: {meaning}")
    program = [(options(info, name), info.help or "") for name, _, info, _ in parameters(program_options)]
    exits = {errors.EXIT_BUG: "a bug, or (`search replay`) a result that differs from the stored one"}
    exits |= {
        0: "done",
        errors.EXIT_MISTAKE: "a mistake in what was given; the message names it",
        errors.EXIT_DEVICE: "a worker's GPU or driver failed",
        errors.EXIT_INTERRUPTED: "interrupted by Ctrl-C",
    }
    parts = [
        "# Every command",
        MARK,
        "`search COMMAND --help` prints the same. Options before the command:",
        table(("option", "meaning"), [*program, (code("--help", "-h"), "Show the options.")]),
        *sections,
        "## Environment variables",
        table(("variable", "sets"), [(code(name), meaning) for name, meaning in sorted(variables.items())]),
        "## Exit codes",
        table(("code", "meaning"), [(str(number), exits[number]) for number in sorted(exits)]),
    ]
    return joined(parts)


def command_section(name: str, function: Callable[..., Any]) -> tuple[str, dict[str, tuple[str, str]]]:
    """The section of one command, and the environment variables that it reads, each with option and meaning."""
    usage, arguments, rows = ["search", name], [], []
    variables = {}
    for parameter, kind, info, default in parameters(function):
        text = " ".join((info.help or "").split())
        if isinstance(info, ArgumentInfo):
            shown = info.metavar or parameter.upper()
            shown = shown if shown.startswith("[") or default is inspect.Parameter.empty else f"[{shown}]"
            usage.append(shown + ("..." if is_list(kind) else ""))
            arguments.append((code(shown.strip("[]")), text))
            continue
        spellings = options(info, parameter)
        rows.append((spellings, metavar(kind, info), default_of(info, spellings, default), text))
        for variable in [info.envvar] if isinstance(info.envvar, str) else info.envvar or []:
            rows[-1] = (*rows[-1][:3], f"{text} Variable: {code(variable)}.".strip())
            variables[variable] = (spellings.partition("`, ")[0].strip("`"), text)
    parts = [f"## `search {name}`", " ".join((inspect.getdoc(function) or "").split()).replace("``", "`")]
    parts.append(f"    {' '.join([*usage, *(['[OPTIONS]'] if rows else [])])}")
    parts += [table(("argument", "meaning"), arguments)] if arguments else []
    parts += [table(("option", "value", "default", "meaning"), rows)] if rows else []
    return "\n\n".join(parts), variables


def parameters(function: Callable[..., Any]) -> Iterable[tuple[str, Any, OptionInfo | ArgumentInfo, Any]]:
    """Name, type, description and default of each argument and option."""
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *extras = typing.get_args(hints[name])
        (info,) = (extra for extra in extras if isinstance(extra, OptionInfo | ArgumentInfo))
        yield name, kind, info, parameter.default


def options(info: OptionInfo | ArgumentInfo, name: str) -> str:
    """The spellings of an option."""
    # Inside of `Annotated`, typer takes the first spelling as the default.
    first = [info.default] if isinstance(info.default, str) else []
    return code(*([*first, *(info.param_decls or [])] or [f"--{name.replace('_', '-')}"]))


def metavar(kind: Any, info: OptionInfo | ArgumentInfo) -> str:
    """What an option takes; empty for a flag."""
    plain = next((t for t in typing.get_args(kind) if t is not type(None)), kind)
    plain = next(iter(typing.get_args(plain)), plain)  # list[str]
    if plain is bool:
        return ""
    if issubclass(plain, Enum):
        return listed([choice.value for choice in plain])
    named = code(info.metavar) if info.metavar else {str: "text", Path: "path"}.get(plain) or type_name(plain)
    low = -math.inf if info.min is None else info.min
    high = math.inf if info.max is None else info.max
    bounds = range_of(low, high)
    return f"{named}, {bounds}" if bounds else named


def default_of(info: OptionInfo | ArgumentInfo, spellings: str, default: Any) -> str:
    """The default of an option: of a pair such as ``--labels/--no-labels`` the one that holds."""
    if isinstance(info.show_default, str):
        return code(info.show_default)
    if default is inspect.Parameter.empty:
        return "required"
    if isinstance(default, bool) and "/" in spellings:
        return code(spellings.strip("`").split("/")[0 if default else 1])
    return "" if default in (None, False, []) else code(str(default))


def is_list(kind: Any) -> bool:
    return typing.get_origin(kind) is list or any(typing.get_origin(t) is list for t in typing.get_args(kind))
