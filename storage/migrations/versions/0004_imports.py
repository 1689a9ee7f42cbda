"""Imports: predictions that were made elsewhere.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
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


def downgrade() -> None:
    op.drop_table("retable_import")
