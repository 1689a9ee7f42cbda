"""Keep the folder of pre-trained weights with its study.

Revision ID: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("retable_study", sa.Column("weights_dir", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("retable_study", "weights_dir")
