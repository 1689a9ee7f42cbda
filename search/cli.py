"""The command line: parse, call one function, turn the outcome into an exit code.

Nothing heavy is imported before a command needs it, so that ``search --help`` and most mistakes are answered at once.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from search.exit_codes import EXIT_BUG, EXIT_INTERRUPTED, EXIT_MISTAKE

OUR_PACKAGES = {"search", "studies", "trainer", "storage"}

app = typer.Typer(
    name="search",
    help="Hyperparameter search for small image-classification data sets: from a folder of images to a submission.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Study = Annotated[str | None, typer.Option("--study", "-s", help="Name of a stored study; default: the latest.")]
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
    from search.at_once import check_database

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
    typer.Option("--workers", "-w", min=1, help="Local workers; default: one per free GPU, or one on the CPU."),
]
Gpus = Annotated[str | None, typer.Option("--gpus", help="GPU indices for local workers, such as 0,2.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave unreadable training images out, and list them.")]

DEFAULT_STORAGE = "sqlite:///retable.db"
DEFAULT_HOME = Path("retable")


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Read by `main`, which has to know before anything can fail."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    # Libraries' chatter is not for people; ours is.
    for noisy in ("alembic", "PIL", "matplotlib", "urllib3", "filelock", "optuna", "timm", "waitress"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="Folder of images.")],
    id_column: Annotated[str | None, typer.Option("--id-column", help="Column of the image ids.")] = None,
    label_column: Annotated[str | None, typer.Option("--label-column", help="Column of the labels.")] = None,
    group_column: Annotated[
        str | None, typer.Option("--group-column", help="Column of what must stay in one fold (patient, artist).")
    ] = None,
    skip_bad: SkipBad = False,
    n_folds: Annotated[int, typer.Option("--folds", min=2, max=50, help="Number of folds to plan for.")] = 5,
) -> None:
    """What is in a folder: format, classes, sizes, duplicates, what would be submitted."""
    from search.check import check as run
    from studies.settings import DataSettings

    settings = DataSettings(
        id_column=id_column, label_column=label_column, group_column=group_column, skip_bad=skip_bad
    )
    run(data, settings=settings, n_folds=n_folds)


@app.command()
def studies(
    name: Annotated[str | None, typer.Argument(help="A study to explain: shipped, by path, or stored.")] = None,
    assignments: Set = None,
    storage_url: Storage = DEFAULT_STORAGE,
) -> None:
    """Study files and stored studies; with NAME, one explained."""
    if name is None:
        from search.show import show_studies

        show_studies(storage_url)
    else:
        from search.explanation import show_study

        show_study(name, _overrides(assignments, False), storage_url)


@app.command()
def start(
    study: StudyFile,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Name of the stored study; default: the file's stem.")
    ] = None,
    data: Data = None,
    storage_url: Storage = DEFAULT_STORAGE,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Trials in total, however often `start` is typed.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", min=0.01, help="Begin no trial that would end later than this.")
    ] = None,
    workers: Workers = None,
    gpus: Gpus = None,
    assignments: Set = None,
    skip_bad: SkipBad = False,
    folds: Annotated[
        Path | None, typer.Option("--folds", help="Folds to use, as written in folds.csv: columns image_id, fold.")
    ] = None,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the export; default: retable/STUDY.")
    ] = None,
) -> None:
    """Search, then export the best: begins a study, or continues it. Ctrl-C is safe."""
    from search.at_once import check_folder, check_study

    overrides = _overrides(assignments, skip_bad)
    check_study(study, overrides, name)
    if data is not None:
        check_folder(data)
    from search.requests import LocalWorkers, StartRequest
    from search.service import start as run

    run(
        StartRequest(
            study=study,
            name=name,
            data=data,
            storage_url=storage_url,
            trials=trials,
            hours=hours,
            overrides=overrides,
            folds=folds,
            output=output,
            local=LocalWorkers(workers=workers, gpus=_gpu_indices(gpus), weights=weights, home=home),
        )
    )


@app.command()
def worker(
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Join the fleet: take trials from the database until none is left."""
    from search.worker import run_worker

    run_worker(storage_url, study, data, home=home, weights=weights)


