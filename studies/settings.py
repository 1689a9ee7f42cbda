"""The sections of a study file beside [recipe] and [space]: protocol, search, confirmation, final model and data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_type_hints

from studies.errors import Problems, shown
from trainer.common.errors import suggest
from trainer.evaluation.metrics import METRICS
from trainer.formats.labels import SEVERAL_LABELS, SIMILAR_LABELS, SeveralLabels, SimilarLabels
from trainer.recipe.recipe import FIELDS, FieldInfo, RecipeError, Scalar, interval

if TYPE_CHECKING:
    from trainer.data.read import DataOptions

SAMPLERS = ("tpe", "random", "gp")
"""Names of samplers; `search.tuning.samplers` maps them to Optuna's."""
PRUNERS = ("successive_halving", "promotion", "none")
"""Names of pruners; `search.tuning.pruners` maps them to what they stand for."""
REMOVED_PRUNERS = ("paired_race",)
"""Pruners that stored studies may name: these can be read and exported, but `search.tuning.pruners` refuses to go
on.
"""
REMOVED_SETTINGS = ("race_margin",)
"""Keys of [search] that stored studies hold and nothing reads."""
ENSEMBLES = ("equal", "none", "greedy", "stack")
"""Ways to combine several recipes into one model; `search.statistics.blending.ensemble_selection` compares them."""
WEIGHTINGS = ("none", "test_like")
"""Weights of the training images in validation scores: all equal, or larger for images that resemble test images."""
SAMPLES = ("digits",)
"""Competitions that ship with Retable; `trainer.data.sample_data` writes them out."""

LAYOUTS = ("npz", "table", "folders")
"""Names of data layouts; `trainer.data.read.READERS` maps them to readers."""

MAX_TEXT = 200  # characters of a title or column name
MAX_EXACT = 2**53
"""The largest magnitude up to which every whole number is exact as a float."""

Section = TypeVar("Section")


def _setting(
    default: Scalar | None, doc: str, *, low: float = -math.inf, high: float = math.inf, choices: Iterable[str] = ()
) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": tuple(choices)})


@dataclass(frozen=True, kw_only=True)
class ProtocolSettings:
    """[protocol]: how a recipe is evaluated, by cross-validation."""

    metric: str = _setting("accuracy", "metric that is maximised; log loss is negated", choices=METRICS)
    folds: int = _setting(5, "folds of the cross-validation", low=2, high=50)
    split_seed: int = _setting(0, "seed of the division into folds", low=0, high=2**31 - 1)
    weighting: str = _setting("none", "weights of the images in every validation score", choices=WEIGHTINGS)


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """[search]: how recipes are proposed, how many, and which are pruned (stopped early)."""

    sampler: str = _setting("tpe", "algorithm that proposes the next recipe", choices=SAMPLERS)
    trials: int = _setting(50, "budget: trials in total, without probes; 0: probes only", low=0, high=100_000)
    seed: int = _setting(0, "seed of the sampler; all trainings of a search share one seed", low=0, high=2**31 - 1)
    patience: int = _setting(
        0, "trials without a gain beyond noise after which the search stops; 0: it never does", low=0, high=100_000
    )
    pruner: str = _setting(
        "successive_halving", "rule that stops a trial early, or pauses it (promotion)", choices=PRUNERS
    )
    min_epochs: int = _setting(1, "epochs before a trial may be stopped or paused", low=1, high=10_000)
    reduction_factor: int = _setting(3, "one of this many trials continues at each rung", low=2, high=16)
    startup_trials: int = _setting(
        2, "trials that reach a rung before one is stopped or promoted there", low=2, high=1000
    )
    last_rung: float = _setting(
        0.5, "share of a trial's epochs after which it is no longer stopped or paused", low=0.01, high=1.0
    )


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """[probe]: linear probes of the backbones on their frozen features, with which a search begins."""

    enabled: bool = _setting(True, "begin with a probe of every backbone that has pre-trained weights")
    keep: float = _setting(
        3.0, "backbones are not fine-tuned whose probe is this many standard errors below the best", low=0.0, high=1e6
    )
    enlarge: float = _setting(
        1.3, "the best are probed again on images this much larger than their weights' own; 1: no", low=1.0, high=4.0
    )
    reduce: float = _setting(
        0.5,
        "the default backbone is first probed on images whose side is this share of its own; 1: no",
        low=0.1,
        high=1.0,
    )
    share: float = _setting(0.5, "maximum share of the time until a deadline for probes", low=0.0, high=1.0)


@dataclass(frozen=True, kw_only=True)
class ConfirmSettings:
    """[confirm]: how the best trials are evaluated again, on fresh splits, before one is exported
    (`search.study_state.confirmation_schedule`).
    """

    finalists: int = _setting(10, "maximum number of confirmed trials, beside the default recipe", low=1, high=100)
    rounds: int = _setting(3, "maximum number of fresh splits for each trial; 0: no confirmation", low=0, high=20)
    share: float = _setting(0.25, "maximum share of all training time", low=0.0, high=0.9)


