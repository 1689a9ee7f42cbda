"""Cells with dates, times, links and the like are recognised; cells with labels are not."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.readers.doubts.metadata_cells import kind_of_cells

FORMS = (
    "%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%y", "%Y%m%d", "%Y:%m:%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y %H:%M", "%d %B %Y", "%B %d, %Y", "%d-%b-%Y", "%d %b %y",
    "%Y年%m月%d日", "%Y年%m月%d日 %H:%M", "%Y년 %m월 %d일", "%Y-%m-%d %I:%M %p",
)  # fmt: skip


@given(days=st.lists(st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2049, 12, 31)), min_size=1))
@pytest.mark.parametrize("form", FORMS)
def test_dates_are_recognised_in_each_form(form: str, days: list[datetime.datetime]) -> None:
    assert kind_of_cells([day.strftime(form) for day in days]) == "dates"


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["3. März 2021", "12. Mai 2021", ""], "dates"),
        (["3 de marzo de 2021", "12 de agosto de 2021"], "dates"),
        (["令和3年3月1日", "令和3年12月10日"], "dates"),
        (["12:30", "9:05:10", "10:15 pm"], "times"),
        (["https://a.org/1.jpg", "http://b.org/x?y=1"], "links"),
        (["d41d8cd98f00b204e9800998ecf8427e", "D41D8CD98F00B204E9800998ECF8427E"], "checksums"),
        (["35.6895, 139.6917", "-33.86 151.20"], "coordinates"),
        (["a.b@c.org", "d@e.ac.jp"], "addresses of mail"),
    ],
)
def test_other_kinds(cells: list[str], kind: str) -> None:
    assert kind_of_cells(cells) == kind


@pytest.mark.parametrize(
    "cells",
    [
        ["cat", "dog"],
        ["1", "2", "3"],
        ["0.5", "1.25"],
        ["2019", "2020"],
        ["10-20", "20-30"],
        ["1/2", "3/4"],
        ["3-5", "5-Mar"],
        ["mar", "may"],
        ["march 5", "may 7"],
        ["1:1", "16:9:4:3"],
        ["2021-03-01", "cat"],
        ["n01440764", "n02102040"],
        ["a0b1", "c0ffee"],
        ["", " "],
        [],
    ],
)
def test_labels_are_none_of_them(cells: list[str]) -> None:
    assert kind_of_cells(cells) is None


@given(cells=st.lists(st.text("abcdefghijklmnopqrstuvwxyz _-", max_size=20)))
def test_words_are_none_of_them(cells: list[str]) -> None:
    assert kind_of_cells(cells) in (None, "checksums")
