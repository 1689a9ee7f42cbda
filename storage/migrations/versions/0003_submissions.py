"""Submissions: forecasts and what the board said of exports, and how many test images its public part holds.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("retable_dataset", sa.Column("public_images", sa.Integer(), nullable=True))
    op.add_column("retable_export", sa.Column("forecast", sa.JSON(), nullable=True))
    op.add_column("retable_export", sa.Column("public_score", sa.Double(), nullable=True))
    op.add_column("retable_export", sa.Column("private_score", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("retable_export", "private_score")
    op.drop_column("retable_export", "public_score")
    op.drop_column("retable_export", "forecast")
    op.drop_column("retable_dataset", "public_images")
