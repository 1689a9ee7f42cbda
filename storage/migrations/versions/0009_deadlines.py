"""Keep the period of a deadline with its study, and the seconds of a training beside its epochs.

Revision ID: 0009
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("retable_study", sa.Column("hours", sa.Double(), nullable=True))
    op.add_column("retable_study", sa.Column("period_began", sa.Double(), nullable=True))
    op.add_column("retable_trial", sa.Column("overhead", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("retable_trial", "overhead")
    op.drop_column("retable_study", "period_began")
    op.drop_column("retable_study", "hours")
