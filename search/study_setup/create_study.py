"""Creating a study in the database, and resuming it.

Data set, folds and settings are frozen when a study is created. Resuming compares them with those that are given now.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from search.runtime.errors import SearchError
from search.study_setup.data_folder import (
    CORRECTIONS,
    VALUE_RANGES,
    Competition,
    DataMismatch,
    about_corrections,
)
from search.study_setup.weights_folder import remembered_path
from search.study_state.optuna_attributes import (
    EPOCHS_ATTRIBUTE,
    ORIGIN_ATTRIBUTE,
    SIBLINGS,
)
from search.study_state.study import Study, read_study
from search.tuning.probing.plan import plan_probes
from search.tuning.restore_optuna import optuna_study, record_enqueued
from search.tuning.warm_starts import IMAGE_STATISTICS, WarmStart, plan_warm_starts
from storage.records.datasets import StoredDataset
from storage.records.study_rows import ImageWeights, LabelDecision, PseudoLabels
from storage.stores import Stores
from storage.values import SEARCH_SPLIT, StudyState
from studies.explain import differences
from studies.spec import StudySpec
from trainer.data.folds import fold_groups, make_folds, read_folds_csv
from trainer.data.image_set import ImageSet
from trainer.data.image_statistics import image_statistics


class StudyChanged(SearchError):
    """The stored study differs from the one that was requested under its name."""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """Everything that `create_study` and `resume` need."""

    name: str
    spec: StudySpec
    """Resolved settings, overrides included."""
    file_spec: StudySpec
    """Settings of the study file, without overrides."""
    overrides: Sequence[str]
    """Settings of ``--set``, as ``FIELD=VALUE``."""
    competition: Competition
    folder: Path
    """Folder of the images."""
    folds: Path | None = None
    """Table of folds to import; None: folds are made."""
    budget: int | None = None
    """Number of trials of the whole study; 0: probes only; None: the number in the study's settings."""
    until_deadline: bool = False
    """Whether ``--hours`` was given. Without a number of trials beside it, the deadline alone ends the search, unless
    the study's settings ask for probes only.
    """
    memory: bool = False
    """Whether good recipes of earlier studies are tried early, see `search.tuning.warm_starts`."""
    weighting: ImageWeights | None = None
    """Weights of the training images in the scores of a new study; None: equal weights, or the study is stored."""
    weights_dir: Path | None = None
    """Folder of pre-trained weights that the study is to remember; None: what it remembers stays."""
    held_out: NDArray[np.bool_] | None = None
    """Training images that a pre-training holds out, ``(n,)``; None: those of the first fold."""
    pseudo_labels: PseudoLabels | None = None
    """Labels of test images on which the trainings of a new study also learn; None: none, or the study is stored."""
    summary: Mapping[str, object] = field(default_factory=dict)
    """Further entries for the summary of a new data set."""
    fold_numbers: NDArray[np.int64] = field(init=False)
    """Fold of each training image, int64 ``(n,)``."""

    @property
    def trials(self) -> int:
        """Number of trials of a new study, if no deadline ends it."""
        return self.spec.search_settings.trials if self.budget is None else self.budget

    def __post_init__(self) -> None:
        """Make or import the folds. A bad table is therefore found before anything is written."""
        object.__setattr__(self, "fold_numbers", self._folds())

    def _folds(self) -> NDArray[np.int64]:
        images, protocol = self.competition.images, self.spec.protocol
        if self.held_out is not None:
            return np.where(self.held_out, 0, 1).astype(np.int64)
        if self.folds is not None:
            imported = read_folds_csv(self.folds, images.train_ids)
            n_folds = int(imported.max()) + 1
            if n_folds != protocol.folds:
                raise StudyChanged(
                    f"{self.folds} has {n_folds} folds, but the study has {protocol.folds}: "
                    f"--set protocol.folds={n_folds} makes them agree"
                )
            return imported
        groups = fold_groups(images, self.competition.duplicates.groups)
        return make_folds(images.y, groups, protocol.folds, protocol.split_seed)


