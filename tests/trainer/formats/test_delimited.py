"""Tables as spreadsheets and programs write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.common.errors import DataError
from trainer.formats.delimited import first_rows, read_table

ROWS = (("id", "label"), ("0", "cat"), ("1", "dog"))


@pytest.mark.parametrize(
    ("name", "text", "delimiter"),
    [
        ("a.csv", "id|label\n0|cat\n1|dog\n", "|"),
        ("a.csv", "id label\n0 cat\n1 dog\n", " "),
        ("a.txt", "id   label\n0  cat \n1\tdog\n", " "),
        ("a.csv", "sep=;\nid;label\n0;cat\n1;dog\n", ";"),
        ("a.csv", '"sep=|"\r\nid|label\r\n0|cat\r\n1|dog\r\n', "|"),
        ("a.csv", 'id, label\n0, "cat"\n1, "dog"\n', ","),
        ("a.csv", 'id,\u00a0"label"\n0,\t"cat"\n1,\u3000"dog"\u00a0\n', ","),
        ("a.csv", '\u3000"id",\u200b"label"\n\u00a0"0",  \t"cat"\n1,"dog"\n', ","),
        ("a.tsv", 'id\t\u00a0"label"\n0\t\u00a0"cat"\n1\t\u3000"dog"\n', "\t"),
        ("a.csv", '"id" ; "label" \n"0" ; "cat" \n"1";"dog"\n', ";"),
    ],
)
def test_delimiters_and_blanks(tmp_path: Path, name: str, text: str, delimiter: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    table = read_table(tmp_path / name)
    assert (table.rows, table.delimiter, table.numbers) == (ROWS, delimiter, (1, 2, 3))
    assert [tuple(row) for row in first_rows(tmp_path / name, 2)] == list(ROWS[:2])


def test_empty_cells_beside_quoted_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('id\tgroup\tlabel\n0\t\t"cat"\n1\t\t"dog" \n')
    assert read_table(tmp_path / "a.tsv").rows[1:] == (("0", "", "cat"), ("1", "", "dog"))


def test_file_names_with_blanks_are_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("my a.png\nmy b.png\n")
    assert read_table(tmp_path / "a.csv").rows == (("my a.png",), ("my b.png",))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_name_the_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes("id;label\n0;Übung\n".encode(encoding))
    assert read_table(tmp_path / "a.csv").rows == (("id", "label"), ("0", "Übung"))


@pytest.mark.parametrize(
    ("encoding", "word"),
    [
        ("cp1252", "café"),
        ("cp932", "猫"),
        ("euc_jp", "松茸"),
        ("gb18030", "向日葵"),
        ("cp1251", "кошка"),
        ("cp1256", "قطة"),
    ],
)
def test_other_encodings_are_a_question(tmp_path: Path, encoding: str, word: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"id,label\n0,{word}\n".encode(encoding))
    with pytest.raises(DataError, match=rf"row 2 is not UTF-8.*{encoding} reads it as '0,{word}'.*--encoding NAME"):
        read_table(path, encoding=None)
    with pytest.raises(
        DataError, match=rf"{encoding} reads it as '0,{word}'.*Save the table as CSV in UTF-8"
    ) as caught:
        read_table(path)
    assert "--encoding" not in str(caught.value), "a table to which the option does not apply"
    assert read_table(path, encoding=encoding).rows[1] == ("0", word)
    with pytest.raises(DataError, match="no encoding 'nothing'"):
        read_table(path, encoding="nothing")
    path.write_text(f"id,label\n0,{word}\n", encoding="utf-8")
    assert read_table(path, encoding=encoding).rows[1] == ("0", word)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("<!DOCTYPE html>\n<html></html>\n", "download it again"),
    ],
)
def test_a_pointer_or_a_web_page_is_no_table(tmp_path: Path, text: str, advice: str) -> None:
    (tmp_path / "train.csv").write_text(text)
    for read in (read_table, lambda path: first_rows(path, 5)):
        with pytest.raises(DataError, match=f"train.csv is not a table but .*{advice}"):
            read(tmp_path / "train.csv")


def test_the_first_rows_of_a_long_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,label\n" + "".join(f"{i},cat\n" for i in range(1000)))
    assert first_rows(path, 3, most_bytes=40) == [["id", "label"], ["0", "cat"], ["1", "cat"]]
    assert len(first_rows(path, 100, most_bytes=40)) == 6


def test_empty_cells_beyond_the_last_column_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,label\na,x,\nb,y, ,\nc,z\n")
    assert read_table(path).rows == (("id", "label"), ("a", "x"), ("b", "y"), ("c", "z"))


@pytest.mark.parametrize(("encoding", "word"), [("cp1252", "café"), ("cp1251", "кошка"), ("latin-1", "Übung")])
def test_rows_of_two_encodings_are_refused(tmp_path: Path, encoding: str, word: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"id,label\n0,{word}\n".encode(encoding) + f"1,{word}\n".encode())
    with pytest.raises(DataError, match=f"row 3 is UTF-8 text .'1,{word}'.*in UTF-8"):
        read_table(path, encoding=encoding)


def test_a_title_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Labels of spring\nid,label\n" + "a,x\n" * 30)
    with pytest.raises(DataError, match="if the first row is a title, remove it"):
        read_table(path)


def test_many_rows_of_another_length_are_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,label\n" + "a,x,1\n" * 30 + "b\n")
    with pytest.raises(DataError) as caught:
        read_table(path)
    first, second = caught.value.problems
    assert "30 rows (such as 2, 3, 4, 5, 6) have 3 fields, the first row has 2" in first and "row 32 has 1" in second


@pytest.mark.parametrize("name", ["review.json", "predictions.jsonl", "Folds.NDJSON"])
def test_json_in_place_of_a_table_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('[{"id": 0, "label": "cat"}]')
    with pytest.raises(DataError, match="is JSON, where a table of comma-separated values is expected: save it as CSV"):
        read_table(tmp_path / name)
