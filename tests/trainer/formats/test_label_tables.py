"""Tables of decisions about labels: written, read back, and refused where they are something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.common.errors import DataError
from trainer.formats.label_tables import (
    CORRECTIONS_HEADER,
    Correction,
    ReviewRow,
    read_corrections,
    read_review,
    write_corrections,
    write_review,
)

NAMES = st.one_of(
    st.sampled_from(["keep", "drop", "Keep", "class:drop", "class:", "a,b", 'say "x"', " led", "=1+1", "犬"]),
    st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8),
)


def row(**changes: str) -> ReviewRow:
    return ReviewRow(
        **{"id": "a", "given": "cat", "proposed": "dog", "confidence": "0.9000", "decision": "", **changes}
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(entries=st.dictionaries(st.tuples(NAMES, NAMES), st.one_of(st.none(), NAMES), min_size=1, max_size=5))
def test_corrections_are_read_as_they_were_written(tmp_path: Path, entries: dict[tuple[str, str], str | None]) -> None:
    path = tmp_path / "corrections.csv"
    given_ones = [
        Correction(id=i, given=g, label=label, fingerprint="f", label_source=f"train.csv: {i}")
        for (i, g), label in entries.items()
    ]
    write_corrections(path, given_ones)
    found = read_corrections(path)
    assert [replace(each, row="") for each in found] == given_ones
    assert found[0].row == "corrections.csv row 2"


def test_a_review_is_read_as_a_spreadsheet_saved_it(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    write_review(path, [row(), row(id="b", decision="keep")])
    assert [each.decision for each in read_review(path)] == ["", "keep"]
    path.write_text("\ufeffID;Given;Proposed;Confidence;Decision\r\na;cat;dog;0,9; dog \r\nb;cat;dog;0,8;\r\n")
    first, second = read_review(path)
    assert (first.id, first.given, first.decision, second.decision) == ("a", "cat", "dog", "")
    path.write_text("given,id,decision\ncat,a,drop\n")
    assert [(each.id, each.proposed, each.decision) for each in read_review(path)] == [("a", "", "drop")]


@pytest.mark.parametrize("text", ["id,label\na,cat\n", "id,given,decision,decision\na,b,c,d\n", "id,given\na,b\n"])
def test_another_table_is_no_review(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="no review of labels"):
        read_review(path)


def test_damaged_corrections_are_named(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text("id,label\na,cat\n")
    with pytest.raises(DataError, match="restore it, or move it out"):
        read_corrections(path)
    rows = ["a,cat,dog,f,", "a,cat,keep,f,t: Kind", "a,dog,keep,f,t: Kind", "a,dog,keep,f,t: Colour"]
    path.write_text("\n".join([",".join(CORRECTIONS_HEADER), *rows, ""]))
    with pytest.raises(DataError) as caught:
        read_corrections(path)
    (problem,) = caught.value.problems
    assert problem.startswith("corrections.csv row 3: 'a'") and "corrections.csv row 2 already" in problem
