"""The home folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from search.runtime.home import Home, HomeNotWritable


def test_the_identity_of_a_home_is_constant_and_unique(tmp_path: Path) -> None:
    home, other = Home(root=tmp_path / "a"), Home(root=tmp_path / "b")
    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(lambda _: home.identity(), range(32)))
    assert seen == {home.identity()}
    assert other.identity() not in seen
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert Home(root=tmp_path / "link").identity() in seen, "the same through a symbolic link"


def test_the_error_of_an_unwritable_home_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HomeNotWritable, match="--home or RETABLE_HOME"):
        Home(root=tmp_path / "file" / "home").identity()
