"""Pictures of pages by a headless Chromium, and a proxy that logs it in to the dashboard."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Programs that are looked for; `.ci/browser` looks for the same."""
MOST_BYTES = 200_000
"""Largest picture."""


def find_browser() -> str:
    """Path of the browser.

    Raises:
        SystemExit: there is none.
    """
    for name in NAMES:
        if path := shutil.which(name):
            return path
    raise SystemExit(f"no browser on the PATH: install one of {', '.join(NAMES)}")


def photograph(url: str, width: int, height: int, path: Path, *, wait: float = 1.0) -> None:
    """Write a picture of a page as PNG.

    Args:
        wait: seconds of the page's own clock before the picture is taken.
    """
    command = [find_browser(), "--headless=new", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
    command += [f"--window-size={width},{height}", f"--virtual-time-budget={wait * 1000:.0f}", f"--screenshot={path}"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium refuses to run as root with it
    path.unlink(missing_ok=True)
    subprocess.run([*command, url], check=True, capture_output=True, timeout=120)
    if not path.is_file():
        raise RuntimeError(f"the browser wrote no picture of {url}")


def compress(source: Path, target: Path, *, crop: tuple[int, int, int, int] | None = None, width: int = 0) -> None:
    """Write a picture as WebP of at most `MOST_BYTES`: without loss if that suffices.

    Args:
        crop: left, top, right and bottom edge of the part to keep.
        width: shrink it to this width; 0: keep its size.
    """
    image = Image.open(source).convert("RGB")
    if crop:
        image = image.crop(crop)
    if width and width < image.width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.save(target, "WEBP", lossless=True, method=6)
    for quality in (90, 80, 70, 60):
        if target.stat().st_size <= MOST_BYTES:
            return
        image.save(target, "WEBP", quality=quality, method=6)
    if target.stat().st_size > MOST_BYTES:
        raise RuntimeError(f"{target} takes {target.stat().st_size} bytes: crop it")


@contextmanager
def logged_in(address: str, token: str) -> Iterator[str]:
    """The address of a proxy of the dashboard that adds the token: a headless browser keeps no cookies."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            request = urllib.request.Request(address + self.path, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                    status, kind, body = answer.status, answer.headers["Content-Type"], answer.read()
            except urllib.error.HTTPError as error:
                status, kind, body = error.code, error.headers["Content-Type"], error.read()
            self.send_response(status)
            self.send_header("Content-Type", kind or "application/octet-stream")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """No log."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
