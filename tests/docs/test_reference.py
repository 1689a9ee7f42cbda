"""The pages of reference are what the code gives, and describe every key and variable that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.site.fields_page import RANGE_KEYS
from docs.site.markdown import table
from docs.site.reference import FOLDER, pages
from search.cli.app import COMMANDS
from search.runtime import worker_environment
from studies.settings import SECTIONS, setting_names
from studies.space.parse_dimensions import _COMMON_KEYS, _KEYS
from trainer.recipe.recipe import FIELDS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["fields.md", "commands.md"])
def test_the_page_is_what_the_code_gives(page: str) -> None:
    written = (FOLDER / page).read_text(encoding="utf-8")
    assert written == pages()[page], "renew it: python -m docs.site.reference"


def test_every_setting_and_command_is_described() -> None:
    text = pages()
    named = [*FIELDS, *(name for section in SECTIONS for name in setting_names(section))]
    assert [name for name in named if f"| `{name}` |" not in text["fields.md"]] == []
    assert [name for name, _ in COMMANDS if f"## `search {name}`" not in text["commands.md"]] == []


def test_every_key_of_a_range_is_described() -> None:
    # Stored studies give a range its name; files have no use for it.
    assert set(RANGE_KEYS) == {*_KEYS["choices"], *_KEYS["range"], *_COMMON_KEYS} - {"name"}


def test_every_variable_of_a_user_is_described() -> None:
    internal = {value for name, value in vars(worker_environment).items() if name.endswith("_VARIABLE")}
    sources = [
        path for package in ("search", "storage", "studies", "trainer") for path in (ROOT / package).rglob("*.py")
    ]
    used = {name for path in sources for name in re.findall(r'"(RETABLE_[A-Z_]+)"', path.read_text(encoding="utf-8"))}
    assert internal and used - internal
    assert [name for name in used - internal if f"| `{name}` |" not in pages()["commands.md"]] == []


def test_a_cell_keeps_what_markdown_would_read() -> None:
    text = table(("a", "b"), [("`x|y`", "2 * 3 | <b>"), ("", "")])
    assert text.splitlines()[2] == r"| `x\|y` | 2 \* 3 \| \<b> |"
    assert table(("a", "b"), [("1", ""), ("2", "")]).splitlines()[0] == "| a |", "columns without content are left out"
