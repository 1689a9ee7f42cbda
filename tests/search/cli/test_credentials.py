"""The database password is neither shown nor logged nor stored."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy import create_engine, make_url, text

from search.cli.app import main
from search.runtime.console import PrintableFormatter
from tests.command_line import CommandLine
from tests.databases import PostgresServer

PASSWORD = "pa55-" + "w0rd-of-the-team"
MISPLACED = f"postgresql://team:{PASSWORD}@host/db"


@pytest.fixture
def secret_url(postgres: PostgresServer) -> str:
    url = postgres.create()
    return make_url(url).set(password=PASSWORD).render_as_string(hide_password=False)


@pytest.fixture
def run(command_line: CommandLine) -> Callable[..., str]:
    """Runs a command, whose output must not show the password; returns the output."""

    def call(*arguments: str, cwd: Path, url: str, code: int) -> str:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RETABLE_STORAGE": url, "NO_ALBUMENTATIONS_UPDATE": "1"}
        done = command_line.run(*arguments, cwd=cwd, environment=environment)
        output = done.stdout + done.stderr
        assert done.returncode == code, output
        assert PASSWORD not in output
        return output

    return call


def test_a_whole_study_keeps_the_password_secret(
    run: Callable[..., str],
    secret_url: str,
    competition_folder: Path,
    study_file: Path,
    tmp_path: Path,
    postgres: PostgresServer,
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    run(
        *("start", "--study", str(study_file), "--data", str(competition_folder), "--trials", "1"),
        cwd=folder,
        url=secret_url,
        code=0,
    )
    assert ":***@" in run("status", cwd=folder, url=secret_url, code=0)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    for path in files:
        assert PASSWORD.encode() not in path.read_bytes(), path
    engine = create_engine(secret_url)
    with engine.connect() as connection:
        tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        assert "retable_worker" in tables and "studies" in tables
        for table in tables:
            rows = connection.execute(
                text(f"SELECT count(*) FROM {table} t WHERE t::text LIKE :pattern"), {"pattern": f"%{PASSWORD}%"}
            )
            assert rows.scalar_one() == 0, table
    engine.dispose()
    postgres.drop(secret_url)


def test_errors_do_not_show_the_password(run: Callable[..., str], secret_url: str, tmp_path: Path) -> None:
    url = make_url(secret_url)
    unreachable = url.set(host="127.0.0.1", port=1, query={}).render_as_string(hide_password=False)
    for arguments in (["status"], ["studies"], ["status", "--debug"]):
        output = run(*arguments, cwd=tmp_path, url=unreachable, code=2)
        assert "does not answer" in output
    malformed = f"postgresql://team:{PASSWORD}@host:notaport/x"
    assert "cannot be read" in run("status", cwd=tmp_path, url=malformed, code=2)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the program in this process; returns its output, of standard error as well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RETABLE_STORAGE", raising=False)
    monkeypatch.setattr("setproctitle.setproctitle", lambda title: None)

    def run_main(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["search", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        captured = capsys.readouterr()
        return captured.out + captured.err

    return run_main


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "data", MISPLACED),
        ("check", MISPLACED),
        ("--debug", "check", MISPLACED),
        ("check", "data", "--layout", MISPLACED),
        ("check", "data", "--layout", f"{MISPLACED}{'/longer' * 40}"),
        ("check", f"--{MISPLACED}"),
        (MISPLACED,),
        ("start", "--study", MISPLACED),
        ("start", "--study", "quickstart", "--data", MISPLACED),
        ("start", "--study", "quickstart", "--engine", MISPLACED),
        ("start", "--study", "quickstart", "--name", MISPLACED),
        ("start", "--study", "quickstart", "--hours", MISPLACED),
        ("start", "--study", "quickstart", "--set", MISPLACED),
        ("start", "--study", "quickstart", "--set", f"postgresql://team:{PASSWORD * 20}@host/db"),
        ("start", "--study", "quickstart", "--gpus", MISPLACED),
        ("predict", MISPLACED, "images"),
        ("studies", MISPLACED),
        ("check", f"postgresql:://team:{PASSWORD}@host/db"),
        ("check", f"postgresql//team:{PASSWORD}@host/db"),
        ("check", f"postgresql://team:{PASSWORD} with 'blanks' and // slashes {PASSWORD}@host/db"),
        ("check", "data", "--layout", f"postgresql://team:{PASSWORD} with 'blanks' {PASSWORD}@host/db"),
        ("check", f"host=h password={PASSWORD}"),
        ("check", f"postgresql://host/db?sslpassword={PASSWORD}"),
    ],
)
def test_a_misplaced_url_keeps_its_password_secret(call: Callable[..., str], arguments: tuple[str, ...]) -> None:
    output = call(*arguments)
    # Typer breaks the lines of its messages.
    assert PASSWORD[:6] not in output.replace("\n", "").replace("│", "").replace(" ", "")


def test_hints_are_shown_as_they_are(call: Callable[..., str]) -> None:
    assert "postgresql://USER:PASSWORD@HOST:PORT/DATABASE" in call("status", "--storage", "nonsense")


def test_an_unexpected_error_keeps_the_password_secret(
    call: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("search.cli.early_checks.check_folder", broken := Mock(side_effect=RuntimeError(MISPLACED)))
    monkeypatch.setattr(sys, "argv", ["search", "start", "--study", "quickstart", "--data", "x", "--debug"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1 and broken.called
    output = capsys.readouterr().err
    assert "RuntimeError" in output and "Traceback" in output and PASSWORD not in output


def test_logs_keep_the_password_secret() -> None:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "no answer from %s", (MISPLACED,), None)
    assert PrintableFormatter("%(message)s").format(record) == "no answer from postgresql://team:***@host/db"
