"""Creates the table of enqueued trials.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "retable_enqueued_trial",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("params", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("attributes", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["retable_study.id"], name=op.f("fk_retable_enqueued_trial_study_id")),
        sa.PrimaryKeyConstraint("study_id", "number", name=op.f("pk_retable_enqueued_trial")),
    )


def downgrade() -> None:
    op.drop_table("retable_enqueued_trial")
