"""Commands for an exported model: predict new images, convert it to other formats, make one network of its ensemble."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import DEFAULT_HOME, DEFAULT_STORAGE, Data, HomeFolder, StoredIn, Study, Weights


def _model_in(folder: Path) -> Path:
    """The model folder inside of an export; another folder is returned as it is."""
    from search.export.output.manifest import MODEL

    inner = folder / MODEL
    is_export = os.path.isfile(inner / "config.json") and not os.path.isfile(folder / "config.json")  # noqa: PTH113 - raises nothing
    return inner if is_export else folder


ModelArgument = Annotated[
    Path, typer.Argument(help="A model folder written by export-best, or the export.", callback=_model_in)
]
ImagesArgument = Annotated[list[str], typer.Argument(help="A folder of images, image files, or an .npz file.")]


class FormatName(StrEnum):
    """Names of `trainer.conversion.formats.FORMATS`, which imports torch."""

    onnx = "onnx"
    torch_export = "torch-export"


def predict(
    model: ModelArgument,
    images: ImagesArgument,
    output: Annotated[str, typer.Option("--output", "-o", metavar="PATH")] = "predictions.csv",
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")] = "cpu",
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Predict with the folder's ONNX files (`search convert`), without torch.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that cannot be read, and name them.")
    ] = False,
) -> None:
    """Apply an exported model to new images."""
    from search.runtime.console import note, open_console, say
    from search.study_setup.data_folder import progress_line
    from trainer.inference.predict import predict_folder
    from trainer.inference.predictions import check_output, file_path, write_predictions

    table = file_path(output)
    check_output(table, model)
    console = open_console()
    label = "Predicting …"
    with progress_line(console, label) as update:
        predictions = predict_folder(
            model,
            images,
            device=device,
            onnx=onnx,
            skip_bad=skip_bad,
            on_progress=lambda share: update(f"{label} {share:.0%}"),
        )
    write_predictions(table, predictions)
    for line in predictions.notes:
        note(console, line)
    count = len(predictions.ids)
    say(console, f"{count} image{'s' * (count != 1)} predicted to {table}", whole=True)


def convert(
    model: ModelArgument,
    images: Annotated[
        list[str],
        typer.Argument(help="Images to check it on, such as the test images: a folder, files, or .npz."),
    ],
    to: Annotated[
        list[FormatName], typer.Option("--to", help="Format; may be repeated. Default: all that are installed.")
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """Convert an exported model to ONNX and to a program of torch.export, and check both against it on your images."""
    from search.workflow.convert_model import convert_model

    convert_model(model, [Path(image) for image in images], [one.value for one in to])


def single(
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the export; default: retable/STUDY.")
    ] = None,
    leader: Annotated[
        bool, typer.Option("--leader", help="Use only the networks of the first recipe of the ensemble.")
    ] = False,
    average: Annotated[
        bool, typer.Option("--average", help="Average weights even where the classifiers began at random ones.")
    ] = False,
    distil: Annotated[
        bool,
        typer.Option("--distil", help="Train a network that the ensemble teaches, also where a mean of weights works."),
    ] = False,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Make one network of the ensemble of an export, and say what it loses in score and gains in speed."""
    from search.workflow.single.command import SingleRequest, single_network

    single_network(
        SingleRequest(
            study=study,
            data=data,
            storage_url=storage_url,
            output=output,
            home=home,
            leader=leader,
            average=average,
            distil=distil,
            weights=weights,
        )
    )
