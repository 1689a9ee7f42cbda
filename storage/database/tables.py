"""The tables of Retable. They share a database with Optuna's tables.

- The names begin with ``retable_``.
- No foreign key refers to Optuna's tables, because SQLite reuses the ids of deleted studies.
- Times are Unix seconds on the database's clock (`storage.database.clock`).
- Arrays are blobs of `storage.database.blobs`.
- A few attributes have a clearer name than their column, which is the first argument of ``mapped_column``.
- A change here needs a new revision in ``storage/migrations/versions``. A test compares the tables with the revisions.

The value types of `storage.values` and `storage.records` explain most columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Label,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from storage.errors import DamagedRowError
from storage.values import current_value, with_added_fields

TABLE_PREFIX = "retable_"


class Json(TypeDecorator[Any]):
    """JSON whose invalid texts raise a `StorageError`, because a database may be damaged."""

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Reads a stored text; None: the driver does."""
        read = super().result_processor(dialect, coltype)
        if read is None:
            return None

        def process(stored: Any) -> Any:
            try:
                return read(stored)
            except (ValueError, TypeError, RecursionError) as error:
                raise DamagedRowError(
                    f"the database is damaged: {str(stored)[:60]!r} is not JSON ({error}). Restore a backup of it"
                ) from error

        return process


class ParamsJson(Json):
    """Sampled parameters by name, whose values `storage.values.current_value` renews."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Reads stored parameters."""
        read = super().result_processor(dialect, coltype) or (lambda stored: stored)

        def process(stored: Any) -> Any:
            params = read(stored)
            if not isinstance(params, dict):
                return params
            return {name: current_value(name, value) for name, value in params.items()}

        return process


class RecipeJson(ParamsJson):
    """A flat recipe, with the values of today and `storage.values.with_added_fields`."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Reads a stored recipe."""
        read = super().result_processor(dialect, coltype)

        def process(stored: Any) -> Any:
            recipe = read(stored)
            return with_added_fields(recipe) if isinstance(recipe, dict) else recipe

        return process


_Json = Json()


