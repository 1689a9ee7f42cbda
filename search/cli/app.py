"""The command line: parse, call one function, turn the outcome into an exit code.

Nothing heavy is imported before a command needs it, so that ``search --help`` and most mistakes are answered at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import (
    DEFAULT_HOME,
    DEFAULT_STORAGE,
    Data,
    Gpus,
    Grace,
    HomeFolder,
    PerGpu,
    Quota,
    Set,
    SkipBad,
    Storage,
    StoredIn,
    Studies,
    Study,
    StudyFile,
    Weights,
    Workers,
)
from search.cli.process_title import hide_passwords
from search.runtime.console import accept_any_encoding
from search.runtime.errors import EXIT_BUG, EXIT_DIFFERENT, EXIT_INTERRUPTED, EXIT_MISTAKE
from search.runtime.signals import GRACE

OUR_PACKAGES = {"search", "studies", "trainer", "storage"}

app = typer.Typer(
    name="search",
    help="Hyperparameter search for small image-classification data sets: from a folder of images to a submission.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    shift: Annotated[
        bool, typer.Option("--shift/--no-shift", help="Whether training and test images are compared.")
    ] = True,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="Compare them by its frozen features; default: what is at hand, else pixels."),
    ] = None,
    weights: Weights = None,
) -> None:
    """What is in a folder: format, classes, sizes, duplicates, train/test shift, what would be submitted."""
    from search.report.check import ShiftRequest
    from search.report.check import check as run
    from studies.settings import DataSettings

    settings = DataSettings(
        id_column=id_column, label_column=label_column, group_column=group_column, skip_bad=skip_bad
    )
    request = ShiftRequest(backbone=backbone, weights=weights) if shift else None
    run(data, settings=settings, n_folds=n_folds, shift=request)


@app.command()
def preview(
    study: Annotated[
        str, typer.Option("--study", "-s", help="A stored study, a shipped one, or the path of a .toml file.")
    ],
    data: Data = None,
    storage_url: Storage = DEFAULT_STORAGE,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png, .pdf or .svg.")] = Path(
        "preview.png"
    ),
    images: Annotated[
        int, typer.Option("--images", min=1, max=1000, help="Different images, which the rows show in turn.")
    ] = 4,
    assignments: Set = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """A picture of what a study may do to its images: each augmentation at its weakest and at its strongest."""
    if data is not None:
        from search.cli.early_checks import check_folder

        check_folder(data)
    from search.report.preview.command import PreviewRequest
    from search.report.preview.command import preview as run

    run(
        PreviewRequest(
            study=study,
            data=data,
            storage_url=storage_url,
            home=home,
            output=output,
            images=images,
            overrides=_overrides(assignments, False),
        )
    )


@app.command()
def studies(
    name: Annotated[str | None, typer.Argument(help="A study to explain: shipped, by path, or stored.")] = None,
    assignments: Set = None,
    storage_url: Storage = DEFAULT_STORAGE,
) -> None:
    """Study files and stored studies; with NAME, one explained."""
    if name is None:
        from search.report.study_list import show_studies

        show_studies(storage_url)
    else:
        from search.report.explanation import show_study

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
    patience: Annotated[
        int | None,
        typer.Option("--patience", min=0, help="Stop once this many trials gained nothing beyond noise; 0: never."),
    ] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", help="Workers of many studies serve the highest first; default: 0.")
    ] = None,
    workers: Workers = None,
    gpus: Gpus = None,
    workers_per_gpu: PerGpu = 1,
    engine: Annotated[
        str, typer.Option("--engine", help="Where workers run: local, or ray (needs the ray package).")
    ] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="Ray cluster, such as auto or ray://HOST:10001.")
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option("--gpus-per-worker", min=0.0, help="On Ray; default: 1 where there are GPUs. 0.5: two share one."),
    ] = None,
    cpus_per_worker: Annotated[float, typer.Option("--cpus-per-worker", min=0.1, help="On Ray.")] = 1.0,
    ship_data: Annotated[
        bool, typer.Option("--ship-data", help="On Ray: send the images also to nodes that have such a folder.")
    ] = False,
    grace: Grace = GRACE,
    checkpoint_quota: Quota = None,
    assignments: Set = None,
    begin_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STUDY[:TRIAL]",
            help="Begin a new study at that trial's recipe, default: the best: what is not sampled is fixed to it.",
        ),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Whether a new study first tries what did well in others.")
    ] = True,
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
    from search.cli.early_checks import check_engine, check_folder, check_study

    overrides = _overrides(assignments, skip_bad)
    check_study(study, overrides, name)
    if data is not None:
        check_folder(data)
    check_engine(engine, gpus=gpus, workers_per_gpu=workers_per_gpu, address=address, storage_url=storage_url)
    from search.engines.requests import RayCluster, StartRequest
    from search.engines.requests import Workers as WorkersRequest
    from search.workflow.start import start as run

    run(
        StartRequest(
            study=study,
            name=name,
            data=data,
            storage_url=storage_url,
            trials=trials,
            hours=hours,
            patience=patience,
            priority=priority,
            overrides=overrides,
            begin_from=begin_from,
            memory=memory,
            folds=folds,
            output=output,
            workers=WorkersRequest(
                engine=engine,
                workers=workers,
                gpus=_gpu_indices(gpus),
                per_gpu=workers_per_gpu,
                weights=weights,
                home=home,
                grace=grace,
                quota=checkpoint_quota,
                ray=RayCluster(
                    address=address,
                    gpus_per_worker=gpus_per_worker,
                    cpus_per_worker=cpus_per_worker,
                    ship_data=ship_data,
                ),
            ),
        )
    )


@app.command()
def worker(
    study: Annotated[
        str | None, typer.Option("--study", "-s", help="A stored study; default: every running one, by priority.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            envvar="RETABLE_DATA",
            show_envvar=True,
            help="Folder of images; repeatable, for many studies.",
        ),
    ] = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
    stay: Annotated[bool, typer.Option("--stay", help="Wait for further work where none is left.")] = False,
    grace: Grace = GRACE,
    checkpoint_quota: Quota = None,
    lease: Annotated[
        float | None,
        typer.Option(
            "--lease",
            min=1.0,
            help="Seconds without a sign of life after which others take its trial over; default: 120.",
        ),
    ] = None,
) -> None:
    """Join the fleet: take trials from the database until none is left. Ctrl-C hands the trial in hand back."""
    from search.runtime.disk import QUOTA
    from search.worker.lease import LEASE
    from search.worker.loop import WorkerRequest, run_worker

    run_worker(
        WorkerRequest(
            storage_url=storage_url,
            study=study,
            folders=data or (),
            home=home,
            weights=weights,
            stay=stay,
            grace=grace,
            quota=QUOTA if checkpoint_quota is None else checkpoint_quota,
            lease=LEASE if lease is None else lease,
        )
    )


@app.command()
def status(
    study: Study = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    home: HomeFolder = DEFAULT_HOME,
    failed: Annotated[bool, typer.Option("--failed", help="What failed, why, and what helps.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every trial, not only the latest.")] = False,
) -> None:
    """How a study stands: trials, the best so far, workers, failures, disk."""
    from search.report.status import show_failed, show_status

    if failed:
        show_failed(study, storage_url)
    else:
        show_status(study, storage_url, home, everything=everything)


@app.command()
def pause(study: Study = None, storage_url: StoredIn = DEFAULT_STORAGE) -> None:
    """Free the workers: trials under way are handed back after their epoch, to be continued by `resume`."""
    from search.workflow.control import pause as run

    run(study, storage_url)


@app.command()
def resume(study: Study = None, storage_url: StoredIn = DEFAULT_STORAGE) -> None:
    """Go on with a paused or stopped study."""
    from search.workflow.control import resume as run

    run(study, storage_url)


@app.command()
def stop(
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    no_export: Annotated[bool, typer.Option("--no-export", help="Only end the search.")] = False,
    workers: Workers = None,
    gpus: Gpus = None,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """End the search within an epoch, and export the best so far."""
    from search.workflow.control import stop as run

    exported_elsewhere = run(study, storage_url)
    if not (no_export or exported_elsewhere):
        named = [] if study is None else [study]
        _export(
            studies=named,
            data=data,
            storage_url=storage_url,
            workers=workers,
            gpus=gpus,
            weights=weights,
            home=home,
        )


@app.command(name="try")
def try_recipe(
    study: Study = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A sampled field's value; repeatable.")
    ] = None,
    like: Annotated[
        int | None,
        typer.Option("--like", min=0, metavar="TRIAL", help="What is not set is as in this trial; default: trial 0."),
    ] = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
) -> None:
    """Queue one recipe of your own, on top of the budget: the next free worker runs it."""
    from search.engines.requests import TryRequest
    from search.workflow.try_recipe import try_recipe as run

    run(TryRequest(study=study, storage_url=storage_url, assignments=assignments or (), like=like))


@app.command()
def retry(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="TRIAL", help="Failed trials, by number.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Everything that failed.")] = False,
    study: Study = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
) -> None:
    """Try again what failed (`search status --failed` lists it)."""
    if bool(numbers) == failed:
        raise typer.BadParameter("say which: --failed for everything that failed, or the numbers of trials")
    from search.workflow.control import retry as run

    run(study, storage_url, numbers or None)


@app.command()
def folds(
    study: Study = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("folds.csv"),
) -> None:
    """Write the folds of a study as a table: image_id, fold, label, duplicate group."""
    from search.report.study_list import export_folds

    export_folds(study, storage_url, output)


@app.command()
def confirm(
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    workers: Workers = None,
    gpus: Gpus = None,
    weights: Weights = None,
    grace: Grace = GRACE,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """The best trials and the default recipe again on fresh splits, and how they compare. Ctrl-C is safe."""
    from search.engines.requests import ConfirmRequest
    from search.engines.requests import Workers as WorkersRequest
    from search.workflow.start import confirm as run

    run(
        ConfirmRequest(
            study=study,
            data=data,
            storage_url=storage_url,
            workers=WorkersRequest(workers=workers, gpus=_gpu_indices(gpus), weights=weights, home=home, grace=grace),
        )
    )


@app.command()
def compare(
    study: Study = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Picture to write: .png, .pdf or .svg; default: retable/STUDY/compare.png."),
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """What was confirmed on fresh splits: how good each recipe is, who ties with whom, as a table and a picture."""
    from search.report.comparison import compare as run

    run(study, storage_url, home, picture)


@app.command(name="export-best")
def export_best(
    study: Studies = None,
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
    """Refit the best recipes, of one study or of several; write submission, predictions, model folder and report."""
    _export(
        studies=study or (),
        data=data,
        storage_url=storage_url,
        output=output,
        seeds=seeds,
        full_data=full_data,
        submission_kind=submission_kind,
        workers=workers,
        gpus=gpus,
        weights=weights,
        home=home,
    )


def _export(
    *,
    studies: Sequence[str],
    data: Path | None,
    storage_url: str,
    workers: int | None,
    gpus: str | None,
    weights: Path | None,
    home: Path,
    output: Path | None = None,
    seeds: int | None = None,
    full_data: bool = False,
    submission_kind: str | None = None,
) -> None:
    from search.engines.requests import ExportRequest
    from search.engines.requests import Workers as WorkersRequest
    from search.workflow.start import export_best as run

    run(
        ExportRequest(
            studies=studies,
            data=data,
            storage_url=storage_url,
            output=output,
            seeds=seeds,
            full_data=full_data,
            submission_kind=submission_kind,
            workers=WorkersRequest(workers=workers, gpus=_gpu_indices(gpus), weights=weights, home=home),
        )
    )


@app.command(name="import")
def import_predictions(
    study: Study = None,
    oof: Annotated[
        Path | None,
        typer.Option("--oof", help="Out-of-fold probabilities: a table with the image id and a column for each class."),
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="The same model's probabilities for the test images.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", metavar="LABEL", help="What they are called; default: as the file.")
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="LABEL", help="Forget what was imported under that name.")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="What was imported.")] = False,
    storage_url: StoredIn = DEFAULT_STORAGE,
) -> None:
    """Admit predictions of a model that was made elsewhere: `export-best` blends them in where that is a real gain."""
    if sum([oof is not None, remove is not None, list_them]) != 1:
        raise typer.BadParameter("say one of: --oof FILE --test FILE to import, --list, --remove LABEL")
    from search.engines.requests import ImportRequest
    from search.workflow.import_predictions import import_predictions as run
    from search.workflow.import_predictions import list_imports, remove_import

    if oof is not None:
        run(ImportRequest(study=study, storage_url=storage_url, oof=oof, test=test, label=name))
    elif remove is not None:
        remove_import(study, storage_url, remove)
    else:
        list_imports(study, storage_url)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A model folder written by export-best.")],
    images: Annotated[list[Path], typer.Argument(help="A folder of images, image files, or an .npz file.")],
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("predictions.csv"),
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """An exported model on new images."""
    from search.report.study_list import predict as run

    run(model, images, output, device)


@app.command()
def replay(
    trial: Annotated[int, typer.Argument(min=0, help="Number of a finished or pruned trial.")],
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """A stored trial again, from its recorded recipe, seed and folds, and how far its predictions differ.

    On a CPU of the same kind, with the same releases and number of threads (the recorded number is used), they must be
    equal, bit for bit as they are stored. Elsewhere, and on GPUs always, bfloat16 and cuDNN's choice of algorithms
    change the order of sums, which training amplifies: there a mean absolute difference of up to 0.02 and a metric
    within one standard error count as the same. Exits with 0 within that tolerance, 1 beyond it.
    """
    if data is not None:
        from search.cli.early_checks import check_folder

        check_folder(data)
    from search.engines.requests import ReplayRequest
    from search.workflow.replay import replay as run

    request = ReplayRequest(study=study, trial=trial, data=data, storage_url=storage_url, home=home, weights=weights)
    if not run(request):
        raise typer.Exit(EXIT_DIFFERENT)


@app.command()
def backbones(
    pattern: Annotated[str, typer.Argument(help="Names to list, such as 'convnext*' or '*efficientnet_b4*'.")] = "*",
    family: Annotated[
        list[str] | None, typer.Option("--family", help="cnn, transformer, hybrid or mlp; repeatable.")
    ] = None,
    max_params: Annotated[
        float | None, typer.Option("--max-params", min=0.0, help="Largest number of parameters, in millions.")
    ] = None,
    max_size: Annotated[
        int | None, typer.Option("--max-size", min=1, help="Largest side of the images it was made for, in pixels.")
    ] = None,
    measure: Annotated[
        bool | None,
        typer.Option(
            "--measure/--no-measure",
            help="Train each a few steps to see its speed and memory; default: where there are few.",
        ),
    ] = None,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Backbones with pre-trained weights by name: family, size, training speed and memory here, weights at hand."""
    from search.report.backbone_table import BackbonesRequest, show_backbones

    show_backbones(
        BackbonesRequest(
            pattern=pattern,
            families=tuple(family or ()),
            max_params=max_params,
            max_size=max_size,
            measure=measure,
            weights=weights,
            home=home,
        )
    )


@app.command()
def submissions(
    study: Annotated[
        str | None, typer.Option("--study", "-s", help="Name of a stored study; default: all of them.")
    ] = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    export: Annotated[
        int | None, typer.Option("--export", help="Number of the export that a score is of; default: the latest.")
    ] = None,
    public: Annotated[float | None, typer.Option("--public", help="Its score on the public board, to record.")] = None,
    private: Annotated[
        float | None, typer.Option("--private", help="Its score on the private board, to record.")
    ] = None,
    public_images: Annotated[
        int | None,
        typer.Option("--public-images", help="How many test images public scores are on; remembered with the data."),
    ] = None,
) -> None:
    """Every export, what the board said of it, what the differences mean, and which two to hand in."""
    from search.report.submissions import ScoreRequest
    from search.report.submissions import submissions as run

    run(study, storage_url, ScoreRequest(export=export, public=public, private=private, public_images=public_images))


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
    from search.report.dashboard import run_dashboard

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
    accept_any_encoding()
    hide_passwords([Path(sys.argv[0]).name, *sys.argv[1:]])
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
        sys.exit(getattr(error, "exit_code", EXIT_MISTAKE) if expected else EXIT_BUG)
