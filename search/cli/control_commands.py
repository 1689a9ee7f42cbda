"""Commands that steer a running search: pause, resume, stop, try, retry."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli.options import DEFAULT_HOME, DEFAULT_STORAGE, Data, Gpus, HomeFolder, StoredIn, Study, Weights, Workers
from search.cli.run_commands import run_export


def pause(study: Study = None, storage_url: StoredIn = DEFAULT_STORAGE) -> None:
    """Free the workers: trials under way are handed back after their epoch, to be continued by `resume`."""
    from search.workflow.control import pause as run

    run(study, storage_url)


def resume(study: Study = None, storage_url: StoredIn = DEFAULT_STORAGE) -> None:
    """Go on with a paused or stopped study."""
    from search.workflow.control import resume as run

    run(study, storage_url)


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
        run_export(
            studies=named,
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
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A sampled field's value; repeatable.")
    ] = None,
    like: Annotated[
        int | None,
        typer.Option("--like", min=0, metavar="TRIAL", help="What is not set is as in this trial; default: trial 0."),
    ] = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
) -> None:
    """Queue one recipe of your own, on top of the budget: the next free worker runs it."""
    from search.workflow.try_recipe import TryRequest
    from search.workflow.try_recipe import try_recipe as run

    run(TryRequest(study=study, storage_url=storage_url, assignments=assignments or (), like=like))


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
