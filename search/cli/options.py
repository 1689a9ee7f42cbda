"""Options that several commands of the command line share. Cheap to import, as `search.cli.app` is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Study = Annotated[str | None, typer.Option("--study", "-s", help="Name of a stored study; default: the latest.")]
Studies = Annotated[
    list[str] | None,
    typer.Option(
        "--study",
        "-s",
        help="Name of a stored study; default: the latest. Repeatable: several of the same images, folds and metric "
        "are blended, into the first one's folder.",
    ),
]
StudyFile = Annotated[
    str, typer.Option("--study", "-s", help="A shipped study (see `search studies`) or the path of a .toml file.")
]
Storage = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="RETABLE_STORAGE",
        show_envvar=True,
        show_default="sqlite:///retable.db",
        help="Database URL: sqlite:///FILE or postgresql://USER@HOST/NAME.",
    ),
]


def _existing(url: str) -> str:
    from storage.database.existing import check_database

    check_database(url)
    return url


StoredIn = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="RETABLE_STORAGE",
        show_envvar=True,
        show_default="sqlite:///retable.db",
        help="URL of a database that `search start` has set up.",
        callback=_existing,
    ),
]
Data = Annotated[
    Path | None, typer.Option("--data", "-d", envvar="RETABLE_DATA", show_envvar=True, help="Folder of images.")
]
HomeFolder = Annotated[
    Path, typer.Option("--home", envvar="RETABLE_HOME", help="Where pixels, checkpoints and exports lie.")
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Folder of pre-trained weights: NAME.safetensors or NAME.pth by timm name."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override any setting of the study file; repeatable."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        min=0,
        max=10_000,
        help="Workers to start; default: one per free GPU, or one on the CPU; 0: none, others work.",
    ),
]
PerGpu = Annotated[
    int, typer.Option("--workers-per-gpu", min=1, max=64, help="Local workers that share each GPU and its memory.")
]
Grace = Annotated[
    float,
    typer.Option(
        "--grace", min=0.0, help="Seconds that an epoch has to end once a stop is asked for, before it is left."
    ),
]
Quota = Annotated[
    float | None,
    typer.Option(
        "--checkpoint-quota", min=0.0, help="GiB for checkpoints of trials that wait for a worker; default: 20."
    ),
]
Gpus = Annotated[str | None, typer.Option("--gpus", help="GPU indices for local workers, such as 0,2.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave unreadable training images out, and list them.")]

DEFAULT_STORAGE = "sqlite:///retable.db"
DEFAULT_HOME = Path("retable")


def overrides_of(assignments: list[str] | None, skip_bad: bool) -> list[str]:
    """What ``--set`` and ``--skip-bad`` change of a study file, as ``FIELD=VALUE``."""
    return [*(assignments or []), *(["data.skip_bad=true"] if skip_bad else [])]
