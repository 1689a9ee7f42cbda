"""Beginning a study, and finding it again: what is frozen then and compared later."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from search.statistics.ranking import objective_name
from search.study_setup.data_folder import Competition, DataMismatch
from search.study_setup.image_weights import Weighting
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE, ORIGIN_ATTRIBUTE, SIBLINGS
from search.study_state.study import Study, read_study
from search.tuning.warm_starts import PICTURES, WarmStart, plan_warm_starts
from storage.records.datasets import StoredDataset
from storage.stores import Stores
from storage.values import SEARCH_SPLIT, StudyState
from studies.explain import differences
from studies.spec import StudySpec
from trainer.data.folds import fold_groups, make_folds, read_folds_csv
from trainer.data.image_set import ImageSet
from trainer.data.image_statistics import image_statistics


class StudyChanged(ValueError):  # noqa: N818 - named for the fact
    """A stored study and what was typed now are not the same study."""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """What a study is begun with."""

    name: str
    spec: StudySpec
    """Everything resolved, overrides included."""
    file_spec: StudySpec
    """The study file alone."""
    overrides: Sequence[str]
    competition: Competition
    folder: Path
    folds: Path | None = None
    """A table of folds to use instead of making them."""
    budget: int | None = None
    """Trials in total, where a person said so; else as the study has it."""
    memory: bool = False
    """Whether recipes that did well in earlier studies are tried early, see `search.tuning.warm_starts`."""
    weighting: Weighting | None = None
    """How much each training image counts in the scores of a new study; None: all the same, or the study is stored."""
    made: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Make or read the folds, so that a bad table is found before anything is written."""
        object.__setattr__(self, "made", self._folds())

    def _folds(self) -> NDArray[np.int64]:
        images, protocol = self.competition.images, self.spec.protocol
        if self.folds is not None:
            read = read_folds_csv(self.folds, images.train_ids)
            if int(read.max()) + 1 != protocol.folds:
                raise StudyChanged(
                    f"{self.folds} holds {read.max() + 1} folds, the study {protocol.folds}: "
                    f"--set protocol.folds={read.max() + 1} makes them agree"
                )
            return read
        groups = fold_groups(images, self.competition.duplicates.groups)
        return make_folds(images.y, groups, protocol.folds, protocol.split_seed)


def create_study(stores: Stores, study_plan: StudyPlan) -> Study:
    """Store data set, folds and study, and lay down trial 0 and what else is to be tried early.

    May be repeated after it was interrupted: the study's own row is written last.

    Raises:
        StudyChanged: imported folds differ from those that the data has already, or Optuna has a study of that name
        which is not ours.
        ValueError: the study asks for weights and none were made, or the other way round.
    """
    images, protocol = study_plan.competition.images, study_plan.spec.protocol
    if (protocol.weighting == "none") != (study_plan.weighting is None):
        raise ValueError(f"protocol.weighting is {protocol.weighting!r}, with weights {study_plan.weighting}")
    dataset = stores.datasets.add(
        StoredDataset(
            fingerprint=images.fingerprint,
            class_names=images.class_names,
            train_ids=images.train_ids,
            test_ids=images.test_ids,
            y=images.y,
            groups=np.asarray(study_plan.competition.duplicates.groups, dtype=np.int64),
            summary={
                "folder": str(study_plan.folder.resolve()),
                "reader": images.reader,
                "skipped": list(images.skipped),
                **_statistics(stores, images),
            },
        )
    )
    frozen = stores.datasets.freeze_folds(
        images.fingerprint, study_plan.made, n_folds=protocol.folds, split=SEARCH_SPLIT, seed=protocol.split_seed
    )
    if study_plan.folds is not None and not np.array_equal(frozen, study_plan.made):
        raise StudyChanged(
            f"{study_plan.folds} differs from the {protocol.folds} folds that this data has in the database already. "
            "Folds never change once a study used them. Another division needs a number of its own: "
            "--set protocol.split_seed=1"
        )
    budget = study_plan.budget or study_plan.spec.search_settings.trials
    _enqueue_warm_starts(
        stores, study_plan, plan_warm_starts(stores, study_plan.spec, dataset, budget, memory=study_plan.memory)
    )
    stored = stores.studies.create(
        study_plan.name,
        fingerprint=images.fingerprint,
        spec=study_plan.spec.to_dict(),
        spec_hash=study_plan.spec.spec_hash,
        file_spec=study_plan.file_spec.to_dict(),
        overrides=study_plan.overrides,
        budget=budget,
        weights=study_plan.weighting.stored if study_plan.weighting else None,
    )
    return Study.of(stored)


