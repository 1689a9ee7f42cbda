"""The process ``search``; ``python -m search.cli`` is the same without the installed script."""

from __future__ import annotations

import atexit
import os
import sys


def run() -> None:
    """Call `search.cli.app.main`, then end the process without taking the imported libraries apart.

    Python spends more than a second on that after an import of torch, and nothing depends on it: the operating system
    takes back memory and files. Before, Python waits for all threads and calls what is registered with `atexit`.
    """
    codes: list[int] = []

    def end() -> None:
        if codes:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(codes[0])

    atexit.register(end)  # before any import registers a function: the first one is called last

    from search.cli.app import main

    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, int):
            codes.append(ended.code)
        raise


if __name__ == "__main__":
    run()
