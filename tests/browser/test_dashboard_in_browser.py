"""Optuna Dashboard as `search dashboard` serves it, in a browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waitress.server import create_server

from search.report.dashboard.access import TOKEN_PARAMETER
from search.report.dashboard.serve import make_app
from storage.artifacts import ArtifactFolder
from storage.stores import Stores
from tests.browser.conftest import Watched
from tests.search.page.made_up import end_trials, lay_study, noisy

pytestmark = pytest.mark.slow

TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def address(stores: Stores, tmp_path: Path) -> Iterator[str]:
    """Of the dashboard of one study with hostile class names; ends in a slash."""
    study = lay_study(stores, tmp_path, names=("<img src=x onerror=alert(1)>", "猫", "dog"), budget=8)
    y = stores.datasets.get(study.fingerprint).y
    end_trials(stores, study, 8, lambda i, _: noisy(y, 3, 0.6 + 0.04 * i, i))
    pictures = ArtifactFolder(tmp_path / "artifacts").pictures()
    server = create_server(make_app(stores.optuna_storage, pictures, [], token=TOKEN), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}/"
    server.close()
    thread.join(30.0)


def test_the_dashboard_draws_a_study(address: str, opened: Callable[..., Watched]) -> None:
    seen = opened()
    seen.page.goto(f"{address}dashboard?{TOKEN_PARAMETER}={TOKEN}")
    seen.page.get_by_role("link", name="made_up Direction").click()
    seen.page.locator(".js-plotly-plot").first.wait_for()
    assert TOKEN not in seen.page.url
    assert "<img src=x" not in seen.page.content()
    assert seen.errors == []
    assert all(request.startswith(address) for request in seen.requests)
    assert [request for request in seen.requests if TOKEN in request] == seen.requests[:1]


def test_without_the_token_nothing_is_shown(address: str, opened: Callable[..., Watched]) -> None:
    seen = opened()
    answer = seen.page.goto(f"{address}dashboard")
    assert answer is not None and answer.status == 401
    assert "made_up" not in seen.page.content()