class Base(DeclarativeBase):
    """Base of all tables: names of constraints, and SQL types of Python types."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own convention
        dict[str, Any]: _Json,
        list[str]: _Json,
        list[Any]: _Json,
        bytes: LargeBinary(),
        float: Double(),
        str: Text(),
    }


def columns_of(table: type[Base]) -> tuple[Label[Any], ...]:
    """All columns of a table, labelled so that rows have the names of the Python attributes."""
    return tuple(column.label(column.key) for column in table.__table__.columns)


class Identity(Base):
    """A random identifier of the database, in a single row. Copies of a database share it."""

    __tablename__ = "retable_identity"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    identity: Mapped[str] = mapped_column(String(32))


class Dataset(Base):
    """Labels and ids of a data set, under its fingerprint. The database does not hold the images."""

    __tablename__ = "retable_dataset"

    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    class_names: Mapped[list[str]]
    train_ids: Mapped[list[str]]
    test_ids: Mapped[list[str]]
    y: Mapped[bytes]
    groups: Mapped[bytes | None]
    summary: Mapped[dict[str, Any]]
    public_images: Mapped[int | None]
    created: Mapped[float]


class FoldSet(Base):
    """The fold of each training image, shared by all studies of a data set."""

    __tablename__ = "retable_fold_set"
    __table_args__ = (UniqueConstraint("fingerprint", "n_folds", "split", "seed"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(ForeignKey("retable_dataset.fingerprint"))
    n_folds: Mapped[int]
    split: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger())
    folds: Mapped[bytes]
    created: Mapped[float]


class Study(Base):
    """A study: search space, data set, budget and state. Optuna's study of the same name holds the trials."""

    __tablename__ = "retable_study"
    __table_args__ = (CheckConstraint("state IN ('running', 'paused', 'stopped')", name="state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text(), unique=True)
    fingerprint: Mapped[str] = mapped_column(ForeignKey("retable_dataset.fingerprint"))
    spec: Mapped[dict[str, Any]]
    spec_hash: Mapped[str] = mapped_column(String(64))
    file_spec: Mapped[dict[str, Any]]
    overrides: Mapped[list[str]]
    data_options: Mapped[dict[str, Any]]  # unused: the specification holds the options
    budget: Mapped[int | None]
    deadline: Mapped[float | None]
    hours: Mapped[float | None]
    period_began: Mapped[float | None]
    state: Mapped[str] = mapped_column(String(16))
    state_reason: Mapped[str]
    priority: Mapped[int] = mapped_column(server_default="0")
    served: Mapped[float | None]
    swept: Mapped[float | None]
    running_since: Mapped[float | None]
    weights_dir: Mapped[str | None]
    data_dir: Mapped[str | None]
    corrections: Mapped[list[Any] | None]  # NULL: an earlier release began the study
    created: Mapped[float]


class StudyWeights(Base):
    """The weight of each training image in the scores of a study. A study without a row weights all images equally."""

    __tablename__ = "retable_study_weights"

    study_id: Mapped[int] = mapped_column(ForeignKey("retable_study.id"), primary_key=True, autoincrement=False)
    weights: Mapped[bytes]
    about: Mapped[dict[str, Any]]


class StudyPseudoLabels(Base):
    """Pseudo-labels of test images, on which the trainings of a study also learn. Most studies have no row."""

    __tablename__ = "retable_study_pseudo_labels"

    study_id: Mapped[int] = mapped_column(ForeignKey("retable_study.id"), primary_key=True, autoincrement=False)
    labels: Mapped[bytes]
    about: Mapped[dict[str, Any]]


class EnqueuedTrial(Base):
    """A trial that no sampler proposes, as it was enqueued in Optuna. It stays when the trial has begun or ended."""

    __tablename__ = "retable_enqueued_trial"

    study_id: Mapped[int] = mapped_column(ForeignKey("retable_study.id"), primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    params: Mapped[dict[str, Any]] = mapped_column(ParamsJson())
    attributes: Mapped[dict[str, Any]]


class Work(Base):
    """A work item of the queue. Only `storage.queue` writes it."""

    __tablename__ = "retable_work"
    __table_args__ = (
        CheckConstraint("kind IN ('search', 'confirm', 'refit')", name="kind"),
        CheckConstraint("state IN ('queued', 'leased', 'stored', 'failed')", name="state"),
        CheckConstraint("(state = 'leased') = (lease_until IS NOT NULL)", name="lease"),
        # Search items have no recipe_hash, because a sampler may draw a recipe twice.
        UniqueConstraint("study_id", "kind", "split", "seed", "recipe_hash"),
        UniqueConstraint("study_id", "kind", "trial_number"),
        Index(None, "study_id", "state", "kind"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("retable_study.id"))
    kind: Mapped[str] = mapped_column(String(16))
    split: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger())
    recipe: Mapped[dict[str, Any] | None] = mapped_column(RecipeJson())
    recipe_hash: Mapped[str | None] = mapped_column(String(64))
    trial_number: Mapped[int | None]
    note: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    is_reported: Mapped[bool] = mapped_column("told", key="is_reported")  # whether Optuna knows the outcome
    attempt: Mapped[int]  # the fencing token: grows whenever a worker takes the item
    lost_workers: Mapped[int] = mapped_column("lost", key="lost_workers")  # without the holder of an expired lease
    worker: Mapped[str | None]  # the latest holder
    lease_until: Mapped[float | None]
    home: Mapped[str | None]  # only workers of this home may take the item; NULL: all may
    created: Mapped[float]
    paused_after: Mapped[int | None]  # the epoch after which a queued trial is paused; NULL: it is not


class Trial(Base):
    """The outcome of a work item: written once, never changed. A paused trial has one that its promotion deletes."""

    __tablename__ = "retable_trial"
    __table_args__ = (
        CheckConstraint("status IN ('finished', 'pruned', 'diverged', 'failed')", name="status"),
        Index(None, "study_id", "kind", "status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    work_id: Mapped[int] = mapped_column(ForeignKey("retable_work.id"), unique=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("retable_study.id"))
    kind: Mapped[str] = mapped_column(String(16))
    number: Mapped[int | None]
    split: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger())
    recipe: Mapped[dict[str, Any] | None] = mapped_column(RecipeJson())
    machine: Mapped[dict[str, Any]]
    note: Mapped[dict[str, Any]]
    worker: Mapped[str | None]
    attempt: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    failure: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str]
    value: Mapped[float | None]
    value_se: Mapped[float | None]
    mean_true_probability: Mapped[float | None] = mapped_column("soft", key="mean_true_probability")
    brier: Mapped[float | None]
    ambiguity: Mapped[float | None]
    temperature: Mapped[float | None]
    epochs_done: Mapped[int]
    seconds: Mapped[float]
    overhead: Mapped[float | None]
    finished: Mapped[float]
    networks: Mapped[dict[str, Any] | None]  # SHA-256 (hex) of each kept weights file by name; NULL: none kept


class Curve(Base):
    """Scores of a trial after one epoch."""

    __tablename__ = "retable_curve"

    trial_id: Mapped[int] = mapped_column(ForeignKey("retable_trial.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    metric: Mapped[float | None]
    mean_true_probability: Mapped[float | None] = mapped_column("soft", key="mean_true_probability")
    train_loss: Mapped[float | None]
    seconds: Mapped[float]
    fold_metrics: Mapped[list[Any]]
    true_class: Mapped[bytes]


class Prediction(Base):
    """Class probabilities of a trial: ``oof``, ``test``, or those of one flipped view such as ``oof.hflip``."""

    __tablename__ = "retable_prediction"

    trial_id: Mapped[int] = mapped_column(ForeignKey("retable_trial.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    proba: Mapped[bytes]


class Import(Base):
    """Predictions of another program, which may become part of a study's final model."""

    __tablename__ = "retable_import"
    __table_args__ = (UniqueConstraint("study_id", "label"), UniqueConstraint("study_id", "digest"))

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("retable_study.id"))
    label: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    oof: Mapped[bytes]
    test: Mapped[bytes | None]
    value: Mapped[float | None]
    value_se: Mapped[float | None]
    notes: Mapped[dict[str, Any]]
    created: Mapped[float]


class Export(Base):
    """An exported model: its folder, and its expected and actual scores."""

    __tablename__ = "retable_export"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("retable_study.id"), index=True)
    created: Mapped[float]
    folder: Mapped[str]
    recipe: Mapped[dict[str, Any]] = mapped_column(RecipeJson())
    score: Mapped[float | None]
    score_se: Mapped[float | None]
    notes: Mapped[dict[str, Any]]
    forecast: Mapped[dict[str, Any] | None]
    public_score: Mapped[float | None]
    private_score: Mapped[float | None]


class Worker(Base):
    """The latest heartbeat of a process: a worker, or a `search start` that waits for the end of its study."""

    __tablename__ = "retable_worker"

    name: Mapped[str] = mapped_column(Text(), primary_key=True)
    study_id: Mapped[int | None] = mapped_column(ForeignKey("retable_study.id"))
    host: Mapped[str]
    pid: Mapped[int]
    role: Mapped[str] = mapped_column(String(16), server_default="worker")
    device: Mapped[str]
    home: Mapped[str | None]
    started: Mapped[float]
    seen: Mapped[float]
