"""Exclusions: pairs of values that no recipe combines, each with its reason and what is possible instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trainer.recipe.field_info import Scalar


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Two values that exclude each other; ``str()`` is the error message."""

    field: str
    value: Scalar
    other: str
    """The field that decides: where it has the value ``excluded``, `field` cannot be `value`."""
    excluded: Scalar
    reason: str
    instead: str

    def __str__(self) -> str:
        pair = f"{self.field} = {self.value} excludes {self.other} = {self.excluded}"
        return f"{pair}: {self.reason}; {self.instead}"

    @property
    def pair(self) -> dict[str, Scalar]:
        """Both values, by field."""
        return {self.field: self.value, self.other: self.excluded}


def _partly(value: str) -> tuple[Exclusion, Exclusion]:
    """The exclusions of a value of ``tune`` with which the network learns in part."""
    return (
        Exclusion(
            field="tune",
            value=value,
            other="init",
            excluded="scratch",
            reason="the weights that do not learn would stay random",
            instead="set tune = all, or init = pretrained",
        ),
        Exclusion(
            field="tune",
            value=value,
            other="freeze",
            excluded=1.0,
            reason="only the classifier would learn",
            instead="set tune = all, or freeze below 1",
        ),
    )


def _suspecting(value: str) -> Exclusion:
    """The exclusion of a value of ``suspicious_labels`` that changes the training."""
    return Exclusion(
        field="suspicious_labels",
        value=value,
        other="init",
        excluded="scratch",
        reason="labels are judged by the features of trained weights",
        instead="set suspicious_labels = keep, or init = pretrained",
    )


EXCLUSIONS = (
    Exclusion(
        field="head",
        value="probe",
        other="init",
        excluded="scratch",
        reason="the probe is fitted on the features of one network, and random weights differ from fold to fold",
        instead="set head = random, or init = pretrained",
    ),
    Exclusion(
        field="norm",
        value="frozen",
        other="init",
        excluded="scratch",
        reason="the statistics of random weights describe no images",
        instead="set norm = batch, or init = pretrained",
    ),
    Exclusion(
        field="wise_ft",
        value=True,
        other="head",
        excluded="random",
        reason="a network with a random classifier predicts nothing, and neither does one close to it",
        instead="set wise_ft = false, or head = probe",
    ),
    *_partly("bias_norm"),
    *_partly("lora"),
    _suspecting("drop"),
    _suspecting("downweight"),
)

TRAINED_ONLY = tuple(dict.fromkeys(each.field for each in EXCLUSIONS if each.other == "init"))
"""Fields with a value that presupposes trained weights, so that it excludes ``init = "scratch"``."""


def violated(settings: Mapping[str, Scalar]) -> Iterable[Exclusion]:
    """The exclusions that complete flat ``settings`` violate."""
    return (each for each in EXCLUSIONS if all(settings[field] == value for field, value in each.pair.items()))