def create_study(stores: Stores, study_plan: StudyPlan) -> Study:
    """Store data set, folds and study, and enqueue trial 0, the other warm starts and the probes.

    An interrupted creation may be repeated: the study's own row is written last.

    Raises:
        StudyChanged: imported folds differ from those that are stored for the same data, or Optuna has a study of this
            name that is not Retable's.
        ValueError: the plan has image weights although the study asks for none, or the other way round.
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
                VALUE_RANGES: {kind: list(ends) for kind, ends in images.value_ranges.items()},
                **_corrections(images),
                **_image_statistics(stores, images),
                **study_plan.summary,
            },
        )
    )
    stored_folds = stores.datasets.freeze_folds(
        images.fingerprint,
        study_plan.fold_numbers,
        n_folds=protocol.folds,
        split=SEARCH_SPLIT,
        seed=protocol.split_seed,
    )
    if study_plan.folds is not None and not np.array_equal(stored_folds, study_plan.fold_numbers):
        raise StudyChanged(
            f"{study_plan.folds} differs from the {protocol.folds} folds that the database has for these images. Folds "
            "never change once a study has used them. Other folds need another seed: --set protocol.split_seed=1"
        )
    budget = study_plan.trials
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
        budget=None if study_plan.until_deadline and study_plan.budget is None and budget else budget,
        weights=study_plan.weighting,
        weights_dir=None if study_plan.weights_dir is None else remembered_path(study_plan.weights_dir),
        data_dir=remembered_path(study_plan.folder),
        corrections=_decisions(images),
        pseudo_labels=study_plan.pseudo_labels,
    )
    record_enqueued(stores, stored.id, stores.optuna_study(stored.name))
    return Study.of(stored)


def _corrections(images: ImageSet) -> dict[str, object]:
    applied = images.corrections
    return {} if applied is None or not applied.changes else {CORRECTIONS: applied.sentence}


def _decisions(images: ImageSet) -> list[LabelDecision]:
    """The corrections that have changed something in ``images``, for the record of a new study."""
    return [] if images.corrections is None else [(d.id, d.given, d.label) for d in images.corrections.decisions]


def _image_statistics(stores: Stores, images: ImageSet) -> dict[str, object]:
    """The image statistics of a new data set, for its summary; empty if the data set is stored already."""
    if any(study.fingerprint == images.fingerprint for study in stores.studies.all()):
        return {}
    return {IMAGE_STATISTICS: image_statistics(images.train_images).to_dict()}


def _enqueue_warm_starts(stores: Stores, study_plan: StudyPlan, planned: Sequence[WarmStart]) -> None:
    """Create the Optuna study with the planned trials, waiting for a worker, and its empty sibling studies.

    Continues an interrupted creation; if the planned warm starts have changed, replaces them.
    """
    waiting = _waiting_trials(study_plan.spec, planned)
    for suffix in ("", *SIBLINGS.values()):
        study = _optuna_study(stores, study_plan, suffix)
        enqueued = [trial.system_attrs.get("fixed_params") for trial in study.get_trials(deepcopy=False)]
        starts = [] if suffix else waiting
        if enqueued != [params for params, _ in starts[: len(enqueued)]]:
            optuna.delete_study(study_name=study.study_name, storage=stores.optuna_storage)
            study, enqueued = _optuna_study(stores, study_plan, suffix), []
        for params, attributes in starts[len(enqueued) :]:
            study.enqueue_trial(params, user_attrs=attributes)


def _waiting_trials(
    spec: StudySpec, warm_starts: Sequence[WarmStart]
) -> list[tuple[dict[str, object], dict[str, object]]]:
    """Parameters and attributes of the trials with which a study begins: warm starts, the first of them trial 0, and
    probes. Workers take the probes first (`search.tuning.probing.next_trial`).
    """
    epochs = spec.recipe["epochs"]
    trials: list[tuple[dict[str, object], dict[str, object]]] = [
        (dict(start.params), {EPOCHS_ATTRIBUTE: epochs, ORIGIN_ATTRIBUTE: start.origin}) for start in warm_starts
    ]
    trials += [(dict(probe.params), dict(probe.attributes)) for probe in plan_probes(spec)]
    return trials


def _optuna_study(stores: Stores, study_plan: StudyPlan, suffix: str) -> optuna.Study:
    """A new Optuna study, or that of an interrupted creation, which has only waiting trials.

    Raises:
        StudyChanged: an Optuna study of this name has other trials.
    """
    study = optuna.create_study(
        study_name=study_plan.name + suffix, storage=stores.optuna_storage, direction="maximize", load_if_exists=True
    )
    for trial in study.get_trials(deepcopy=False):
        if trial.state is not TrialState.WAITING or EPOCHS_ATTRIBUTE not in trial.user_attrs:
            raise StudyChanged(
                f"{stores.database.name} has an Optuna study {study.study_name!r} that is not Retable's; "
                "choose another name with --name"
            )
    with warnings.catch_warnings():
        # Optuna marks metric names as experimental. The dashboard labels its axes with them.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([study_plan.spec.protocol.metric])
    return study


def resume(stores: Stores, study: Study, study_plan: StudyPlan) -> Study:
    """Resume a stored study, and restore its trials in Optuna where they were deleted.

    Settings that trials do not depend on, such as budget, title and ``[final]``, may change.

    Raises:
        ForeignOptunaStudy: another program has replaced Optuna's study.
        DataMismatch: the images are not those of the stored study.
        StudyChanged: settings that trials depend on have changed, or a table of folds is given.
    """
    _check_unchanged(stores, study, study_plan)
    # Trials that were enqueued before a crash, or by an earlier release, may be unrecorded.
    record_enqueued(stores, study.id, optuna_study(stores, study.stored))
    before = study.spec
    # A portfolio is enqueued once, at creation: the record keeps that one. Corrections are those of the begin as well.
    data = replace(study_plan.spec.data, corrections=before.data.corrections)
    now = replace(study_plan.spec, portfolio=before.portfolio, data=data)
    if before != now or list(study_plan.overrides) != list(study.stored.overrides):
        stores.studies.set_spec(
            study.id, spec=now.to_dict(), file_spec=study_plan.file_spec.to_dict(), overrides=study_plan.overrides
        )
    budget = _budget_of_resumed(study, study_plan, before.search_settings.trials)
    if budget != study.budget:
        stores.studies.set_budget(study.id, budget)
    weights_dir = None if study_plan.weights_dir is None else remembered_path(study_plan.weights_dir)
    if weights_dir not in (None, study.stored.weights_dir):
        stores.studies.set_weights_dir(study.id, weights_dir)
    data_dir = remembered_path(study_plan.folder)
    if data_dir not in (None, study.stored.data_dir):
        stores.studies.set_data_dir(study.id, data_dir)
    # Also if it is running: this resets the count of failures and the patience.
    stores.studies.set_state(study.id, StudyState.RUNNING)
    return read_study(stores, study.name)


def _budget_of_resumed(study: Study, study_plan: StudyPlan, before: int) -> int | None:
    """Number of trials of a study that is resumed; None: no limit but the deadline.

    Args:
        before: the number in the study's stored settings. The study has it unless ``--trials`` was given once.
    """
    now = study_plan.spec.search_settings.trials
    if study_plan.budget is not None:
        return study_plan.budget
    if study_plan.until_deadline and now:
        return None if study.budget in (None, before) else study.budget
    return now if study.budget is None or before != now else study.budget


def _check_unchanged(stores: Stores, study: Study, study_plan: StudyPlan) -> None:
    images = study_plan.competition.images
    if images.fingerprint != study.fingerprint:
        recorded = stores.studies.corrections(study.id) is not None
        corrections = about_corrections(stores.datasets.get(study.fingerprint), images, recorded=recorded)
        raise DataMismatch(
            f"study {study.name} was begun on other images (fingerprint {study.fingerprint[:12]}, those in "
            f"{study_plan.folder} have {images.fingerprint[:12]}). {corrections}Give the original folder, or "
            "choose another --name"
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
