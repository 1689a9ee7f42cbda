"""Notes of an export in the database: members, trainings, blend and predicted labels."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.database.blobs import pack, unpack
from storage.errors import StorageError


@dataclass(frozen=True, kw_only=True)
class RecipeNotes:
    """A recipe among the members of an export."""

    trial: int
    """Number of the search trial that found it."""
    backbone: str
    views: tuple[str, ...]
    """Averaged test-time views."""
    trainings: tuple[tuple[int, int], ...]
    """Split and seed of each training."""
    weight: float | None
    """In the blend; None if a regression stacks the members, or for a second stage."""
    study: str | None = None
    """Name of the trial's study; None: the export's own."""
    is_probe: bool = False
    """Whether the trial is one of the linear probes with which its study begins."""


@dataclass(frozen=True, kw_only=True)
class ImportNotes:
    """Imported predictions among the members of an export."""

    label: str
    digest: str
    """SHA-256, hexadecimal, of the predictions."""
    weight: float | None
    """As in `RecipeNotes`."""
    study: str | None = None
    """As in `RecipeNotes`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportNotes:
    """Notes of one export. ``m`` test images, ``C`` classes."""

    trial: int
    """The leader's, like ``seeds``, ``trainings``, ``views`` and ``study``."""
    seeds: int
    """Number of trainings."""
    trainings: tuple[tuple[int, int], ...]
    """Split and seed of each training."""
    full_data: bool
    """Whether every training saw all images."""
    views: tuple[str, ...]
    temperature: float
    """Of the blend, like ``offsets`` and ``cuts``; above 0."""
    offsets: tuple[float, ...]
    """``(C,)`` or empty."""
    cuts: tuple[float, ...]
    """``(C - 1,)`` or empty."""
    second_stage: tuple[tuple[int, ...], ...] = ()
    """Groups of classes that the last member tells apart; empty: there is no second stage."""
    study: str | None = None
    is_probe: bool = False
    """Whether the leader is a linear probe, as in `RecipeNotes`."""
    members: tuple[RecipeNotes | ImportNotes, ...] = ()
    """All members, the leader first; empty if the leader is the only one."""
    labels: NDArray[np.int64] | None = None
    """Predicted class of each test image, int64 ``(m,)``, in the order of the data set's test ids; None without test
    images, and in exports from before labels were stored."""
    doubts: tuple[str, ...] | None = None
    """Reasons to trust the export less, a sentence each (`search.export.doubts`); None in exports from before doubts
    were stored."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for the column ``notes`` of `storage.database.tables.Export`."""
        notes: dict[str, Any] = {
            "trial": self.trial,
            "seeds": self.seeds,
            "trainings": _pairs(self.trainings),
            "full_data": self.full_data,
            "views": list(self.views),
            "temperature": self.temperature,
            "offsets": list(self.offsets),
            "cuts": list(self.cuts),
        }
        if self.second_stage:
            notes["second_stage"] = [list(group) for group in self.second_stage]
        if self.members:
            notes["members"] = [_member_to_json(member) for member in self.members]
        if self.labels is not None:
            smallest = np.min_scalar_type(int(self.labels.max(initial=0)))
            notes["labels"] = base64.b64encode(pack(self.labels.astype(smallest))).decode("ascii")
        if self.doubts is not None:
            notes["doubts"] = list(self.doubts)
        return {**notes, **_study(self.study), **_probe(self.is_probe)}

    def model_to_json(self) -> dict[str, Any]:
        """As `to_json`, without the doubts, which later trials change: equal for equal members and predictions."""
        return {name: value for name, value in self.to_json().items() if name != "doubts"}

    @staticmethod
    def from_json(notes: Mapping[str, Any]) -> ExportNotes:
        """The reverse of `to_json`.

        Raises:
            StorageError: ``notes`` are damaged.
        """
        try:
            return ExportNotes(
                trial=int(notes["trial"]),
                seeds=int(notes["seeds"]),
                trainings=_read_pairs(notes["trainings"]),
                full_data=bool(notes["full_data"]),
                views=tuple(notes["views"]),
                temperature=float(notes["temperature"]),
                offsets=tuple(map(float, notes["offsets"])),
                cuts=tuple(map(float, notes["cuts"])),
                second_stage=tuple(tuple(map(int, group)) for group in notes.get("second_stage", ())),
                study=notes.get("study"),
                is_probe=notes.get("probe") is True,
                members=tuple(_member_from_json(member) for member in notes.get("members", ())),
                labels=_read_labels(notes["labels"]) if "labels" in notes else None,
                doubts=tuple(map(str, notes["doubts"])) if "doubts" in notes else None,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StorageError(f"the notes of an export are damaged: {error!r}") from error


def _member_to_json(member: RecipeNotes | ImportNotes) -> dict[str, Any]:
    common = {**_study(member.study), "weight": member.weight}
    if isinstance(member, ImportNotes):
        return {**common, "imported": member.label, "digest": member.digest}
    return {
        **common,
        "trial": member.trial,
        "backbone": member.backbone,
        "views": list(member.views),
        "trainings": _pairs(member.trainings),
        **_probe(member.is_probe),
    }


def _member_from_json(member: Mapping[str, Any]) -> RecipeNotes | ImportNotes:
    weight = None if member["weight"] is None else float(member["weight"])
    study = member.get("study")
    if "imported" in member:
        return ImportNotes(label=member["imported"], digest=member["digest"], weight=weight, study=study)
    return RecipeNotes(
        trial=int(member["trial"]),
        backbone=member["backbone"],
        views=tuple(member["views"]),
        trainings=_read_pairs(member["trainings"]),
        weight=weight,
        study=study,
        is_probe=member.get("probe") is True,
    )


def _probe(is_probe: bool) -> dict[str, bool]:
    return {"probe": True} if is_probe else {}


def _study(name: str | None) -> dict[str, str]:
    return {} if name is None else {"study": name}


def _pairs(trainings: tuple[tuple[int, int], ...]) -> list[list[int]]:
    return [list(training) for training in trainings]


def _read_pairs(trainings: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((split, seed) for split, seed in trainings)


def _read_labels(blob: str) -> NDArray[np.int64]:
    return unpack(base64.b64decode(blob, validate=True)).astype(np.int64)
