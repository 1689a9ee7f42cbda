"""Commands that show what is at hand: studies, backbones, replay, dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli.options import (
    DEFAULT_HOME,
    DEFAULT_STORAGE,
    LARGEST,
    Data,
    HomeFolder,
    Set,
    Storage,
    StoredIn,
    Study,
    Weights,
    WeightsOnce,
    a_number,
)
from search.cli.overrides import overrides_of
from search.runtime.errors import EXIT_DIFFERENT


def studies(
    name: Annotated[str | None, typer.Argument(help="A study to explain: shipped, by path, or stored.")] = None,
    assignments: Set = None,
    storage_url: Storage = DEFAULT_STORAGE,
) -> None:
    """List study files and stored studies; with NAME, explain one."""
    if name is None:
        from search.report.study_list import show_studies

        show_studies(storage_url)
    else:
        from search.report.study_list import show_study

        show_study(name, overrides_of(assignments, False), storage_url)


def backbones(
    pattern: Annotated[
        str, typer.Argument(help="Pattern of names, such as 'convnext*', or a part of one: lite0.")
    ] = "*",
    family: Annotated[
        list[str] | None, typer.Option("--family", help="cnn, transformer, hybrid or mlp; repeatable.")
    ] = None,
    max_params: Annotated[
        float | None,
        typer.Option(
            "--max-params", min=0.0, max=1e9, callback=a_number, help="Maximum number of parameters, in millions."
        ),
    ] = None,
    max_size: Annotated[
        int | None, typer.Option("--max-size", min=1, max=LARGEST, help="Largest side of the images, in pixels.")
    ] = None,
    license: Annotated[
        list[str] | None,
        typer.Option(
            "--license", help="Licence of the weights: mit, cc-*, '!cc-by-nc-4.0', permissive or unknown; repeatable."
        ),
    ] = None,
    measure: Annotated[
        bool | None,
        typer.Option(
            "--measure/--no-measure",
            help="Measure speed and memory in a few training steps; default: only if few backbones are listed.",
        ),
    ] = None,
    weights: WeightsOnce = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """List backbones with pre-trained weights: family, licence, size, weights at hand, training speed and memory."""
    from search.report.backbone_table import BackbonesRequest, show_backbones

    show_backbones(
        BackbonesRequest(
            pattern=pattern,
            families=tuple(family or ()),
            max_params=max_params,
            max_size=max_size,
            licenses=tuple(license or ()),
            measure=measure,
            weights=weights,
            home=home,
        )
    )


def replay(
    trial: Annotated[int, typer.Argument(min=0, max=LARGEST, help="Number of a finished or pruned trial.")],
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Repeat a stored trial with its recorded recipe, seed and folds, and compare the predictions.

    On a CPU of the same model, with the same library versions and number of threads (the recorded number is used), the
    predictions must be equal to the last stored bit. On other CPUs, and on every GPU, bfloat16 and cuDNN's choice of
    algorithms change the order of sums, and training amplifies the differences. There, a mean absolute difference of up
    to 0.02 and a metric within one standard error count as equal. The exit code is 0 within this tolerance, else 1.
    """
    if data is not None:
        from search.cli.early_checks import check_folder

        check_folder(data)
    from search.workflow.replay import ReplayRequest
    from search.workflow.replay import replay as run

    request = ReplayRequest(study=study, trial=trial, data=data, storage_url=storage_url, home=home, weights=weights)
    if not run(request):
        raise typer.Exit(EXIT_DIFFERENT)


def dashboard(
    storage_url: StoredIn = DEFAULT_STORAGE,
    home: HomeFolder = DEFAULT_HOME,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Every visitor needs the access token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="Further host names under which browsers may open it; repeatable."),
    ] = None,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let visitors edit, rename and delete studies and end trials by hand.")
    ] = False,
    token: Annotated[
        str,
        typer.Option(
            "--token",
            show_default=False,
            help="Fixed access token; default: a new one. RETABLE_DASHBOARD_TOKEN keeps it out of the command line.",
        ),
    ] = "",
    behind_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-proxy", help="Ask for no token: a proxy in front decides who may visit. See --allow-host."
        ),
    ] = False,
) -> None:
    """Serve Optuna Dashboard on the study database, read-only.

    The printed addresses hold an access token; the second one opens the note of the study that runs,
    else of that worked on last.
    """
    from search.report.dashboard.serve import run_dashboard

    run_dashboard(
        storage_url,
        home=home,
        host=host,
        port=port,
        allowed_hosts=allow_host or [],
        writable=writable,
        token=token,
        behind_proxy=behind_proxy,
    )
