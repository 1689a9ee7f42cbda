"""The folder of everything that is not in the database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from search.runtime.home import Home, HomeNotWritable


def test_a_home_keeps_its_identity_and_no_two_have_the_same(tmp_path: Path) -> None:
    home, other = Home(root=tmp_path / "a"), Home(root=tmp_path / "b")
    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(lambda _: home.identity(), range(32)))
    assert seen == {home.identity()}
    assert other.identity() not in seen
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert Home(root=tmp_path / "link").identity() in seen, "however it is reached"


def test_a_home_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HomeNotWritable, match="--home or RETABLE_HOME"):
        Home(root=tmp_path / "file" / "home").identity()
