"""Keep the folder of images and the label corrections with their study.

Revision ID: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("retable_study", sa.Column("data_dir", sa.Text(), nullable=True))
    op.add_column("retable_study", sa.Column("corrections", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("retable_study", "corrections")
    op.drop_column("retable_study", "data_dir")
