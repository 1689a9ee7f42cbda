"""Options that several commands share, as annotated types. Imports nothing heavy, like all of `search.cli`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from search.runtime.commands import remember_home, remember_storage

LARGEST = 2**31 - 1
"""The largest number in a column of PostgreSQL's type integer."""


def a_number(value: float | None) -> float | None:
    """Option callback: the value, if it is a number. NaN passes the check of a range.

    Raises:
        typer.BadParameter: it is NaN.
    """
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is not a number")
    return value


Study = Annotated[
    str | None,
    typer.Option("--study", "-s", help="Name of a stored study; default: the one that runs, else that worked on last."),
]
Studies = Annotated[
    list[str] | None,
    typer.Option(
        "--study",
        "-s",
        help="Name of a stored study; default: the one that runs, else that worked on last. Repeatable: studies with "
        "the same images, folds and metric are blended into one export, in the folder of the first.",
    ),
]
StudyFile = Annotated[
    str,
    typer.Option(
        "--study",
        "-s",
        help="A shipped study (see `search studies`), the path of a .toml file, or the name of a stored study. With "
        "--pseudo-from, --distil-from or --two-stage-from: a name for the new study.",
    ),
]


def _existing(url: str) -> str:
    """Option callback: the URL, if its database exists."""
    from storage.database.existing import check_database

    _remembered(url)
    check_database(url)
    return url


def _remembered(url: str) -> str:
    """Option callback: the URL, which commands in messages then name, too."""
    remember_storage(url, DEFAULT_STORAGE)
    return url


Storage = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="RETABLE_STORAGE",
        show_envvar=True,
        show_default="sqlite:///retable.db",
        help="Database URL: sqlite:///FILE or postgresql://USER@HOST/NAME.",
        callback=_remembered,
    ),
]
StoredIn = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="RETABLE_STORAGE",
        show_envvar=True,
        show_default="sqlite:///retable.db",
        help="URL of the database with the study.",
        callback=_existing,
    ),
]
Data = Annotated[
    Path | None, typer.Option("--data", "-d", envvar="RETABLE_DATA", show_envvar=True, help="Folder of images.")
]


def _remembered_home(home: Path) -> Path:
    """Option callback: the folder, which commands in messages then name, too."""
    remember_home(home, DEFAULT_HOME)
    return home


HomeFolder = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="RETABLE_HOME",
        help="Folder for decoded images, checkpoints and exports.",
        callback=_remembered_home,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        help="Folder of pre-trained weights, named by timm model: NAME.safetensors or NAME.pth. A study remembers it.",
    ),
]
WeightsOnce = Annotated[
    Path | None,
    typer.Option("--weights", help="Folder of pre-trained weights, named by timm model: NAME.safetensors or NAME.pth."),
]
"""``--weights`` of commands without a study that could remember it."""
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a setting of the study file; repeatable."),
]
DataSet = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.FIELD=VALUE",
        help="A setting of the data, such as data.label_column=NAME, as a study takes it; repeatable.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        min=0,
        max=10_000,
        help="Workers to start; default: one per free GPU, or one on the CPU. 0: none, other workers serve the study.",
    ),
]
PerGpu = Annotated[
    int, typer.Option("--workers-per-gpu", min=1, max=64, help="Local workers per GPU, which share its memory.")
]
Grace = Annotated[
    float,
    typer.Option(
        "--grace",
        min=0.0,
        max=604_800.0,
        callback=a_number,
        help="Seconds that the current epoch has to end after a stop is requested; then it is abandoned.",
    ),
]
Quota = Annotated[
    float | None,
    typer.Option(
        "--checkpoint-quota",
        min=0.0,
        max=1e6,
        callback=a_number,
        help="GiB for checkpoints of trials that wait or are paused; default: 20. The worst and the oldest go first.",
    ),
]
CacheQuota = Annotated[
    float | None,
    typer.Option(
        "--cache-quota",
        envvar="RETABLE_CACHE_QUOTA",
        show_envvar=True,
        min=0.0,
        max=1e6,
        callback=a_number,
        help="GiB for decoded images and features, which are made again where needed; default: 20. The longest unused "
        "go first. Half of the free disk is the most in any case.",
    ),
]
TensorBoard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        metavar="DIR",
        envvar="RETABLE_TENSORBOARD",
        show_envvar=True,
        help="Write TensorBoard's event files into this folder: scores of every epoch and fold, settings, pictures.",
    ),
]
MLflow = Annotated[
    str | None,
    typer.Option(
        "--mlflow",
        metavar="URI",
        envvar="RETABLE_MLFLOW",
        show_envvar=True,
        help="Log to MLflow: sqlite:///FILE or http://HOST:PORT; a run for the study, with a child for each training.",
    ),
]
Gpus = Annotated[
    str | None,
    typer.Option("--gpus", help="GPUs for local workers: indices such as 0,2, or UUIDs; none: the CPU."),
]


def _one_of(*names: str) -> Callable[[str | None], str | None]:
    """Option callback: the value, if it is one of ``names`` or not given."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in names:
            raise typer.BadParameter(f"{value!r} is none of {', '.join(names)}")
        return value

    return check


IdColumn = Annotated[str | None, typer.Option("--id-column", help="Column of the image ids.")]
LabelColumn = Annotated[str | None, typer.Option("--label-column", help="Column of the labels.")]
GroupColumn = Annotated[
    str | None, typer.Option("--group-column", help="Column whose equal values stay in one fold (patient, artist).")
]
TrainingTable = Annotated[
    str | None, typer.Option("--table", help="Table of the training labels: its path inside of the data folder.")
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="table|folders|npz",
        callback=_one_of("table", "folders", "npz"),
        help="What gives the labels: a table, one folder per class, or an array; default: what the folder holds.",
    ),
]
SimilarLabels = Annotated[
    str | None,
    typer.Option(
        "--similar-labels",
        metavar="ask|merge|keep",
        callback=_one_of("ask", "merge", "keep"),
        help="Labels that differ only in case, blanks, marks at the ends or Unicode form: ask (an error), merge, or "
        "keep as two classes.",
    ),
]
SeveralLabels = Annotated[
    str | None,
    typer.Option(
        "--several-labels",
        metavar="auto|yes|no",
        callback=_one_of("auto", "yes", "no"),
        help="Whether an image may have several labels, or none; auto: if the table says so.",
    ),
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="Encoding of tables that are not UTF-8, such as cp1252 or cp932.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out unreadable training images, and list them.")]
NoCorrections = Annotated[
    bool,
    typer.Option(
        "--no-corrections",
        help="Read the labels as they are, without the corrections that `search labels` has written.",
    ),
]

DEFAULT_STORAGE = "sqlite:///retable.db"
DEFAULT_HOME = Path("retable")


def gpu_names(text: str | None) -> list[str] | None:
    """Parse the value of ``--gpus``: indices and UUIDs, or an empty list for ``none``; None if it is not given.

    Raises:
        typer.BadParameter: it is neither.
    """
    if text is None:
        return None
    if text.strip().lower() == "none":
        return []
    names = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,4}|(GPU|MIG)-[0-9A-Za-z/-]{1,100}", name) for name in names):
        raise typer.BadParameter(
            f"{text!r} is neither a list of GPU indices such as 0,2 or of UUIDs (`nvidia-smi -L`), nor none",
            param_hint="--gpus",
        )
    return [str(int(name)) if name.isdigit() else name for name in names]
