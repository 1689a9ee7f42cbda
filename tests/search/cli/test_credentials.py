"""The database password is neither shown nor logged nor stored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.databases import PostgresServer

PASSWORD = "pa55-" + "w0rd-of-the-team"


@pytest.fixture
def secret_url(postgres: PostgresServer) -> str:
    url = postgres.create()
    return make_url(url).set(password=PASSWORD).render_as_string(hide_password=False)


def run(*arguments: str, cwd: Path, url: str, code: int) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RETABLE_STORAGE": url, "NO_ALBUMENTATIONS_UPDATE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "search.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=240,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert PASSWORD not in output
    return output


def test_a_whole_study_keeps_the_password_secret(
    secret_url: str, competition_folder: Path, study_file: Path, tmp_path: Path, postgres: PostgresServer
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


def test_errors_do_not_show_the_password(secret_url: str, tmp_path: Path) -> None:
    url = make_url(secret_url)
    unreachable = url.set(host="127.0.0.1", port=1, query={}).render_as_string(hide_password=False)
    for arguments in (["status"], ["studies"], ["status", "--debug"]):
        output = run(*arguments, cwd=tmp_path, url=unreachable, code=2)
        assert "does not answer" in output
    malformed = f"postgresql://team:{PASSWORD}@host:notaport/x"
    assert "cannot be read" in run("status", cwd=tmp_path, url=malformed, code=2)
