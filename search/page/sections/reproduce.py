"""How to reproduce the result: data, settings, versions, and the commands that repeat it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from search.page import text
from search.page.facts import Facts
from search.statistics.reproducibility import FACTS
from trainer.common.environment import library_versions

MACHINE = tuple(fact for fact in FACTS if fact not in ("torch", "timm", "albumentations"))
"""Recorded facts of the machine, besides the versions of libraries."""


@dataclass(frozen=True, kw_only=True)
class ReproduceView:
    """What a repetition needs."""

    commands: tuple[tuple[str, str], ...]
    """Commands and their purposes."""
    facts: tuple[tuple[str, str], ...]
    """Labels and values."""
    recipe: tuple[tuple[str, str], ...]
    """All settings of the leader's recipe; empty before a trial has finished."""


def reproduce(facts: Facts) -> ReproduceView:
    """Commands, data, seeds and versions."""
    recipe = (facts.leader.recipe or {}) if facts.leader is not None else {}
    return ReproduceView(
        commands=tuple(_commands(facts)),
        facts=tuple(_facts(facts)),
        recipe=tuple(
            (name, f"{value:.6g}" if isinstance(value, float) else str(value)) for name, value in recipe.items()
        ),
    )


def _commands(facts: Facts) -> Iterator[tuple[str, str]]:
    if facts.leader is not None:
        yield (
            text.command("search", "replay", str(facts.leader.number), "--study", facts.leader_study.name),
            "trains this trial again with its seed and folds and compares the predictions",
        )
    yield text.command("search", "folds", "--study", facts.study.name), "writes the folds as a table"


def _facts(facts: Facts) -> Iterator[tuple[str, str]]:
    study, leader = facts.study, facts.leader
    yield "Fingerprint of the data", study.fingerprint
    yield "Study", f"{study.name}, created {text.moment(study.stored.created)}, in {facts.stores.database.place}"
    yield "Hash of the specification", study.stored.spec_hash
    if study.stored.overrides:
        yield "Settings given by --set", " ".join(study.stored.overrides)
    yield "Folds", f"{study.protocol.folds}, split seed {study.protocol.split_seed}"
    if leader is not None:
        yield "Trial", f"{text.trial_name(leader)}: split {leader.split}, seed {leader.seed}"
        machine = leader.machine
        trained = [f"{fact} {machine[fact]}" for fact in ("torch", "timm", "albumentations") if fact in machine]
        if trained:
            yield "Trained with", ", ".join(trained)
        where = [f"{fact} {machine[fact]}" for fact in MACHINE if fact in machine]
        if where:
            yield "Machine", ", ".join(where)
    yield "This page was written with", ", ".join(f"{name} {version}" for name, version in library_versions().items())
