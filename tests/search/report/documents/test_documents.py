"""The documents of `--json` against the database, and every field against its description in docs/json.md."""

from __future__ import annotations

import datetime
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from search.cli.app import app
from search.report.documents.comparison import comparison_document
from search.report.documents.encode import encode, moment, print_document
from search.report.documents.status import status_document
from search.report.finalists.comparison import NothingConfirmed, compare_finalists
from search.runtime.heartbeat import Heartbeat
from search.runtime.home import Home
from search.study_setup.create_study import create_study
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.study_state.snapshot import read_snapshot
from search.study_state.study import Study
from search.tuning.suggest import sample
from storage.records.imports import ImportedPredictions
from storage.stores import Stores, open_stores
from storage.values import Failure, TrialStatus
from tests.search.report.test_comparison import confirmed
from tests.search.small_study import STUDY, make_context, study_plan

DOCS = Path(__file__).parents[4] / "docs" / "json.md"
ROW = re.compile(r"\| `([a-z_.\[\]]+)` \| ([a-z ]+) \| (\S.*) \|")
OPEN = ("recipe", "scores")  # their contents are not fields
TYPES: dict[str, Any] = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: type(v) is int,
    "number": lambda v: type(v) in (int, float) and math.isfinite(v),
    "boolean": lambda v: isinstance(v, bool),
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "null": lambda v: v is None,
    "time": lambda v: isinstance(v, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", v),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, competition_folder: Path) -> Iterator[tuple[Stores, Study]]:
    """Confirmed finalists, a failed trial, a worker at a trial, an export, an import, a deadline."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "colours.toml").write_text(STUDY)
    stores = open_stores(f"sqlite:///{folder / 'retable.db'}", create=True)
    stored = create_study(stores, study_plan(folder / "colours.toml", competition_folder))
    context = make_context(stores, stored, competition_folder, folder / "home")
    confirmed(context, good=0.9, default=0.85)
    stores.studies.set_budget(stored.id, 40)
    item = stores.queue.take(stored.id, "w", 60.0)
    assert item is not None and stores.queue.fail(item, Failure.DISK, "no room \x1b[31m \u202e on 円盤 \x9b \ud83d")
    stores.exports.add(stored.id, folder="/x/輸出", recipe={}, score=math.nan, score_se=0.1, notes={}, forecast=None)
    proba = (context.images.y[:, None] == range(3)).astype("float32")
    made = ImportedPredictions(oof=proba, test=proba[: len(stores.datasets.get(stored.fingerprint).test_ids)])
    stores.imports.add(stored.id, "theirs", made, value=0.99, value_se=math.inf, notes={})
    stores.studies.set_deadline(stored.id, stores.database.now() + 3600, hours=1.0, period_began=0.0)
    item = stores.queue.take(stored.id, "計算機", 3600.0)
    assert item is not None
    trial = context.optuna_study.ask()
    assert stores.queue.assign_trial(item, trial.number, sample(trial, stored.spec).to_flat()) is not None
    trial.set_user_attr(EPOCHS_ATTRIBUTE, 3)
    trial.report(0.5, 1)
    with Heartbeat(stores.workers, "計算機", device="cpu", home="h", study_id=stored.id):
        yield stores, stored
    context.loader.close()
    stores.database.close()


def run(stores: Stores, *arguments: str) -> dict[str, Any]:
    """What a command prints on standard output, which is one JSON document."""
    url = stores.database.url.render_as_string(hide_password=False)
    done = CliRunner().invoke(app, [*arguments, "--storage", url], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert not re.search(r"NaN|Infinity", done.stdout)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return dict(json.loads(done.stdout, parse_constant=refuse))


def documented(command: str) -> dict[str, str]:
    """Type of each field in the table of a command."""
    section = DOCS.read_text(encoding="utf-8").partition(f"## search {command} --json")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    found = [ROW.fullmatch(row) for row in rows]
    assert all(found), [row for row, match in zip(rows, found, strict=True) if not match]
    return {match[1]: match[2] for match in found if match}


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of every field of a document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            own = f"{path}.{name}" if path else name
            yield own, inner
            if name not in OPEN:
                yield from fields(inner, own)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner, f"{path}[]")


@pytest.mark.parametrize("command", ["status", "compare"])
def test_every_field_is_documented_and_has_its_type(study: tuple[Stores, Study], command: str) -> None:
    table, found = documented(command), list(fields(run(study[0], command, "--json")))
    assert {path for path, _ in found} == set(table)
    for path, value in found:
        assert any(TYPES[kind](value) for kind in table[path].split(" or ")), (path, table[path], value)


def test_the_state_is_that_of_the_database(study: tuple[Stores, Study]) -> None:
    stores, stored = study
    snapshot = read_snapshot(stores, stored.name)
    document = run(stores, "status", "--json")
    assert (document["schema"], document["version"]) == ("retable.status", 1)
    assert document["database"] == stores.database.name
    assert document["study"]["name"] == "colours" and document["study"]["state"] == "running"
    for row, record in zip(document["trials"], snapshot.records, strict=True):
        assert (row["trial"], row["value"], row["standard_error"]) == (record.number, record.value, record.value_se)
        assert (row["recipe"], row["seconds"], row["epochs"]) == (record.recipe, record.seconds, record.epochs_done)
        assert seconds(row["finished"]) == pytest.approx(record.finished, abs=1e-3)
    assert [row["trial"] for row in document["ranking"]] == [candidate.number for candidate in snapshot.ranking]
    best = snapshot.ranking[0]
    assert (document["best"]["value"], document["best"]["brier"]) == (best.value, best.brier)
    assert document["progress"]["finished"] == snapshot.count(TrialStatus.FINISHED)
    assert 3500 < document["progress"]["seconds_to_deadline"] <= 3600
    (failure,) = document["failures"]
    assert "on 円盤" in failure["reason"] and failure["failure"] == "disk"
    (worker,) = document["workers"]
    assert (worker["name"], worker["doing"], worker["scores"]) == ("計算機", "trial 10 epoch 2/3", [0.5])
    (export,) = document["exports"]
    assert (export["folder"], export["value"], export["standard_error"]) == ("/x/輸出", None, 0.1)
    assert document["imports"][0]["standard_error"] is None


def seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def test_the_finalists_are_those_of_the_table(study: tuple[Stores, Study], tmp_path: Path) -> None:
    stores, stored = study
    comparison = compare_finalists(stores, stored.name)
    document = run(stores, "compare", "--json", "--picture", str(tmp_path / "c.png"), "--home", str(tmp_path / "h"))
    assert (tmp_path / "c.png").is_file() and not (tmp_path / "h").exists()
    assert (document["reliability"], document["noise"]) == (
        comparison.estimates.reliability,
        comparison.estimates.noise,
    )
    for row, made in zip(document["finalists"], comparison.estimates.rows, strict=True):
        assert (row["trial"], row["value"], row["averaged"]) == (made.number, made.shrunk, made.averaged)
        assert (row["tied"], row["chance_best"]) == (made.tied, made.chance_best)
    assert tuple(document["conclusions"]) == comparison.conclusions
    run(stores, "compare", "--json", "--home", str(tmp_path / "h"))
    assert not (tmp_path / "h").exists(), "no picture is asked for"


def test_errors_are_no_documents(study: tuple[Stores, Study], stores: Stores, stored: Study, tmp_path: Path) -> None:
    with pytest.raises(NothingConfirmed):
        run(stores, "compare", "--json")
    url = stores.database.url.render_as_string(hide_password=False)
    for wrong in (["--watch"], ["--all"], ["--failed"], ["3"]):
        done = CliRunner().invoke(app, ["status", "--json", *wrong, "--storage", url])
        assert (done.exit_code, done.stdout) == (2, "")


def test_a_new_study_has_a_document(stores: Stores, stored: Study, tmp_path: Path) -> None:
    document = run(stores, "status", "--json", "--home", str(tmp_path))
    assert document["best"] is None and document["trials"] == [] and document["study"]["deadline"] is None
    assert {path for path, _ in fields(document)} <= set(documented("status"))


Texts = st.text(st.characters(codec="utf-8", exclude_characters="@"))
"""Before an @ may be a password, which is masked."""
Values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | Texts,
    lambda inner: st.lists(inner) | st.dictionaries(Texts, inner),
    max_leaves=20,
)


def test_passwords_are_masked_in_keys_and_values() -> None:
    assert json.loads(encode({"A:0@0": ["A:secret@host"]})) == {"A:***@0": ["A:***@host"]}


@given(st.dictionaries(Texts, Values), st.booleans())
def test_any_value_is_valid_json_and_changes_no_terminal(document: dict[str, Any], ascii_only: bool) -> None:
    text = encode(document, ascii_only=ascii_only)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]", text)
    assert text.isascii() or not ascii_only
    assert json.loads(text) == finite(document)


def finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def test_an_output_without_unicode_gets_escapes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for encoding, shown in (("ascii", b'"\\u9244"'), ("cp932", "鉄".encode("cp932")), ("utf-8", "鉄".encode())):
        path = tmp_path / encoding
        with path.open("w", encoding=encoding) as file:
            monkeypatch.setattr(sys, "stdout", file)
            print_document({"name": "鉄"})
        assert shown in path.read_bytes()


def test_passwords_are_masked(study: tuple[Stores, Study]) -> None:
    assert "secret" not in encode({"reason": "postgresql://me:secret@host/db is gone"})


def test_times_are_utc() -> None:
    assert moment(None) is None and moment(0.0) == "1970-01-01T00:00:00.000Z"
    assert moment(1767225599.9996) in ("2025-12-31T23:59:59.999Z", "2026-01-01T00:00:00.000Z")


def test_the_documents_are_made_of_the_snapshot(study: tuple[Stores, Study], tmp_path: Path) -> None:
    stores, stored = study
    snapshot = replace(read_snapshot(stores, stored.name), waiting=17)
    assert status_document(stores, snapshot, Home(root=tmp_path))["progress"]["waiting"] == 17
    assert comparison_document(stores, compare_finalists(stores, stored.name))["study"] == "colours"
