"""Study of `benchmarks.fleet.overhead`: 12 or 13 parameters in a trial, like ``aug_tuning``, and earlier trials."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, insert

from search.study_setup.create_study import StudyPlan, create_study
from search.study_setup.data_folder import inspect
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.tuning.suggest import sample
from storage.database.tables import Trial, Work
from storage.optuna_storage.optuna_trials import study_id_of
from storage.stores import open_stores
from storage.values import EpochCurve, TrialOutcome, TrialStatus
from studies.load_study import load_study

NAME = "fleet"
STUDY = """
title = "Everything but the training"

[protocol]
folds = 5

[recipe]
backbone = "tf_efficientnet_b4.ns_jft_in1k"
epochs = {epochs}

[space]
"optimizer.name" = ["adamw", "sgd"]
"optimizer.lr" = [
    {{ low = 1e-4, high = 2e-3, log = true, default = 5e-4, when = {{ "optimizer.name" = "adamw" }} }},
    {{ low = 3e-4, high = 3e-2, log = true, default = 5e-3, when = {{ "optimizer.name" = "sgd" }} }},
]
"optimizer.weight_decay" = {{ low = 1e-5, high = 1e-1, log = true, default = 1e-2 }}
"augment.hflip" = {{ low = 0.0, high = 0.5, default = 0.5 }}
"augment.rotate" = {{ low = 0.0, high = 30.0 }}
"augment.shift" = {{ low = 0.0, high = 0.2 }}
"augment.scale" = {{ low = 0.0, high = 0.4, default = 0.1 }}
"augment.brightness" = {{ low = 0.0, high = 0.3, default = 0.1 }}
"augment.contrast" = {{ low = 0.0, high = 0.3, default = 0.1 }}
"augment.erase" = {{ low = 0.0, high = 0.5 }}
"augment.mix" = ["none", "mixup", "cutmix"]
"augment.mix_alpha" = {{ low = 0.2, high = 1.0, when = {{ "augment.mix" = ["mixup", "cutmix"] }} }}
"loss.label_smoothing" = {{ low = 0.0, high = 0.1 }}

# Trials are what is timed.
[probe]
enabled = false

