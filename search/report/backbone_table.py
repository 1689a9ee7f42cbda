"""``search backbones``: pre-trained backbones with their size, and training speed and memory on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from search.runtime.console import Column, open_console, print_table, say
from search.runtime.home import Home, HomeNotWritable
from studies.errors import StudyError
from studies.resolve_backbones import described_reasons
from studies.space.backbone_filter import find_backbones, known_family, read_filter
from studies.space.backbone_hints import none_found
from trainer.common.errors import BackboneError
from trainer.common.files import replacing
from trainer.networks.backbones import PERMISSIVE, UNKNOWN_LICENSE, license_of
from trainer.networks.pretrained.folder_networks import check_exists
from trainer.recipe.recipe import RecipeError

LOOKED_UP = 60
"""Longest list whose weights are looked up, with one request to the file system or the hub for each model."""
MEASURED = 15
"""Largest number of architectures that are measured without ``--measure``; they take a few minutes on a CPU."""


@dataclass(frozen=True, kw_only=True)
class BackbonesRequest:
    """Options of ``search backbones``; ``pattern``, ``families``, ``max_params``, ``max_size``, ``licenses`` as in a
    study file."""

    pattern: str
    families: Sequence[str]
    max_params: float | None
    max_size: int | None
    licenses: Sequence[str]
    measure: bool | None
    """Whether to measure unknown architectures; None: if there are `MEASURED` or fewer in the list."""
    weights: Path | None
    """Folder of pre-trained weights."""
    home: Path


@dataclass(frozen=True, kw_only=True)
class _Listed:
    name: str
    family: str
    parameters: int
    image_size: int
    """Side, in pixels, of the images for which the weights were made."""
    license: str
    setup: Setup


def show_backbones(request: BackbonesRequest) -> None:
    """Print timm's matching pre-trained models, after measuring them if asked to.

    Raises:
        BackboneError: no model matches, or the weights folder does not exist.
        StudyError: an invalid filter.
        HomeNotWritable: the measurements cannot be stored.
    """
    from trainer.networks.pretrained.find_weights import missing_weights

    if request.weights is not None:
        check_exists(request.weights)
    rows, reasons = _listed(request)
    console = open_console()
    measurements = Measurements(Home(root=request.home))
    setups = list(dict.fromkeys(row.setup for row in rows))
    problems: dict[Setup, str] = {}
    if request.measure or (request.measure is None and len(setups) <= MEASURED):
        problems = _measure([setup for setup in setups if measurements.get(setup) is None], measurements, console)
    look_up = len(rows) <= LOOKED_UP
    missing = set(missing_weights([row.name for row in rows], request.weights)) if look_up else None
    known = {setup: found for setup in setups if (found := measurements.get(setup)) is not None}
    _print_listing(console, rows, known, problems, missing)
    for line in _notes(rows, known, problems, looked_up=look_up):
        say(console, line)
    for reason in reasons:
        say(console, f"Left out: {reason}")


def _listed(request: BackbonesRequest) -> tuple[list[_Listed], list[str]]:
    """The matching models, and a line for each reason why others are left out."""
    import timm
    import torch
    from timm.models import get_pretrained_cfg

    from trainer.networks.architectures import architecture_of
    from trainer.training.throughput import batch_on, best_device, device_name

    table = {
        "match": request.pattern,
        "family": list(request.families),
        "max_params": request.max_params,
        "max_size": request.max_size,
        "license": list(request.licenses),
    }
    try:
        filter_ = read_filter({key: value for key, value in table.items() if value not in (None, [])})
    except RecipeError as error:
        raise StudyError(str(error)) from error
    found = find_backbones(filter_)
    if not found.names and "*" not in request.pattern:  # a part of a name
        found = find_backbones(replace(filter_, match=(f"*{request.pattern}*",)))
    reasons = described_reasons(found.left_out)
    if not found.names:
        raise BackboneError(none_found(filter_, reasons))
    device = best_device()
    rows = []
    for name in found.names:
        config = get_pretrained_cfg(name)
        size = config.input_size[-1] if config is not None else 0
        architecture = name.partition(".")[0]
        setup = Setup(
            architecture=architecture,
            image_size=size,
            batch_size=batch_on(device),
            device=device_name(device),
            timm=timm.__version__,
            torch=torch.__version__,
        )
        parameters = architecture_of(architecture).parameters
        family = known_family(name) or "-"
        listed = _Listed(
            name=name, family=family, parameters=parameters, image_size=size, license=license_of(name), setup=setup
        )
        rows.append(listed)
    return rows, reasons


def _measure(setups: Sequence[Setup], measurements: Measurements, console: Console) -> dict[Setup, str]:
    """Measure and store each setup; returns the reason for each that cannot be measured."""
    from trainer.training.throughput import TooLarge, best_device, measure_training

    problems: dict[Setup, str] = {}
    if not setups:
        return problems
    say(
        console,
        f"Measuring {len(setups)} network{'s' * (len(setups) > 1)}, each in a few training steps; --no-measure leaves "
        "that out.",
    )
    columns = (TextColumn("Measuring {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(setups))
        for setup in setups:
            progress.update(task, description=f"{setup.architecture} at {setup.image_size} px")
            try:
                found = measure_training(setup.architecture, setup.image_size, best_device())
            except (TooLarge, BackboneError) as error:
                problems[setup] = str(error)
            else:
                measured = Measured(images_per_second=found.images_per_second, memory=found.memory)
                measurements.add(setup, measured)
            progress.advance(task)
    return problems


def _print_listing(
    console: Console,
    rows: Sequence[_Listed],
    known: Mapping[Setup, Measured],
    problems: Mapping[Setup, str],
    missing: set[str] | None,
) -> None:
    """
    Args:
        missing: names without weights on this machine; None if that was not looked up.
    """
    measured = bool(known or problems)
    columns = [
        Column(name="name"),
        Column(name="family"),
        *(Column(name=name, number=True) for name in ("M params", "px", *(["images/s", "GiB"] * measured))),
        Column(name="license"),
        *([Column(name="weights")] if missing is not None else []),
    ]
    cells = []
    for row in rows:
        line = [row.name, row.family, f"{row.parameters / 1e6:.1f}", str(row.image_size)]
        found = known.get(row.setup)
        if measured:
            line += ["-", "-"] if found is None else [f"{found.images_per_second:.3g}", f"{found.memory / 2**30:.2f}"]
        line.append(row.license)
        if missing is not None:
            line.append("no" if row.name in missing else "at hand")
        cells.append(line)
    print_table(console, f"{len(rows)} pre-trained models", columns, cells)


def _notes(
    rows: Sequence[_Listed], known: Mapping[Setup, Measured], problems: Mapping[Setup, str], *, looked_up: bool
) -> Iterable[str]:
    setup = rows[0].setup
    if known:
        yield (
            f"images/s, GiB: training speed and peak memory, in batches of {setup.batch_size} images of px x px, "
            f"measured on {setup.device}."
        )
    yield from (f"Not measured: {problem}" for problem in problems.values())
    unknown = {row.setup for row in rows} - known.keys() - problems.keys()
    if unknown:
        yield f"{len(unknown)} architectures are not measured on this machine yet; --measure measures them."
    if any(row.license not in PERMISSIVE for row in rows):
        yield (
            "Some of these licences restrict the use of the weights; read them before you build a product. Permissive "
            f"are {', '.join(PERMISSIVE)} (--license permissive). {UNKNOWN_LICENSE}: timm states none."
        )
    if not looked_up:
        yield f"Narrow the pattern to {LOOKED_UP} names or fewer to see which weights are at hand."


MAX_FILE_BYTES = 16 * 2**20
"""A larger file is ignored: a measurement takes about 200 bytes."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The conditions of a measurement: it holds for these alone."""

    architecture: str
    image_size: int
    """Side in pixels."""
    batch_size: int
    device: str
    timm: str
    torch: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Training speed and memory of an architecture."""

    images_per_second: float
    memory: int
    """Peak, in bytes."""


class Measurements:
    """Measurements by setup, in a file of the home folder that several processes may write."""

    def __init__(self, home: Home) -> None:
        self._path = home.measurements
        self._known = dict(_read(self._path))

    def get(self, setup: Setup) -> Measured | None:
        """The measurement of a setup; None if there is none."""
        return self._known.get(setup)

    def add(self, setup: Setup, measured: Measured) -> None:
        """Store a measurement.

        Raises:
            HomeNotWritable: the file cannot be written, so only this object knows the measurement.
        """
        self._known[setup] = measured
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_suffix(".lock")):
                known = dict(_read(self._path)) | {setup: measured}
                rows = [asdict(key) | asdict(value) for key, value in known.items()]
                with replacing(self._path) as temporary:
                    temporary.write_text(json.dumps(rows, indent=0), encoding="utf-8")
        except OSError as error:
            raise HomeNotWritable(
                f"{self._path} cannot be written ({error.strerror or error}); --home or RETABLE_HOME names another "
                "folder for measurements"
            ) from error


def _read(path: Path) -> Iterator[tuple[Setup, Measured]]:
    """The valid measurements in the file. Anything else in it is ignored, so it is measured again."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    for row in rows if isinstance(rows, list) else []:
        entry = _entry(row)
        if entry is not None:
            yield entry


def _entry(row: object) -> tuple[Setup, Measured] | None:
    if not isinstance(row, dict) or set(row) != {*Setup.__dataclass_fields__, *Measured.__dataclass_fields__}:
        return None
    text = {key: row[key] for key in ("architecture", "device", "timm", "torch")}
    sizes = {key: row[key] for key in ("image_size", "batch_size")}
    speed, memory = row["images_per_second"], row["memory"]
    if not all(isinstance(value, str) for value in text.values()):
        return None
    if not all(type(value) is int and value > 0 for value in (*sizes.values(), memory)):
        return None
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < float("inf"):
        return None
    return Setup(**text, **sizes), Measured(images_per_second=float(speed), memory=memory)
