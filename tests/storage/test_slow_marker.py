"""The marker `slow` of the tests that run on PostgreSQL."""

from __future__ import annotations

import pytest

from tests.databases import PostgresServer


def is_slow(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("slow") is not None


def test_the_half_on_postgresql_is_slow(dialect: str, request: pytest.FixtureRequest) -> None:
    assert is_slow(request) == (dialect == "postgresql")


def test_what_asks_for_the_server_is_slow(postgres: PostgresServer, request: pytest.FixtureRequest) -> None:
    assert is_slow(request)


def test_nothing_else_is_slow(request: pytest.FixtureRequest) -> None:
    assert not is_slow(request)
