"""Let search trials pause at a rung.

Revision ID: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("retable_work", sa.Column("paused_after", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("retable_work", "paused_after")
