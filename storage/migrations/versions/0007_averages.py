"""Trials: what the average of their fold models may be expected to be, by which they are ranked beside the metric; the
calibrated true-class probability goes, which stood for it before.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

NUMBERS = ("brier", "ambiguity", "temperature")


def upgrade() -> None:
    for name in NUMBERS:
        op.add_column("retable_trial", sa.Column(name, sa.Double(), nullable=True))
    op.drop_column("retable_trial", "calibrated")


def downgrade() -> None:
    op.add_column("retable_trial", sa.Column("calibrated", sa.Double(), nullable=True))
    for name in reversed(NUMBERS):
        op.drop_column("retable_trial", name)
