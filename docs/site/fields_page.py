"""The page of every setting of a study file, from the declarations that check the files."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterable

from docs.site.markdown import MARK, assigned, code, joined, listed, range_of, table, type_name, value
from studies.settings import SECTIONS
from studies.space.dimension import BackboneFilter
from studies.space.parse_dimensions import NEVER_SAMPLED
from trainer.evaluation.metrics import METRICS
from trainer.inference.networks.views import TTA
from trainer.networks.backbones import FAMILIES
from trainer.recipe.augmentation_table import AUGMENTATIONS
from trainer.recipe.exclusions import EXCLUSIONS
from trainer.recipe.optimizer_table import OPTIMIZERS, SCHEDULES
from trainer.recipe.recipe import FIELDS, FieldInfo

RANGE_KEYS = {
    "choices": "the values, as a list; a bare list means the same",
    "low": "the smallest value",
    "high": "the largest value",
    "log": "`true`: the logarithm is sampled evenly; `low` has to be above 0",
    "step": "distance of the values from `low` on; not with `log`",
    "off": "value while the range is switched off: a switch of its own decides in every trial",
    "default": "the value of trial 0; without it, the recipe's if the range holds it",
    "when": 'conditions on other settings, such as `{ "optimizer.name" = "sgd" }`; without it, always sampled',
}
"""Meaning of each key of a range in ``[space]``."""


def fields_page() -> str:
    """The page of all settings."""
    groups: dict[str, list[FieldInfo]] = {}
    for path, info in FIELDS.items():
        groups.setdefault(path.partition(".")[0] if "." in path else "", []).append(info)
    strengths = [info for info in groups["augment"] if info.path.removeprefix("augment.") in AUGMENTATIONS]
    others = [info for info in groups["augment"] if info not in strengths]
    parts = [
        "# Every setting of a study file",
        MARK,
        "Each table of a study file with the type, default and range of its keys. [Study files](../study-files.md) "
        "says how to write one. `--set TABLE.KEY=VALUE` changes a setting for one study: "
        "`--set recipe.epochs=20`.",
        "## `[recipe]`: one training",
        "What a study does not sample stays at these values. In a file, a group is part of the name "
        '(`"optimizer.lr" = 1e-4`) or a table of its own (`[recipe.optimizer]`).',
        "### Network and training",
        settings_table(groups[""]),
        "### `optimizer`",
        settings_table(groups["optimizer"]),
        "The optimizers, with their usual learning rate as a multiple of AdamW's:",
        table(
            ("`optimizer.name`", "is", "rate"),
            [(code(name), rule.doc, f"{rule.usual_lr:g}") for name, rule in OPTIMIZERS.items()],
        ),
        "### `schedule`",
        settings_table(groups["schedule"]),
        table(("`schedule.name`", "after the warm-up"), [(code(name), rule.doc) for name, rule in SCHEDULES.items()]),
        "### `augment`",
        "Strengths, all off at 0, in the order in which they are applied:",
        table(
            ("setting", "range", "meaning"),
            [(code(info.path), range_of(info.low, info.high), info.doc) for info in strengths],
        ),
        "Published policies, and blending of images:",
        settings_table(others),
        "### `loss`",
        settings_table(groups["loss"]),
        "### Views of `tta`",
        table(("`tta`", "views that a prediction averages"), [(code(k), listed(v)) for k, v in TTA.items()]),
        "### Values that exclude each other",
        table(
            ("value", "not with", "because"),
            [(assigned(e.field, e.value), assigned(e.other, e.excluded), e.reason) for e in EXCLUSIONS],
        ),
        "## `[space]`: what is sampled",
        "Each key is a setting of `[recipe]`. Its value is a list of choices, a table, or a list of tables with a "
        "`when` each. "
        + " ".join(f"{code(name)} cannot be sampled: {reason}." for name, reason in NEVER_SAMPLED.items()),
        table(("key of a range", "meaning"), [(code(key), meaning) for key, meaning in RANGE_KEYS.items()]),
        "### A filter over backbones",
        "`backbone` also takes a description of backbones instead of choices. A model has to meet all of it.",
        table(("key", "default", "meaning"), filter_rows()),
        f"Families: {listed(FAMILIES)}.",
        "## `[[portfolio]]`: recipes to try first",
        "Any number of entries. `source` is required; `when` is optional, as in a range; every other key is a setting "
        "of `[recipe]`.",
    ]
    for name, cls in SECTIONS.items():
        purpose = " ".join((inspect.getdoc(cls) or "").split()).partition(": ")[2]
        purpose = re.sub(r"\s*\(`search\.[\w.]+`\)", "", purpose).replace("``", "`").replace("`None`", "Not set")
        parts += [f"## `[{name}]`", purpose[0].upper() + purpose[1:], section_table(cls)]
        if name == "protocol":
            parts.append(table(("`metric`", "is"), [(code(key), metric.doc) for key, metric in METRICS.items()]))
    return joined(parts)


def settings_table(infos: Iterable[FieldInfo]) -> str:
    """A table of recipe fields."""
    rows = [
        (
            code(info.path),
            type_name(info.type),
            value(info.default),
            range_of(info.low, info.high, info.choices),
            info.doc,
        )
        for info in infos
    ]
    return table(("setting", "type", "default", "range", "meaning"), rows)


def section_table(cls: type) -> str:
    """A table of the settings of one section of a study file."""
    hints = typing.get_type_hints(cls)
    rows = []
    for item in dataclasses.fields(cls):
        plain = next(t for t in getattr(hints[item.name], "__args__", (hints[item.name],)) if t is not type(None))
        about = item.metadata
        bounds = range_of(about["low"], about["high"], about["choices"])
        rows.append((code(item.name), type_name(plain), value(item.default), bounds, about["doc"]))
    return table(("setting", "type", "default", "range", "meaning"), rows)


def filter_rows() -> list[tuple[str, str, str]]:
    """A row for each key of a filter."""
    described = attribute_docs(BackboneFilter)
    rows = []
    for item in dataclasses.fields(BackboneFilter):
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        rows.append((code(item.name), value(default), without_modules(described[item.name])))
    return rows


def attribute_docs(cls: type) -> dict[str, str]:
    """The strings below the attributes of a class, by attribute."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for attribute, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(attribute, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(attribute.target, ast.Name)
            docs[attribute.target.id] = " ".join(str(text.value.value).split())
    return docs


def without_modules(text: str) -> str:
    """The text with names of modules replaced by what the page itself shows."""
    text = text.replace("`trainer.networks.backbones.FAMILIES`", "the families below")
    licenses = ": names, patterns, `permissive` or `unknown`; a leading `!` excludes"
    return re.sub(r"; see `studies\.[\w.]+`", licenses, text)