@app.command()
def status(study: Study = None, storage_url: StoredIn = DEFAULT_STORAGE) -> None:
    """How a study stands: trials, the best so far, workers."""
    from search.show import show_status

    show_status(study, storage_url)


@app.command()
def folds(
    study: Study = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("folds.csv"),
) -> None:
    """Write the folds of a study as a table: image_id, fold, label, duplicate group."""
    from search.show import export_folds

    export_folds(study, storage_url, output)


@app.command(name="export-best")
def export_best(
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: retable/STUDY.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, max=100, help="Refits per fold; default: the study's final.seeds."),
    ] = None,
    full_data: Annotated[bool, typer.Option("--full-data", help="Train on all images instead of K folds.")] = False,
    submission_kind: Annotated[
        str | None,
        typer.Option("--submission-kind", help="label, integer, probability or probabilities; default: as the sample."),
    ] = None,
    workers: Workers = None,
    gpus: Gpus = None,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Refit the best trial's recipe and write submission, predictions, model folder and report."""
    from search.requests import ExportRequest, LocalWorkers
    from search.service import export_best as run

    run(
        ExportRequest(
            study=study,
            data=data,
            storage_url=storage_url,
            output=output,
            seeds=seeds,
            full_data=full_data,
            submission_kind=submission_kind,
            local=LocalWorkers(workers=workers, gpus=_gpu_indices(gpus), weights=weights, home=home),
        )
    )


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A model folder written by export-best.")],
    images: Annotated[list[Path], typer.Argument(help="A folder of images, image files, or an .npz file.")],
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("predictions.csv"),
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """An exported model on new images."""
    from search.show import predict as run

    run(model, images, output, device)


@app.command()
def backbones(
    pattern: Annotated[str, typer.Argument(help="Names to list, such as 'convnext*' or '*efficientnet_b4*'.")] = "*",
    weights: Weights = None,
) -> None:
    """Backbones with pre-trained weights by name: family, and whether the weights are at hand."""
    from search.show import show_backbones

    show_backbones(pattern, weights)


@app.command()
def dashboard(
    storage_url: StoredIn = DEFAULT_STORAGE,
    home: HomeFolder = DEFAULT_HOME,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Anyone who reaches it can change studies.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Further Host names that browsers may use.")
    ] = None,
) -> None:
    """Optuna Dashboard on the same database."""
    from search.dashboard import run_dashboard

    run_dashboard(storage_url, home=home, host=host, port=port, allowed_hosts=allow_host or [])


def _overrides(assignments: list[str] | None, skip_bad: bool) -> list[str]:
    return [*(assignments or []), *(["data.skip_bad=true"] if skip_bad else [])]


def _gpu_indices(text: str | None) -> list[int] | None:
    if text is None:
        return None
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise typer.BadParameter(f"{text!r} is not a list of GPU indices such as 0,2", param_hint="--gpus")
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Entry point: errors of ours are told in plain words, all others are bugs and say how to see more."""
    # Albumentations would ask the network for a newer version of itself.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    if "--debug" in sys.argv:
        # Accepted anywhere on the line, as people add it to a command that has just failed.
        sys.argv.remove("--debug")
        sys.argv.insert(1, "--debug")
        app()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # `search status | head`: the reader left, which is no error. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        expected = type(error).__module__.partition(".")[0] in OUR_PACKAGES
        what = str(error) if expected else f"{type(error).__name__}: {error}"
        print(f"error: {what}", file=sys.stderr)
        if not expected:
            print("This should not have happened; the same command with --debug shows where.", file=sys.stderr)
        sys.exit(EXIT_MISTAKE if expected else EXIT_BUG)


if __name__ == "__main__":
    main()
