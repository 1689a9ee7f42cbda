"""The program ``search``: its commands, its logging, and `main`, which turns errors into messages and exit codes.

Heavy imports wait until a command needs them, so that ``search --help`` and most error messages appear immediately.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from search.cli.commands import browse, control, data, export, model, probe, start, status, train
from search.cli.program.process_title import hide_passwords
from search.cli.program.usage_errors import readable_usage_errors
from search.cli.program.version import print_version
from search.runtime.console import PrintableFormatter, accept_any_encoding, ignore_empty_size, say_error, say_traceback
from search.runtime.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_MISTAKE, SearchError
from search.runtime.gpus.torch_devices import use_cuda_names
from storage.errors import StorageError
from studies.errors import StudyError
from trainer.common.errors import TrainerError
from trainer.common.files import DISK_FULL
from trainer.inference.errors import InferenceError
from trainer.inference.printable import excerpt
from trainer.inference.resources import keep_freed_memory, prepare_torch

EXPECTED = (SearchError, StudyError, TrainerError, InferenceError, StorageError)
"""Base classes of the errors that say what the user can do. All other exceptions are bugs."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # errors of a full or broken disk
_HELP = {
    **dict.fromkeys(DISK_FULL, "free space on this disk, and type the same command again"),
    errno.ENAMETOOLONG: "give a shorter one",
}
"""What to do about errors of the operating system that the user's disk or arguments cause."""


class _Commands(TyperGroup):
    """The group of all commands. Usage errors quote what the user typed, which may be a URL with a password."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with readable_usage_errors():
            return super().make_context(*args, **extra)

    def invoke(self, *args: Any, **extra: Any) -> Any:
        with readable_usage_errors():
            return super().invoke(*args, **extra)


app = typer.Typer(
    name="search",
    cls=_Commands,
    help="Hyperparameter search for small image-classification data sets: from a folder of images to a submission.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the releases for a bug report.", is_eager=True, callback=print_version),
    ] = False,
) -> None:
    """Set up logging. `main` reads ``--debug`` as well, since it handles the errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler])
    # Informational messages of libraries are of no use to the user.
    for library in ("alembic", "matplotlib", "urllib3", "filelock", "optuna", "timm", "waitress"):
        logging.getLogger(library).setLevel(logging.WARNING)


COMMANDS = (
    ("check", data.check),
    ("preview", data.preview),
    ("studies", browse.studies),
    ("probe", probe.probe),
    ("start", start.start),
    ("worker", train.worker),
    ("status", status.status),
    ("pause", control.pause),
    ("resume", control.resume),
    ("stop", control.stop),
    ("try", control.try_recipe),
    ("retry", control.retry),
    ("folds", data.folds),
    ("confirm", train.confirm),
    ("compare", status.compare),
    ("report", status.report),
    ("labels", data.labels),
    ("export-best", export.export_best),
    ("import", export.import_predictions),
    ("pretrain", train.pretrain),
    ("predict", model.predict),
    ("convert", model.convert),
    ("single", model.single),
    ("replay", browse.replay),
    ("backbones", browse.backbones),
    ("submissions", export.submissions),
    ("dashboard", browse.dashboard),
)
"""All commands by name, in the order of ``search --help``."""

for _name, _command in COMMANDS:
    app.command(_name)(_command)


def main() -> None:
    """Run the program ``search``.

    An expected error ends it with the error's message and ``exit_code`` (default 2). Any other error ends it with exit
    code 1 and a hint to ``--debug``, which shows the traceback.
    """
    # Without this, Albumentations looks for a newer version of itself on the network.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    prepare_torch()
    keep_freed_memory()
    use_cuda_names()
    accept_any_encoding()
    ignore_empty_size()
    hide_passwords([Path(sys.argv[0]).name, *sys.argv[1:]])
    debug = "--debug" in sys.argv
    if debug:
        # Users append it to a command that has just failed, whereas typer expects it before the command's name.
        sys.argv.remove("--debug")
        sys.argv.insert(1, "--debug")
    if (number := _empty_argument(sys.argv)) is not None:
        say_error(f"error: argument {number} is empty (after {sys.argv[number - 1]!r}): is a shell variable unset?")
        sys.exit(EXIT_MISTAKE)
    if not _working_folder_exists():
        say_error(
            "error: the current folder does not exist any more: change to another one (cd), and repeat the command"
        )
        sys.exit(EXIT_MISTAKE)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # an error at the exit of Python could not be explained
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # `search status | head`: no error.
        _discard_output()
        sys.exit(0)
    except EXPECTED as error:
        if debug:
            say_traceback()
        say_error(f"error: {error}")
        sys.exit(getattr(error, "exit_code", EXIT_MISTAKE))
    except MemoryError as error:
        say_error(
            f"error: the memory does not suffice{f' ({error})' * bool(str(error))}: use smaller images, "
            "fewer at a time, or a machine with more memory"
        )
        sys.exit(EXIT_MISTAKE)
    except Exception as error:
        if debug:
            say_traceback()
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None and _output_fails():
            say_error(f"error: the output cannot be written: {(error.strerror or str(error)).lower()}")
            sys.exit(EXIT_MISTAKE)
        if isinstance(error, OSError) and error.errno in _HELP and error.filename is not None:
            reason = (error.strerror or str(error)).lower()
            say_error(f"error: {reason}: {excerpt(str(error.filename))}: {_HELP[error.errno]}")
            sys.exit(EXIT_MISTAKE)
        say_error(f"error: {type(error).__name__}: {error}")
        say_error("This is a bug in Retable. Run the command again with --debug for the traceback.")
        sys.exit(EXIT_BUG)


def _empty_argument(arguments: Sequence[str]) -> int | None:
    """The place of the first empty argument or option value; None without one. An empty path means `.` to Python."""
    return next((i for i, text in enumerate(arguments) if i and re.fullmatch(r"(--[a-z-]+=)?", text)), None)


def _working_folder_exists() -> bool:
    """Whether the current folder exists. Without it, no relative path means anything."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _output_fails() -> bool:
    """Whether standard output takes no further line. If so, the rest is discarded."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        _discard_output()
        return True
    return False


def _discard_output() -> None:
    """Lead standard output to nowhere. Python would otherwise write to it again at exit, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