@dataclass(frozen=True, kw_only=True)
class FinalSettings:
    """[final]: how the winner becomes the exported model. ``None``: the value of the search."""

    epochs: int | None = _setting(None, "epochs", low=FIELDS["epochs"].low, high=FIELDS["epochs"].high)
    image_size: int | None = _setting(None, "image size", low=FIELDS["image_size"].low, high=FIELDS["image_size"].high)
    seeds: int = _setting(1, "refits of every fold, each with its own seed", low=1, high=100)
    share: float = _setting(0.3, "maximum share of the time until a deadline for refits", low=0.0, high=0.9)
    tta: bool = _setting(True, "average over the flips that improve out-of-fold predictions")
    ensemble: str = _setting("equal", "how recipes are combined, where that improves the score", choices=ENSEMBLES)
    members: int = _setting(5, "maximum number of recipes in the final model", low=1, high=20)
    calibrate: bool = _setting(True, "fit a temperature where the metric depends on probabilities")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """[data]: how the data set is read, where its files leave it open."""

    sample: str | None = _setting(None, "competition that ships with Retable, used without --data", choices=SAMPLES)
    id_column: str | None = _setting(None, "column of the image ids")
    label_column: str | None = _setting(None, "column of the labels")
    group_column: str | None = _setting(None, "column of the groups that stay in one fold (patient, artist)")
    table: str | None = _setting(None, "table of the training labels, a path inside of the data folder")
    layout: str | None = _setting(None, "layout of the data folder", choices=LAYOUTS)
    similar_labels: str = _setting("ask", "labels that differ only in spelling", choices=SIMILAR_LABELS)
    several_labels: str = _setting("auto", "whether an image may have several labels", choices=SEVERAL_LABELS)
    encoding: str | None = _setting(None, "encoding of tables that are not UTF-8, such as cp1252")
    skip_bad: bool = _setting(False, "leave out unreadable training images")
    corrections: bool = _setting(True, "apply the label corrections beside the data, if there are some")

    @property
    def options(self) -> DataOptions:
        """These settings as arguments of the readers, without `sample`."""
        from trainer.data.read import DataOptions

        return DataOptions(
            id_column=self.id_column,
            label_column=self.label_column,
            group_column=self.group_column,
            table=self.table,
            layout=self.layout,
            similar_labels=cast(SimilarLabels, self.similar_labels),
            several_labels=cast(SeveralLabels, self.several_labels),
            encoding=self.encoding,
            skip_bad=self.skip_bad,
            corrections=self.corrections,
        )


@dataclass(frozen=True, kw_only=True)
class RulesSettings:
    """[rules]: what the rules of a competition forbid. timm's published weights are no external data here."""

    external_data: bool = _setting(True, "weights may be used that other images than the competition's have trained")
    use_test_images: bool = _setting(True, "test images may be learned from; predicting them is always allowed")

    @property
    def forbidden(self) -> str:
        """What the rules forbid, for people; empty: nothing."""
        allowed = {"external data": self.external_data, "learning from test images": self.use_test_images}
        return " and ".join(name for name, is_allowed in allowed.items() if not is_allowed)


SECTIONS: dict[str, type] = {
    "protocol": ProtocolSettings,
    "search": SearchSettings,
    "probe": ProbeSettings,
    "confirm": ConfirmSettings,
    "final": FinalSettings,
    "data": DataSettings,
    "rules": RulesSettings,
}
"""The class of each section of a study file."""


def setting_names(table: str) -> list[str]:
    """The valid keys of a section, one of `SECTIONS`."""
    return [item.name for item in dataclasses.fields(SECTIONS[table])]


def read_section(table: str, cls: type[Section], raw: Mapping[str, object], problems: Problems) -> Section:
    """Check one section and return it; a setting with a mistake is recorded in ``problems`` and takes its default."""
    hints = get_type_hints(cls)
    values: dict[str, Scalar | None] = {}
    for key, value in raw.items():
        known = {item.name: item for item in dataclasses.fields(cast(Any, cls))}
        if key not in known:
            problems.add(table, f"there is no setting {shown(key)}{suggest(str(key), known)}", str(key))
            continue
        try:
            values[key] = _checked(key, value, hints[key], known[key].metadata)
        except RecipeError as error:
            problems.add(table, str(error), key)
    return cls(**values)


def check_scalar(info: FieldInfo, value: object) -> Scalar:
    """`FieldInfo.check` for values of untrusted files: tables, dates, long texts and huge numbers are refused as well.

    Raises:
        RecipeError: the field cannot take the value.
    """
    huge = isinstance(value, int) and abs(value) > MAX_EXACT
    endless = isinstance(value, float) and math.isinf(value)  # also 1e400
    if (
        (huge or endless)
        and isinstance(value, int | float)
        and info.type in (int, float)
        and not info.low <= value <= info.high
    ):
        raise RecipeError(f"{info.path} = {shown(value)} is outside {interval(info.low, info.high)}")
    if huge or not isinstance(value, str | int | float):
        takes = {str: "takes a name", bool: "is true or false"}.get(info.type, "takes a number")
        raise RecipeError(f"{info.path} {takes}, not {shown(value)}")
    if isinstance(value, str) and (len(value) > MAX_TEXT or not value.isprintable()):
        raise RecipeError(f"{info.path} takes up to {MAX_TEXT} printable characters, not {shown(value)}")
    return info.check(value)


def _checked(key: str, value: object, hint: Any, metadata: Mapping[str, Any]) -> Scalar | None:
    if value is None and type(None) in getattr(hint, "__args__", ()):
        return None
    plain = next((t for t in getattr(hint, "__args__", (hint,)) if t is not type(None)), str)
    if plain is bool:
        if not isinstance(value, bool):
            raise RecipeError(f"{key} is true or false, not {shown(value)}")
        return value
    return check_scalar(FieldInfo(path=key, type=plain, default="", **metadata), value)
