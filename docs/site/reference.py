"""Write the two pages of reference from the code: ``python -m docs.site.reference``.

``fields.md`` lists every setting of a study file, ``commands.md`` every command with its options. A test compares both
with what the code gives, and names this command.
"""

from __future__ import annotations

from pathlib import Path

from docs.site.commands_page import commands_page
from docs.site.fields_page import fields_page

FOLDER = Path(__file__).parents[1] / "reference"


def pages() -> dict[str, str]:
    """Text of each page, by its file name."""
    return {"fields.md": fields_page(), "commands.md": commands_page()}


if __name__ == "__main__":
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
