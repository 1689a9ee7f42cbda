"""Gives the database an identity, and trials the digests of their networks.

The identity separates the files of two databases in one home folder.

Revision ID: 0008
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    table = op.create_table(
        "retable_identity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("identity", sa.String(length=32), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_retable_identity_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retable_identity")),
    )
    op.bulk_insert(table, [{"id": 1, "identity": uuid.uuid4().hex}])
    op.add_column("retable_trial", sa.Column("networks", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("retable_trial", "networks")
    op.drop_table("retable_identity")
