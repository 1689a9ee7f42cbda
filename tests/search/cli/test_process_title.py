"""Process titles hide passwords."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.cli.program.process_title import _without_tokens
from storage.database.urls import without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("search status --storage postgresql://me:s3cret@db/x", "search status --storage postgresql://me:***@db/x"),
        ("--storage=postgresql+psycopg://me:a:b/c@db/x -n y", "--storage=postgresql+psycopg://me:***@db/x -n y"),
        (
            "postgresql://db/x?user=me&password=s3&sslmode=require",
            "postgresql://db/x?user=me&password=***&sslmode=require",
        ),
        ("postgresql://db/x?sslpassword=s3", "postgresql://db/x?sslpassword=***"),
        ("search start --data a@b:c --storage sqlite:///x.db", "search start --data a@b:c --storage sqlite:///x.db"),
        ("postgresql://me@db/x", "postgresql://me@db/x"),
    ],
)
def test_passwords_are_replaced_by_asterisks(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


@pytest.mark.slow
@pytest.mark.parametrize("password", ["s3cret", "s3cret/a b@c:s3cret", "s3cret%40@ s3cret"])
def test_the_title_of_a_running_process_shows_no_password(password: str) -> None:
    program = (
        "import sys; from search.cli.program.process_title import hide_passwords; hide_passwords(sys.argv)\n"
        "print(open('/proc/self/cmdline').read().replace(chr(0), ' '), flush=True)"
    )
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("this system has no /proc to look at")
    url = f"postgresql://me:{password}@db.example/retable"
    done = subprocess.run(
        [sys.executable, "-c", program, "--storage", url], capture_output=True, text=True, timeout=60, check=True
    )
    assert "me:***@db.example" in done.stdout and "s3cret" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["dashboard", "--token", "s3cret", "--port", "0"], ["dashboard", "--token", "***", "--port", "0"]),
        (["dashboard", "--token=s3cret=x"], ["dashboard", "--token=***"]),
        (["dashboard", "--token"], ["dashboard", "--token"]),
        (["start", "--name", "token"], ["start", "--name", "token"]),
    ],
)
def test_the_token_of_the_dashboard_is_hidden(arguments: list[str], shown: list[str]) -> None:
    assert _without_tokens(arguments) == shown
