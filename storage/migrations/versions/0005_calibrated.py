"""Trials: the calibrated true-class probability, by which they are ranked beside the metric.

Revision ID: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("retable_trial", sa.Column("calibrated", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("retable_trial", "calibrated")
