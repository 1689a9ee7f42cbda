"""Commands that control a study: pause, resume, stop, try, retry."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli.commands.export import run_export
from search.cli.options import (
    DEFAULT_HOME,
    DEFAULT_STORAGE,
    LARGEST,
    Data,
    Gpus,
    HomeFolder,
    StoredIn,
    Study,
    Weights,
    Workers,
)


def pause(study: Study = None, storage_url: StoredIn = DEFAULT_STORAGE) -> None:
    """Pause a study: workers release its trials after the current epoch; `resume` continues them."""
    from search.workflow.control import pause as run

    run(study, storage_url)


def resume(study: Study = None, storage_url: StoredIn = DEFAULT_STORAGE) -> None:
    """Continue a paused or stopped study."""
    from search.workflow.control import resume as run

    run(study, storage_url)


def stop(
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    no_export: Annotated[bool, typer.Option("--no-export", help="End the search without an export.")] = False,
    workers: Workers = None,
    gpus: Gpus = None,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """End the search after the current epoch, and export the best recipes so far."""
    from search.workflow.control import stop as run

    exported_elsewhere = run(study, storage_url)
    if not (no_export or exported_elsewhere):
        run_export(
            studies=[] if study is None else [study],
            data=data,
            storage_url=storage_url,
            workers=workers,
            gpus=gpus,
            weights=weights,
            home=home,
        )


def try_recipe(
    study: Study = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Value of a sampled field; repeatable.")
    ] = None,
    like: Annotated[
        int | None,
        typer.Option(
            "--like", min=0, max=LARGEST, metavar="TRIAL", help="Trial that gives the fields without --set; default: 0."
        ),
    ] = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
) -> None:
    """Add a trial with your own recipe, on top of the budget; the next free worker runs it."""
    from search.workflow.try_recipe import TryRequest
    from search.workflow.try_recipe import try_recipe as run

    run(TryRequest(study=study, storage_url=storage_url, assignments=assignments or (), like=like))


def retry(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="TRIAL", min=0, max=LARGEST, help="Numbers of failed trials.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Repeat everything that failed.")] = False,
    study: Study = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
) -> None:
    """Repeat failed trainings (`search status --failed` lists them)."""
    if bool(numbers) == failed:
        raise typer.BadParameter(
            "give either the numbers of trials or --failed, for everything that failed", param_hint="TRIAL, --failed"
        )
    from search.workflow.control import retry as run

    run(study, storage_url, numbers or None)
