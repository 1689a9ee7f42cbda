"""The pages become a site that loads nothing from elsewhere; whatever a reader would miss fails the build."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINKED = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Dockerfile")
LOADED = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*?\b(?:src|href)=["'](?:https?:)?//[^"']+""")

pytestmark = pytest.mark.slow


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A copy of the pages, of what they link to and of the script that builds the site."""
    copy = tmp_path / "checkout"
    for name in ("docs", "deploy", ".ci"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*LINKED, "benchmarks/README.md"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    return copy


def build(pages: Path) -> subprocess.CompletedProcess[str]:
    command = [str(pages / ".ci" / "site")]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_site_is_whole_and_loads_nothing_from_elsewhere(pages: Path) -> None:
    done = build(pages)
    assert (done.returncode, done.stderr) == (0, "")
    site = pages / "build" / "site"
    built = {str(path.relative_to(site).with_suffix(".md")) for path in site.rglob("*.html")}
    written = {str(path.relative_to(pages)) for path in pages.rglob("*.md")}
    assert written <= built
    texts = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert {path.name: found for path, text in texts.items() if (found := LOADED.findall(text))} == {}
    styles = "\n".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)]+", styles) == []


def test_what_a_reader_would_miss_fails_the_build(pages: Path) -> None:
    broken = {
        "[page](nowhere.md)": "nowhere",
        "[heading](running.md#nothing-of-the-kind)": "nothing-of-the-kind",
        "[here](#no-such-heading)": "no-such-heading",
        "![picture](images/missing.png)": "missing.png",
    }
    team = pages / "docs" / "team.md"
    team.write_text(team.read_text() + "\n\n" + "\n\n".join(broken) + "\n")
    (pages / "docs" / "forgotten.md").write_text("# A page that the navigation lacks\n")
    (pages / "docs" / "reference" / "scale.md").unlink()  # and one that only the navigation has

    done = build(pages)
    assert done.returncode != 0
    reported = [line for line in done.stderr.splitlines() if "WARNING" in line]
    for sign in (*broken.values(), "forgotten.md", "docs/reference/scale"):
        assert any(sign in line for line in reported), sign
