"""The README and the pages in docs/: their commands, options and links exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from search.cli.app import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "team.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def unknown_names(text: str) -> list[str]:
    """Commands and options of ``search`` on a page that do not exist."""
    program = typer.main.get_command(app)
    commands = program.commands  # type: ignore[attr-defined]
    every_option = {
        option
        for command in (program, *commands.values())
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    unknown = []
    for line in re.findall(r"^    (?:\w+=\S+ )?search (.*?)(?: +[#|].*)?$", text, re.MULTILINE):
        name, *words = line.split()
        if name not in commands:
            unknown.append(name)
            continue
        options = {
            option for parameter in commands[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        unknown += [f"{name} {word}" for word in words if word.startswith("-") and word not in options]
    in_sentences = re.findall(r"`(--[a-z-]+)", text)
    return unknown + [option for option in in_sentences if option not in {*every_option, "--help"}]


def test_the_commands_of_the_team_page_exist() -> None:
    text = PAGE.read_text()
    assert unknown_names(text) == []
    assert text.count("    search ") >= 9


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_every_page_exist(page: Path) -> None:
    assert unknown_names(page.read_text()) == []


@pytest.mark.parametrize("wrong", ["    search begin", "    search worker --forever", "as `--workers-a-gpu` says"])
def test_an_unknown_command_or_option_is_found(wrong: str) -> None:
    assert len(unknown_names(PAGE.read_text() + f"\n{wrong}\n")) == 1


def test_the_links_of_the_team_page_exist() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE.read_text())
    assert links
    assert [link for link in links if not (PAGE.parent / link.partition("#")[0]).is_file()] == []