[search]
sampler = "tpe"
trials = 100
pruner = "none"
"""

CLASSES, TRAIN_IMAGES, TEST_IMAGES = 13, 654, 400


def suggest(trial: optuna.Trial) -> dict[str, float | str]:
    """The same search space, written for Optuna alone; returns the drawn parameters."""
    optimizer = trial.suggest_categorical("optimizer.name", ("adamw", "sgd"))
    if optimizer == "adamw":
        trial.suggest_float("optimizer.lr@adamw", 1e-4, 2e-3, log=True)
    else:
        trial.suggest_float("optimizer.lr@sgd", 3e-4, 3e-2, log=True)
    trial.suggest_float("optimizer.weight_decay", 1e-5, 1e-1, log=True)
    trial.suggest_float("augment.hflip", 0.0, 0.5)
    trial.suggest_float("augment.rotate", 0.0, 30.0)
    trial.suggest_float("augment.shift", 0.0, 0.2)
    trial.suggest_float("augment.scale", 0.0, 0.4)
    trial.suggest_float("augment.brightness", 0.0, 0.3)
    trial.suggest_float("augment.contrast", 0.0, 0.3)
    trial.suggest_float("augment.erase", 0.0, 0.5)
    mix = trial.suggest_categorical("augment.mix", ("none", "mixup", "cutmix"))
    if mix != "none":
        trial.suggest_float("augment.mix_alpha", 0.2, 1.0)
    trial.suggest_float("loss.label_smoothing", 0.0, 0.1)
    return trial.params


def score(params: Mapping[str, float | str]) -> float:
    """Artificial value of a trial, a smooth function of some parameters, so that the sampler has something to model."""
    rate = next(float(value) for name, value in params.items() if name.startswith("optimizer.lr"))
    return (
        0.9
        - 0.05 * abs(math.log10(rate) + 3)
        - 0.1 * abs(float(params["augment.rotate"]) / 30 - 0.3)
        - 0.1 * float(params["augment.erase"])
        - 0.2 * float(params["loss.label_smoothing"])
    )


def true_probability_after(epoch: int, epochs: int, value: float) -> float:
    """Artificial mean true-class probability after an epoch, rising to ``value``."""
    return value * (0.5 + 0.5 * epoch / epochs)


def outcome(value: float, epochs: int, seconds: float, seed: int) -> TrialOutcome:
    """Outcome of a trial, as large as in a competition with `TRAIN_IMAGES` and `TEST_IMAGES` images."""
    rng = np.random.default_rng(seed)
    curves = tuple(
        EpochCurve(
            epoch=epoch,
            metric=true_probability_after(epoch, epochs, value),
            mean_true_probability=true_probability_after(epoch, epochs, value),
            train_loss=1 / epoch,
            seconds=seconds / epochs,
            fold_metrics=(value,) * 5,
            true_class=rng.random(TRAIN_IMAGES).astype(np.float16),
        )
        for epoch in range(1, epochs + 1)
    )
    return TrialOutcome(
        status=TrialStatus.FINISHED,
        value=value,
        value_se=0.01,
        mean_true_probability=value,
        brier=1.0 - value,
        ambiguity=0.0,
        temperature=1.0,
        epochs_done=epochs,
        seconds=seconds,
        machine={"device": "none"},
        curves=curves,
        predictions={"oof": _probabilities(rng, TRAIN_IMAGES), "test": _probabilities(rng, TEST_IMAGES)},
    )


def _probabilities(rng: np.random.Generator, images: int) -> NDArray[np.float32]:
    logits = rng.normal(0, 3, (images, CLASSES))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    proba: NDArray[np.float32] = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
    return proba


def write_images(folder: Path) -> Path:
    """Write tiny images in ProbSpace's layout. Workers compare their fingerprint, but do not train on them."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train-imgs", TRAIN_IMAGES), ("test-imgs", TEST_IMAGES)):
        np.savez(folder / f"fleet-{name}.npz", rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8))
    np.savez(folder / "fleet-train-labels.npz", np.arange(TRAIN_IMAGES) % CLASSES)
    return folder


def prepare(study_file: Path, folder: Path, epochs: int) -> StudyPlan:
    """Plan of the study on the images of ``folder``; it can be created in several databases."""
    study_file.write_text(STUDY.format(epochs=epochs))
    spec = load_study(str(study_file))
    competition = inspect(folder, spec.data.options)
    return StudyPlan(name=NAME, spec=spec, file_spec=spec, overrides=(), competition=competition, folder=folder)


def fill(url: str, study_plan: StudyPlan, earlier: int) -> None:
    """Create the study in an empty database, with ``earlier`` finished trials.

    The first trial is the default recipe, the others are drawn at random. Rows are inserted in bulk, because single
    inserts take 50 ms each. Curves and predictions are left out, because workers do not read those of other trials.
    """
    stores = open_stores(url, create=True)
    study = create_study(stores, study_plan)
    stores.studies.set_budget(study.id, earlier)
    trials = finished_trials(study_plan, earlier)
    backend = stores.optuna_study(NAME)
    first = backend.ask()
    backend.tell(first, _run(first, study_plan))
    with stores.database.writing() as connection:
        _insert_in_optuna(connection, study_id_of(backend), trials[1:])
        _insert_in_ours(connection, study.id, trials, study_plan)
    stores.database.close()


