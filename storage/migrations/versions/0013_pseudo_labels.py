"""Creates the table of pseudo-labels.

Revision ID: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "retable_study_pseudo_labels",
        sa.Column("study_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("labels", sa.LargeBinary(), nullable=False),
        sa.Column("about", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["retable_study.id"], name=op.f("fk_retable_study_pseudo_labels_study_id")
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_retable_study_pseudo_labels")),
    )


def downgrade() -> None:
    op.drop_table("retable_study_pseudo_labels")
