"""Labels that are spelled alike are a question, and missing ones are none."""

from __future__ import annotations

import unicodedata

import pytest

from trainer.common.errors import DataError
from trainer.formats.labels import encode, is_missing, unify_labels

ALIKE = [
    ("Cat", "cat"),
    ("steam train", "steam_train"),
    ("x y", "x  y"),
    ("x y", "x\u00a0y"),
    ("x", "x\u200b"),
    ("café", unicodedata.normalize("NFD", "café")),
    ("\uff21", "A"),
    ("1", "1.0"),
    ("01", "1"),
    ("tabby-cat", "tabby_cat"),
    ("tabby-cat", "tabby\u2010cat"),
    ("tabby-cat", "tabby\u2212cat"),
    ("covid-19", "covid_19"),
    ("A-", "A\u2212"),
    ("child's", "child\u2019s"),
    ("a\u301cb", "a\uff5eb"),
    ("cat", "'cat'"),
    ("\u0130ncir", "incir"),
    ("KAYISI", "kay\u0131s\u0131"),
    ("\u0645\u0627\u0647\u06cc", "\u0645\u0627\u0647\u064a"),
    ("\u06a9\u062a\u0627\u0628", "\u0643\u062a\u0627\u0628"),
    ("\u0642\u0650\u0637", "\u0642\u0637"),
    ("\u0623\u0633\u062f", "\u0627\u0633\u062f"),
    ("\u0219oim", "\u015foim"),
    ("h\u00f2a", "ho\u00e0"),
    ("TH\u00daY", "thu\u00fd"),
    ("salt & pepper", "salt &amp; pepper"),
    ("salt & pepper", "Salt and Pepper"),
    ("caf\u00e9", "caf&#233;"),
    ("dog", "dog."),
    ("dog", "'dog"),
    ("dog", "dog;"),
    ("dog", "dog*"),
    ("dog", "dog ?"),
    ("dog", "dog\u3002"),
    ("dog", '"Dog!'),
    ("dog", "dog (unsure)"),
    ("\u72ac", "\u72ac\uff08\u8981\u78ba\u8a8d\uff09"),
    ("7", "7?"),
    ("A", "A."),
    ("kho\u1ebb", unicodedata.normalize("NFD", "kh\u1ecfe")),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_labels_that_differ_only_in_spelling_are_a_question(one: str, other: str) -> None:
    labels = [one, other, "emu", one]
    with pytest.raises(DataError, match=r"differ only in spelling.*2 images.*1 image[\s\S]*--similar-labels merge"):
        unify_labels(labels, "ask")
    merged, notes = unify_labels(labels, "merge")
    assert merged == [one, one, "emu", one]
    assert len(notes) == 1 and notes[0].startswith("merged as")
    assert unify_labels(labels, "keep") == (labels, [])


def test_the_composed_form_remains_where_both_are_as_frequent() -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    assert unify_labels([decomposed, "café"], "merge")[0] == ["café", "café"]


def test_whole_numbers_lose_their_decimal_point_together() -> None:
    assert unify_labels(["1.0", "0.0"], "ask", whole=True)[0] == ["1", "0"]
    assert unify_labels(["1.0", "0.5"], "ask", whole=True)[0] == ["1.0", "0.5"]
    assert unify_labels(["1.0", "0.0"], "ask")[0] == ["1.0", "0.0"]


def test_missing_labels() -> None:
    assert all(map(is_missing, ("", " ", "nan", "NaN", "<NA>", "NULL")))
    assert not any(map(is_missing, ("none", "NA", "0", "banana")))


def test_errors_of_spreadsheets_are_missing_labels() -> None:
    english = (
        "#REF!",
        "#NAME?",
        "#VALUE!",
        "#DIV/0!",
        "#NUM!",
        "#NULL!",
        "#N/A",
        "#SPILL!",
        "#ERROR!",
        "Err:502",
        "########",
    )
    assert all(map(is_missing, english))
    assert all(map(is_missing, ("#BEZUG!", "#WERT!", "#NV", "#VALEUR!", "#NOM?", "#ССЫЛКА!"))), "as translated"
    assert not any(map(is_missing, ("#1", "#cat", "C#", "#", "##", "Err", "a!", "#2!")))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("m\u00f2", "m\u00f3"), ("A-", "A"), ("A-", "A+"), ("1-2", "12"), ("-1", "1"), ("5'", "5"), ("A", "A*")),
        *(("C", "C++"), ("C", "C#"), ("R", "R'"), ("?", "!"), (".", ","), ("cat", "!cat"), ("cat", "cat (wild)")),
    ],
)
def test_signs_with_a_meaning_make_other_labels(one: str, other: str) -> None:
    assert unify_labels([one, other], "ask") == ([one, other], [])


@pytest.mark.parametrize(
    "form",
    [
        "'{}'", '"{}"', "\u201c{}\u201d", "\u2018{}\u2019", "\u201e{}\u201c", "\uff02{}\uff02", "\u300c{}\u300d",
        "\u00ab{}\u00bb", '\\"{}\\"', "['{}']", "b'{}'", "('{}',)", "`{}`",
    ],
)  # fmt: skip
def test_labels_that_all_stand_in_quotation_marks_are_doubted(form: str) -> None:
    labels = [form.format(name) for name in ("cat", "dog", "cat")]
    kept, (warning,) = unify_labels(labels, "ask")
    assert kept == labels
    assert warning.startswith("every label stands in quotation marks, such as " + labels[0])
    assert unify_labels([*labels, "emu"], "ask") == ([*labels, "emu"], [])


@pytest.mark.parametrize(("labels", "given"), [(["a"], "the only image is"), (["a", "a"], "all 2 images are")])
def test_a_single_class_is_refused_with_the_number_of_its_images(labels: list[str], given: str) -> None:
    with pytest.raises(DataError, match=f"^{given} labelled 'a'; at least two classes are needed"):
        encode(labels)