def finished_trials(study_plan: StudyPlan, count: int) -> list[FrozenTrial]:
    """Finished trials at random points; the first is the default recipe."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(study_plan.spec.default_params())
    for _ in range(count):
        trial = study.ask()
        study.tell(trial, _run(trial, study_plan))
    return study.get_trials(deepcopy=False)


def _run(trial: optuna.Trial, study_plan: StudyPlan) -> float:
    epochs = sample(trial, study_plan.spec).epochs
    trial.set_user_attr(EPOCHS_ATTRIBUTE, epochs)
    value = score(trial.params)
    for epoch in range(1, epochs + 1):
        trial.report(true_probability_after(epoch, epochs, value), epoch)
    return value


def _insert_in_optuna(connection: Connection, study_id: int, trials: list[FrozenTrial]) -> None:
    common = {"study_id": study_id, "state": TrialState.COMPLETE}
    ids = _insert(
        connection,
        models.TrialModel,
        [
            {
                **common,
                "number": trial.number,
                "datetime_start": trial.datetime_start,
                "datetime_complete": trial.datetime_complete,
            }
            for trial in trials
        ],
    )
    of_trial = list(zip(ids, trials, strict=True))
    finite = models.TrialValueModel.TrialValueType.FINITE
    _insert(
        connection,
        models.TrialValueModel,
        [{"trial_id": id_, "objective": 0, "value": trial.value, "value_type": finite} for id_, trial in of_trial],
    )
    _insert(
        connection,
        models.TrialParamModel,
        [
            {
                "trial_id": id_,
                "param_name": name,
                "param_value": distribution.to_internal_repr(trial.params[name]),
                "distribution_json": distribution_to_json(distribution),
            }
            for id_, trial in of_trial
            for name, distribution in trial.distributions.items()
        ],
    )
    finite_step = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    _insert(
        connection,
        models.TrialIntermediateValueModel,
        [
            {
                "trial_id": id_,
                "step": step,
                "intermediate_value": value,
                "intermediate_value_type": finite_step,
            }
            for id_, trial in of_trial
            for step, value in trial.intermediate_values.items()
        ],
    )
    _insert(
        connection,
        models.TrialUserAttributeModel,
        [
            {"trial_id": id_, "key": key, "value_json": json.dumps(value)}
            for id_, trial in of_trial
            for key, value in trial.user_attrs.items()
        ],
    )


def _insert_in_ours(connection: Connection, study_id: int, trials: list[FrozenTrial], study_plan: StudyPlan) -> None:
    common = {
        "study_id": study_id,
        "kind": "search",
        "split": 0,
        "seed": 0,
        "note": {},
        "worker": "earlier",
        "attempt": 1,
    }
    recipes = [study_plan.spec.assemble(trial.params) for trial in trials]
    ids = _insert(
        connection,
        Work,
        [
            {
                **common,
                "recipe": recipe,
                "trial_number": trial.number,
                "state": "stored",
                "is_reported": True,
                "lost_workers": 0,
                "created": 0.0,
            }
            for trial, recipe in zip(trials, recipes, strict=True)
        ],
    )
    _insert(
        connection,
        Trial,
        [
            {
                **common,
                "work_id": id_,
                "number": trial.number,
                "recipe": recipe,
                "machine": {},
                "status": "finished",
                "reason": "",
                "value": trial.value,
                "value_se": 0.01,
                "mean_true_probability": trial.value,
                "brier": 1.0 - (trial.value or 0.0),
                "ambiguity": 0.0,
                "temperature": 1.0,
                "epochs_done": len(trial.intermediate_values),
                "seconds": 60.0,
                "finished": 0.0,
            }
            for id_, trial, recipe in zip(ids, trials, recipes, strict=True)
        ],
    )


def _insert(connection: Connection, model: Any, rows: list[dict[str, Any]]) -> list[int]:
    """Insert rows, perhaps none, and return their ids in the same order."""
    if not rows:
        return []
    (key,) = model.__table__.primary_key.columns
    statement = insert(model.__table__).returning(key, sort_by_parameter_order=True)
    return list(connection.execute(statement, rows).scalars())