def _statistics(stores: Stores, images: ImageSet) -> dict[str, object]:
    """The image statistics in the summary of a data set; empty where the data set is stored already."""
    if any(study.fingerprint == images.fingerprint for study in stores.studies.all()):
        return {}
    return {PICTURES: image_statistics(images.train_images).to_dict()}


def _enqueue_warm_starts(stores: Stores, study_plan: StudyPlan, planned: Sequence[WarmStart]) -> None:
    """Create the Optuna studies; the first trials of the main one are those ``planned``, waiting for a worker.

    What an interrupted founding laid down is gone on with, or, where something else is planned by now, replaced.
    """
    epochs = study_plan.spec.recipe["epochs"]
    for suffix in ("", *SIBLINGS.values()):
        study = _optuna_study(stores, study_plan, suffix)
        laid = [trial.system_attrs.get("fixed_params") for trial in study.get_trials(deepcopy=False)]
        starts = [] if suffix else planned
        if laid != [start.params for start in starts[: len(laid)]]:
            optuna.delete_study(study_name=study.study_name, storage=stores.optuna_storage)
            study, laid = _optuna_study(stores, study_plan, suffix), []
        for start in starts[len(laid) :]:
            attributes = {EPOCHS_ATTRIBUTE: epochs, ORIGIN_ATTRIBUTE: start.origin}
            study.enqueue_trial(dict(start.params), user_attrs=attributes)


def _optuna_study(stores: Stores, study_plan: StudyPlan, suffix: str) -> optuna.Study:
    """A new Optuna study, or that of an interrupted founding: nothing in it but trials of ours that wait.

    Raises:
        StudyChanged: it is neither.
    """
    study = optuna.create_study(
        study_name=study_plan.name + suffix, storage=stores.optuna_storage, direction="maximize", load_if_exists=True
    )
    for trial in study.get_trials(deepcopy=False):
        if trial.state is not TrialState.WAITING or EPOCHS_ATTRIBUTE not in trial.user_attrs:
            raise StudyChanged(
                f"{stores.database.name} holds an Optuna study {study.study_name!r} that is not Retable's; "
                "choose another name with --name"
            )
    with warnings.catch_warnings():
        # Marked experimental; the dashboard labels its axes by it.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        metric = study_plan.spec.protocol.metric
        study.set_metric_names([metric if suffix else objective_name(metric)])
    return study


def resume(stores: Stores, study: Study, study_plan: StudyPlan) -> Study:
    """Go on with a stored study, taking over what may change while it runs: budget, title, refit.

    Raises:
        DataMismatch: other images.
        StudyChanged: settings that trials depend on are other ones, or folds are given to a study that has some.
    """
    _compare(study, study_plan)
    before = study.spec
    # A portfolio is laid down once: the record keeps the one that was.
    now = replace(study_plan.spec, portfolio=before.portfolio)
    if before != now:
        stores.studies.set_spec(study.id, spec=now.to_dict(), file_spec=study_plan.file_spec.to_dict())
    edited = before.search_settings.trials != now.search_settings.trials
    budget = study_plan.budget or (now.search_settings.trials if edited else study.budget)
    if budget != study.budget:
        stores.studies.set_budget(study.id, budget)
    # Also where it runs already: a person looked at it, so the failures from before no longer count.
    stores.studies.set_state(study.id, StudyState.RUNNING)
    return read_study(stores, study.name)


def _compare(study: Study, study_plan: StudyPlan) -> None:
    fingerprint = study_plan.competition.images.fingerprint
    if fingerprint != study.fingerprint:
        raise DataMismatch(
            f"study {study.name} was begun on other images (fingerprint {study.fingerprint[:12]}, those in "
            f"{study_plan.folder} have {fingerprint[:12]}). Give --data the original folder, or choose another --name"
        )
    changes = differences(study.spec, study_plan.spec)
    if changes:
        listing = "\n".join(f"  {change}" for change in changes)
        raise StudyChanged(
            f"study {study.name} was begun with other settings than these (then -> now):\n{listing}\n"
            "Trials of both could not be compared. Undo the change and go on, or begin a new study with --name NAME"
        )
    if study_plan.folds is not None:
        raise StudyChanged(
            f"study {study.name} has its folds already; leave --folds out, or begin a new study: --name NAME"
        )
