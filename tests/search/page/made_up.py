"""Studies with made-up outcomes, laid into the stores without images and without training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray

from search.study_state.study import Study, read_study
from search.tuning.probing.plan import as_probe
from search.tuning.restore_optuna import restore_if_gone
from search.tuning.suggest import sample
from storage.records.datasets import StoredDataset
from storage.stores import Stores
from storage.values import PROBE_NOTE, Failure, TrialOutcome, TrialStatus, WorkKind
from studies.load_study import load_study
from trainer.common.arrays import Float32Array
from trainer.evaluation.ambiguity import expected_average
from trainer.evaluation.metrics import score, standard_error
from trainer.evaluation.targets import Targets
from trainer.recipe.recipe import Recipe

SPACE = """
title = "Made up"

[protocol]
folds = 2
metric = "{metric}"

[recipe]
backbone = "test_resnet"
init = "scratch"
image_size = 32
epochs = 3
"augment.hflip" = 0.5

[space]
"optimizer.name" = ["adamw", "sgd"]
"optimizer.lr" = [
    {{ low = 1e-3, high = 1e-2, log = true, default = 5e-3, when = {{ "optimizer.name" = "adamw" }} }},
    {{ low = 1e-2, high = 1e-1, log = true, default = 5e-2, when = {{ "optimizer.name" = "sgd" }} }},
]
"loss.label_smoothing" = {{ low = 0.0, high = 0.1 }}

[search]
trials = {budget}
pruner = "none"
"""

Probabilities = Callable[[int, Recipe], Float32Array]
"""From number and recipe of a trial to its out-of-fold probabilities, ``(n, C)``."""


def lay_study(
    stores: Stores,
    folder: Path,
    *,
    names: Sequence[str] = ("red", "green", "blue"),
    metric: str = "accuracy",
    per_class: int = 20,
    test_images: int = 6,
    budget: int = 3,
    name: str = "made_up",
    y: NDArray[np.int64] | None = None,
) -> Study:
    """Store a data set of ``per_class`` images a class, and a study on it that has not begun.

    Args:
        folder: for the study file.
        y: the labels of ``per_class`` images a class, such as a matrix of several labels; None: the classes in turn.
    """
    n = per_class * len(names)
    y = np.arange(n) % len(names) if y is None else y
    path = folder / f"{name}.toml"
    path.write_text(SPACE.format(metric=metric, budget=budget), encoding="utf-8")
    spec = load_study(path, ())
    fingerprint = hashlib.sha256(
        repr((tuple(names), n, test_images, *([y.tolist()] * (y.ndim > 1)))).encode()
    ).hexdigest()
    stores.datasets.add(
        StoredDataset(
            fingerprint=fingerprint,
            class_names=tuple(names),
            train_ids=tuple(f"image-{i:04}" for i in range(n)),
            test_ids=tuple(f"test-{i:04}" for i in range(test_images)),
            y=y,
            groups=np.arange(n + test_images),
            summary={"reader": "table", "skipped": []},
        )
    )
    stores.datasets.freeze_folds(
        fingerprint, np.arange(n) // len(names) % 2, n_folds=2, split=0, seed=spec.protocol.split_seed
    )
    stored = stores.studies.create(
        name,
        fingerprint=fingerprint,
        spec=spec.to_dict(),
        spec_hash=spec.spec_hash,
        file_spec=spec.to_dict(),
        budget=budget,
    )
    restore_if_gone(stores, stored)
    return read_study(stores, name)


def noisy(y: NDArray[np.int64], classes: int, right: float, seed: int) -> Float32Array:
    """Probabilities of which a share ``right`` is right; an error is the next class."""
    draws = np.random.default_rng(seed)
    predicted = np.where(draws.random(len(y)) < right, y, (y + 1) % classes)
    proba = draws.uniform(0.0, 0.3, (len(y), classes)).astype(np.float32)
    proba[np.arange(len(y)), predicted] += 1.0
    return proba / proba.sum(axis=1, keepdims=True)


def end_trials(stores: Stores, study: Study, count: int, proba: Probabilities, *, probes: int = 0) -> None:
    """End the first ``probes`` and then ``count`` trials as finished, with random recipes."""
    dataset = stores.datasets.get(study.fingerprint)
    targets, metric = Targets(dataset.y), study.metric
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    begun = stores.queue.trials_begun(study.id)
    for number in range(begun, begun + probes + count):
        recipe, note = sample(sampler.ask(), study.spec), {}
        if number < begun + probes:
            recipe, note = as_probe(recipe, 32 + 16 * number), {PROBE_NOTE: True}
            stores.queue.add(study.id, WorkKind.SEARCH, split=0, seed=0, recipe=recipe.to_flat(), note=note)
        item = stores.queue.take(study.id, "test", 60.0)
        assert item is not None, "the budget is used up"
        item = stores.queue.assign_trial(item, number, recipe.to_flat())
        assert item is not None
        oof = proba(number, recipe)
        of_labels, rows = targets.pairs(oof) if targets.several_labels else (targets, oof)
        average = expected_average(of_labels, rows, [])
        outcome = TrialOutcome(
            status=TrialStatus.FINISHED,
            value=score(metric, targets, oof),
            value_se=standard_error(metric, targets, oof),
            mean_true_probability=float(rows[np.arange(len(rows)), of_labels.y].mean()),
            brier=average.brier,
            ambiguity=average.ambiguity,
            temperature=average.temperature,
            epochs_done=3,
            seconds=10.0 + number,
            machine={"device": "cpu", "torch": "2.0"},
            predictions={"oof": oof},
        )
        assert stores.queue.store(item, outcome)
    restore_optuna(stores, study)


def end_badly(stores: Stores, study: Study, status: TrialStatus) -> None:
    """End the next trial as pruned, diverged or failed."""
    item = stores.queue.take(study.id, "test", 60.0)
    assert item is not None
    number = stores.queue.trials_begun(study.id)
    item = stores.queue.assign_trial(item, number, study.spec.default_recipe())
    assert item is not None
    failure = Failure.BUG if status is TrialStatus.FAILED else None
    assert stores.queue.store(
        item, TrialOutcome(status=status, failure=failure, reason="made <b>up</b>", epochs_done=1, seconds=2.0)
    )
    restore_optuna(stores, study)


def restore_optuna(stores: Stores, study: Study) -> None:
    """Lay Optuna's half of the study down again, from the records."""
    optuna.delete_study(study_name=study.name, storage=stores.optuna_storage)
    restore_if_gone(stores, study.stored)
