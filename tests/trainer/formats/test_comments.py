"""Comment lines before the rows of a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.formats.delimited import first_rows, read_table
from trainer.formats.text.comments import without_comments

PETS = (
    "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n#SPECIES: 1:Cat 2:Dog\nAbyssinian_1 1 1 1\nbeagle_2 2 2 1\n"
)


def test_the_line_that_names_the_columns_stays(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(PETS)
    table = read_table(path)
    assert table.rows[0] == ("Image", "CLASS-ID", "SPECIES", "BREED ID")
    assert table.numbers == (1, 4, 5), "rows keep the numbers of the file"
    assert [row for row in first_rows(path, 9) if any(row)][1] == ["Abyssinian_1", "1", "1", "1"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("#,image,label\n1,a,x\n", "#,image,label\n1,a,x\n"),
        ("# made by hand\n# today\nid,label\na,x\n", "\n\nid,label\na,x\n"),
        ("# made by hand, today\na x\n", "\na x\n"),
        ("# id label\r\na x\r\n", "id label\r\na x\r\n"),
        ("#\n", "#\n"),
        ("", ""),
    ],
)
def test_other_lines_become_blank(text: str, rows: str) -> None:
    assert without_comments(text) == rows
