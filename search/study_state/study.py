"""`Study`: a study of the database, with its specification checked and typed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from search.runtime.errors import SearchError
from search.tracking.tracker import TrackedStudy
from storage.records.study_rows import StoredStudy
from storage.stores import Stores
from storage.values import StudyState
from studies.settings import ProtocolSettings
from studies.spec import PRETRAINING, PSEUDO_LABELS, SELF_DISTILLATION, TWO_STAGE, StudySpec
from studies.stored_spec import spec_from_dict
from trainer.inference.printable import EXCERPT, excerpt

KEPT_SPECS = 64
"""Specifications that a process keeps: a study is read again every second, and its specification hardly ever changes.
Checking one takes 1 to 20 ms, finding it again less than a tenth of that."""


@dataclass(frozen=True, kw_only=True)
class SecondKind:
    """A way in which a second study trains the best recipe of an export again, in words."""

    name: str
    """Such as ``pseudo-labels``."""
    option: str
    """The option of ``search start`` that begins it."""
    learned: str
    """What its networks have learned from, before the name of the first study."""


SECOND_KINDS: Mapping[str, SecondKind] = {
    PSEUDO_LABELS: SecondKind(
        name="pseudo-labels", option="--pseudo-from", learned="from test images, by pseudo-labels of"
    ),
    SELF_DISTILLATION: SecondKind(
        name="self-distillation",
        option="--distil-from",
        learned="from predictions by networks of its own recipe, which is the best of",
    ),
    TWO_STAGE: SecondKind(
        name="a second stage for confusable classes",
        option="--two-stage-from",
        learned="from images of confusable classes alone, which are those of the out-of-fold mistakes of",
    ),
}
"""By `studies.spec.SECOND_STUDIES`."""

PRETRAINING_PREFIX = "pretrain-"
"""Names of pre-trainings begin with it: ``pretrain-NAME-DIGEST`` trains the weights that are registered as NAME."""


class NotASearch(SearchError):
    """A command that needs a search was given a study of another purpose."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as it was when it was read: its row of the database and its specification."""

    stored: StoredStudy
    spec: StudySpec

    @staticmethod
    def of(stored: StoredStudy) -> Study:
        """The study of a row.

        Raises:
            StudyError: its specification is not valid; all problems are listed.
        """
        return Study(stored=stored, spec=_checked(json.dumps(stored.spec)))

    @property
    def id(self) -> int:
        """Id in Retable's tables. Optuna has an id of its own."""
        return self.stored.id

    @property
    def name(self) -> str:
        """Name of the study, here and in Optuna."""
        return self.stored.name

    def tracked(self, database: str) -> TrackedStudy:
        """The study as trackers know it.

        Args:
            database: identity of the database (`storage.database.connection.Database.identity`).
        """
        fields = frozenset(dimension.field for dimension in self.spec.space)
        return TrackedStudy(key=f"{database}/{self.id}", name=self.name, metric=self.metric, sampled=fields)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the data set that the study was created on."""
        return self.stored.fingerprint

    @property
    def budget(self) -> int | None:
        """Number of search trials, without failed ones; None: no limit but the deadline."""
        return self.stored.budget

    @property
    def runs_until_deadline(self) -> bool:
        """Whether the deadline alone ends the search."""
        return self.deadline is not None and self.budget is None

    @property
    def deadline(self) -> float | None:
        """When the export must be written: Unix seconds on the database's clock; None: no deadline."""
        return self.stored.deadline

    @property
    def period_began(self) -> float:
        """When the time until the deadline began to run: Unix seconds on the database's clock."""
        return self.begun if self.stored.period_began is None else self.stored.period_began

    @property
    def state(self) -> StudyState:
        """Running, paused or stopped."""
        return self.stored.state

    @property
    def state_reason(self) -> str:
        """Reason for the state, for people; may be empty."""
        return excerpt(self.stored.state_reason, 2 * EXCERPT)

    @property
    def begun(self) -> float:
        """When a person last set the study running: Unix seconds on the database's clock."""
        return self.stored.created if self.stored.running_since is None else self.stored.running_since

    @property
    def protocol(self) -> ProtocolSettings:
        """How trials are scored."""
        return self.spec.protocol

    @property
    def metric(self) -> str:
        """Name of the metric that scores the trials."""
        return self.spec.protocol.metric

    @property
    def is_pretraining(self) -> bool:
        """Whether the study trains weights from which others begin: it holds out its first fold and trains no other."""
        return self.spec.purpose == PRETRAINING

    @property
    def has_pseudo_labels(self) -> bool:
        """Whether the study trains a known recipe again, with pseudo-labelled test images."""
        return self.spec.purpose == PSEUDO_LABELS

    @property
    def is_self_distilled(self) -> bool:
        """Whether the study trains a known recipe again, toward soft targets by teachers of the same recipe."""
        return self.spec.purpose == SELF_DISTILLATION

    @property
    def second(self) -> SecondKind | None:
        """How the study trains the best recipe of a first study again; None: it is no second study."""
        return SECOND_KINDS.get(self.spec.purpose)

    @property
    def is_second_stage(self) -> bool:
        """Whether the study trains a known recipe again as a second stage, which tells confusable classes apart."""
        return self.spec.purpose == TWO_STAGE

    @property
    def first(self) -> str:
        """Name of the study whose best recipe a second study trains again."""
        return self.spec.begun_from.rpartition(":")[0]

    @property
    def continuing(self) -> str:
        """The command that continues the study; a pre-training also needs the options with which it began."""
        if self.second is not None:
            return f"search start --study {self.name} {self.second.option} {self.first}"
        if not self.is_pretraining:
            return f"search start --study {self.name}"
        weights = self.name.removeprefix(PRETRAINING_PREFIX).rpartition("-")[0]
        return f"search pretrain --name {weights} --data DATA"

    def beginning_another(self, folder: Path) -> str:
        """The command that begins another study of this kind on the images of a folder."""
        data = shlex.quote(str(folder))
        if self.budget == 0 and self.second is None and not self.is_pretraining:
            return f"search probe {data} --name NAME"
        return f"search start --study FILE --name NAME --data {data}"

    @property
    def length_in_folds(self) -> int:
        """Number of folds of a plain cross-validation that trains on as many images as a trial; 1: on all, once."""
        folds = self.protocol.folds
        if self.is_pretraining:
            return 1
        # Each of K (K - 1) / 2 teachers trains on K - 2 folds, each network of a plain cross-validation on K - 1.
        return folds + ((folds - 1) * (folds - 2) // 2 if self.is_self_distilled else 0)

    def images_per_epoch(self, images: int) -> int:
        """Number of images that all networks of a trial train on in an epoch, of a data set of so many."""
        folds = self.protocol.folds
        return images - -(-images // folds) if self.is_pretraining else (folds - 1) * images

    def fold_key(self, split: int) -> dict[str, int]:
        """Key of the stored folds of a split: arguments of `storage.records.datasets.DatasetStore.folds`."""
        return {"n_folds": self.protocol.folds, "split": split, "seed": self.protocol.split_seed}


def require_search(study: Study, doing: str, *, or_second: bool = False) -> Study:
    """Return the study if it is a search, not a pre-training.

    Args:
        doing: what the command would do, such as ``exports``.
        or_second: whether a second study will do, too.

    Raises:
        NotASearch: it is something else; says which command continues it.
    """
    if study.second is not None and not or_second:
        raise NotASearch(
            f"study {study.name} trains one recipe with {study.second.name}, so this command {doing} nothing of it: "
            f"`{study.continuing}` continues it. --study NAME names another study"
        )
    if not study.is_pretraining:
        return study
    raise NotASearch(
        f"study {study.name} trains weights for other studies, so this command {doing} nothing of it: "
        f"`{study.continuing}` with the same options as before continues and registers it. "
        "--study NAME names another study"
    )


@lru_cache(maxsize=KEPT_SPECS)
def _checked(spec: str) -> StudySpec:
    return spec_from_dict(json.loads(spec))


def read_study(stores: Stores, name: str | None) -> Study:
    """The study of that name, or the latest.

    Raises:
        UnknownStudyError: no study of that name.
        NoStudy: the database holds none at all.
        StudyError: its specification is not valid.
    """
    return Study.of(stores.study(name))
