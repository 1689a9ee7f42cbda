"""Studies: how much each training image counts in their scores.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
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
