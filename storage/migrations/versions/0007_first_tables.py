"""Creates all tables.

It replaces the revisions 0001 to 0007. It has the number and the column order of the last one, so that databases which
these made are current.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "retable_dataset",
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("class_names", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("train_ids", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("test_ids", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("y", sa.LargeBinary(), nullable=False),
        sa.Column("groups", sa.LargeBinary(), nullable=True),
        sa.Column("summary", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("public_images", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_retable_dataset")),
    )
    op.create_table(
        "retable_fold_set",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("n_folds", sa.Integer(), nullable=False),
        sa.Column("split", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("folds", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["fingerprint"], ["retable_dataset.fingerprint"], name=op.f("fk_retable_fold_set_fingerprint")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retable_fold_set")),
        sa.UniqueConstraint(
            "fingerprint", "n_folds", "split", "seed", name=op.f("uq_retable_fold_set_fingerprint_n_folds_split_seed")
        ),
    )
    op.create_table(
        "retable_study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("spec", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("spec_hash", sa.String(length=64), nullable=False),
        sa.Column("file_spec", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("overrides", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("data_options", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("budget", sa.Integer(), nullable=True),
        sa.Column("deadline", sa.Double(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("served", sa.Double(), nullable=True),
        sa.Column("swept", sa.Double(), nullable=True),
        sa.Column("running_since", sa.Double(), nullable=True),
        sa.CheckConstraint("state IN ('running', 'paused', 'stopped')", name=op.f("ck_retable_study_state")),
        sa.ForeignKeyConstraint(
            ["fingerprint"], ["retable_dataset.fingerprint"], name=op.f("fk_retable_study_fingerprint")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retable_study")),
        sa.UniqueConstraint("name", name=op.f("uq_retable_study_name")),
    )
    op.create_table(
        "retable_export",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("recipe", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("score_se", sa.Double(), nullable=True),
        sa.Column("notes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("forecast", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("public_score", sa.Double(), nullable=True),
        sa.Column("private_score", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["retable_study.id"], name=op.f("fk_retable_export_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retable_export")),
    )
    op.create_index(op.f("ix_retable_export_study_id"), "retable_export", ["study_id"])
    op.create_table(
        "retable_work",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("split", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("recipe", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("recipe_hash", sa.String(length=64), nullable=True),
        sa.Column("trial_number", sa.Integer(), nullable=True),
        sa.Column("note", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("home", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'leased') = (lease_until IS NOT NULL)", name=op.f("ck_retable_work_lease")),
        sa.CheckConstraint("kind IN ('search', 'confirm', 'refit')", name=op.f("ck_retable_work_kind")),
        sa.CheckConstraint("state IN ('queued', 'leased', 'stored', 'failed')", name=op.f("ck_retable_work_state")),
        sa.ForeignKeyConstraint(["study_id"], ["retable_study.id"], name=op.f("fk_retable_work_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retable_work")),
        sa.UniqueConstraint(
            "study_id",
            "kind",
            "split",
            "seed",
            "recipe_hash",
            name=op.f("uq_retable_work_study_id_kind_split_seed_recipe_hash"),
        ),
        sa.UniqueConstraint(
            "study_id", "kind", "trial_number", name=op.f("uq_retable_work_study_id_kind_trial_number")
        ),
    )
    op.create_index(op.f("ix_retable_work_study_id_state_kind"), "retable_work", ["study_id", "state", "kind"])
    op.create_table(
        "retable_worker",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("seen", sa.Double(), nullable=False),
        sa.Column("home", sa.Text(), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False, server_default="worker"),
        sa.ForeignKeyConstraint(["study_id"], ["retable_study.id"], name=op.f("fk_retable_worker_study_id")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_retable_worker")),
    )
    op.create_table(
        "retable_trial",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("work_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("split", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("recipe", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("machine", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("note", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("value_se", sa.Double(), nullable=True),
        sa.Column("soft", sa.Double(), nullable=True),
        sa.Column("epochs_done", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("finished", sa.Double(), nullable=False),
        sa.Column("failure", sa.String(length=16), nullable=True),
        sa.Column("brier", sa.Double(), nullable=True),
        sa.Column("ambiguity", sa.Double(), nullable=True),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "status IN ('finished', 'pruned', 'diverged', 'failed')", name=op.f("ck_retable_trial_status")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["retable_study.id"], name=op.f("fk_retable_trial_study_id")),
        sa.ForeignKeyConstraint(["work_id"], ["retable_work.id"], name=op.f("fk_retable_trial_work_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retable_trial")),
        sa.UniqueConstraint("work_id", name=op.f("uq_retable_trial_work_id")),
    )
    op.create_index(op.f("ix_retable_trial_study_id_kind_status"), "retable_trial", ["study_id", "kind", "status"])
    op.create_table(
        "retable_curve",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("metric", sa.Double(), nullable=True),
        sa.Column("soft", sa.Double(), nullable=True),
        sa.Column("train_loss", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("fold_metrics", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("true_class", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["retable_trial.id"], name=op.f("fk_retable_curve_trial_id")),
        sa.PrimaryKeyConstraint("trial_id", "epoch", name=op.f("pk_retable_curve")),
    )
    op.create_table(
        "retable_prediction",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("proba", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["retable_trial.id"], name=op.f("fk_retable_prediction_trial_id")),
        sa.PrimaryKeyConstraint("trial_id", "name", name=op.f("pk_retable_prediction")),
    )
    op.create_table(
        "retable_import",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("oof", sa.LargeBinary(), nullable=False),
        sa.Column("test", sa.LargeBinary(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("value_se", sa.Double(), nullable=True),
        sa.Column("notes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retable_import")),
        sa.ForeignKeyConstraint(["study_id"], ["retable_study.id"], name=op.f("fk_retable_import_study_id")),
        sa.UniqueConstraint("study_id", "label", name=op.f("uq_retable_import_study_id_label")),
        sa.UniqueConstraint("study_id", "digest", name=op.f("uq_retable_import_study_id_digest")),
    )
    op.create_table(
        "retable_study_weights",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("weights", sa.LargeBinary(), nullable=False),
        sa.Column("about", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_retable_study_weights")),
        sa.ForeignKeyConstraint(["study_id"], ["retable_study.id"], name=op.f("fk_retable_study_weights_study_id")),
    )


def downgrade() -> None:
    op.drop_table("retable_study_weights")
    op.drop_table("retable_import")
    op.drop_table("retable_prediction")
    op.drop_table("retable_curve")
    op.drop_table("retable_trial")
    op.drop_table("retable_worker")
    op.drop_table("retable_work")
    op.drop_table("retable_export")
    op.drop_table("retable_study")
    op.drop_table("retable_fold_set")
    op.drop_table("retable_dataset")
