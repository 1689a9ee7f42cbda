"""Take the pictures of the pages, and the output in ``docs/start.md``: ``python -m docs.site.screenshots``.

Runs the quickstart in a terminal, then photographs what it wrote with a headless Chromium. Takes one to three minutes.
A folder of work that is given and holds a finished run is used again: ``python -m docs.site.screenshots WORK``.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from docs.site import browser, terminal

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "images"
START = ROOT / "docs" / "start.md"
COMMAND = "search start --study quickstart"
RUNNING = 0.9
"""The picture of the running search is the one at this share of the output before its end."""
SECTIONS = {"errors": 900, "gallery": 900, "map": 1160}
"""Sections of the report with a picture of their own, ``report-SECTION.webp``: its height by the section's id."""
PREVIEW_ROW = 100
"""Lines of a picture in the preview that are all drawn on."""
OVER = "The search is over"
TOKEN = secrets.token_urlsafe(32)


def main(work: Path) -> None:
    PICTURES.mkdir(exist_ok=True)
    written = quickstart(work)
    take_terminal(written)
    take_report(work)
    take_preview(work)
    take_dashboard(work)
    for picture in sorted(PICTURES.iterdir()):
        print(f"{picture.stat().st_size:8,}  {picture.relative_to(ROOT)}")


def environment() -> dict[str, str]:
    """The variables of the commands: this checkout, whatever is installed."""
    own = {"PYTHONPATH": str(ROOT), "COLUMNS": str(terminal.WIDTH), "RETABLE_DASHBOARD_TOKEN": TOKEN}
    return {name: value for name, value in os.environ.items() if not name.startswith("RETABLE_")} | own


def run(work: Path, *arguments: str) -> None:
    subprocess.run(search(*arguments), cwd=work, env=environment(), check=True)


def search(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "search.cli", *arguments]


def quickstart(work: Path) -> str:
    """Everything that the quickstart wrote to the terminal."""
    kept = work / "terminal.ansi"
    if not kept.is_file():
        kept.write_bytes(terminal.record(search(*COMMAND.split()[1:]), work, environment()).encode())
    return kept.read_bytes().decode()  # as text, Python would read a return to the line's begin as its end


def take_terminal(written: str) -> None:
    """A picture of the search while it runs, and the whole output as text for the page."""
    shown = terminal.screens(written)
    searching = [screen for screen in shown if OVER not in "\n".join(screen)]
    prompt = f"$ {COMMAND}"
    running = searching[int(RUNNING * len(searching))]
    terminal.draw([prompt, *running], COMMAND, PICTURES / "terminal-running.svg")
    text = "\n".join(f"    {line}".rstrip() for line in [prompt, *terminal.plain(shown[-1])])
    page = START.read_text(encoding="utf-8")
    block = r"(<!-- capture of the quickstart: begin -->\n).*(<!-- capture of the quickstart: end -->)"
    START.write_text(re.sub(block, lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.DOTALL), encoding="utf-8")


def take_report(work: Path) -> None:
    """The report: its first screen, and the sections of `SECTIONS`, each alone."""
    # The quickstart begins with random weights; the map needs features of a pre-trained network.
    weights = work / "weights"
    subprocess.run([sys.executable, "-m", "benchmarks.lite_weights", str(weights)], env=environment(), check=True)
    run(work, "check", str(work / "retable" / "data" / "digits"), "--weights", str(weights))
    run(work, "report", "--study", "quickstart", "--output", "report.html")
    # The pictures show the paths as a user in the folder writes them.
    page = (work / "report.html").read_text(encoding="utf-8").replace(f"{work.resolve()}/", "")
    photograph_page(work, page, "report", 1080)
    for section, height in SECTIONS.items():
        if f'<section id="{section}"' not in page:
            raise RuntimeError(f"the report has no section {section!r}")
        style = f"section:not(#{section}), nav, header, h1, h1 + p {{ display: none }}"
        alone = page.replace("</head>", f"<style>{style}</style></head>")
        photograph_page(work, alone, f"report-{section}", height)


def photograph_page(work: Path, page: str, name: str, height: int) -> None:
    shown = work / f"{name}-shown.html"
    shown.write_text(page, encoding="utf-8")
    browser.photograph(shown.resolve().as_uri(), 1000, height, work / f"{name}.png")
    browser.compress(work / f"{name}.png", PICTURES / f"{name}.webp")


def take_preview(work: Path) -> None:
    """The augmentations of ``aug_tuning`` on two photographs that scikit-learn ships with."""
    from sklearn.datasets import load_sample_images

    for name, pixels in zip(("temple", "flower"), load_sample_images().images, strict=True):
        photograph = Image.fromarray(pixels)
        side = min(photograph.size)
        for left in (0, (photograph.width - side) // 2, photograph.width - side):
            path = work / "photographs" / name / f"{left}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph.crop((left, 0, left + side, side)).resize((224, 224)).save(path)
    run(work, "preview", "--study", "aug_tuning", "--data", "photographs", "--images", "2", "--output", "preview.png")
    with Image.open(work / "preview.png") as drawn:
        blank = np.asarray(drawn.convert("L")).min(axis=1) > 250
        # The end of the row of pictures that begins before the middle: the first blank line behind a picture's height.
        edge = next(y for y in range(drawn.height // 2, 0, -1) if blank[y] and not blank[y - PREVIEW_ROW : y].any())
        crop = (0, 0, drawn.width, edge)
    browser.compress(work / "preview.png", PICTURES / "preview.webp", crop=crop, width=1000)


def take_dashboard(work: Path) -> None:
    """Optuna Dashboard on the study."""
    with dashboard(work) as address, browser.logged_in(address, TOKEN) as page:
        # Study 1 is the search itself; later ones are its confirmation and final training.
        browser.photograph(f"{page}/dashboard/studies/1", 1280, 1000, work / "dashboard.png", wait=20)
    browser.compress(work / "dashboard.png", PICTURES / "dashboard.webp")


@contextmanager
def dashboard(work: Path) -> Iterator[str]:
    """Start ``search dashboard``; the address without a path."""
    command = search("dashboard", "--port", "0")
    with subprocess.Popen(command, cwd=work, env=environment(), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            found = re.search(r"http://[^/\s]+", line)
            if found is None:
                raise RuntimeError(f"the dashboard printed no address: {line!r}")
            yield found[0]
        finally:
            server.send_signal(signal.SIGINT)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
