"""Fleets: priorities, refits bound to a home, classes of failure, roles of processes.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("retable_study", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("retable_study", sa.Column("served", sa.Double(), nullable=True))
    op.add_column("retable_study", sa.Column("swept", sa.Double(), nullable=True))
    op.add_column("retable_study", sa.Column("running_since", sa.Double(), nullable=True))
    op.add_column("retable_work", sa.Column("home", sa.Text(), nullable=True))
    op.add_column("retable_trial", sa.Column("failure", sa.String(length=16), nullable=True))
    op.add_column("retable_worker", sa.Column("home", sa.Text(), nullable=True))
    op.add_column("retable_worker", sa.Column("role", sa.String(length=16), nullable=False, server_default="worker"))


def downgrade() -> None:
    op.drop_column("retable_worker", "role")
    op.drop_column("retable_worker", "home")
    op.drop_column("retable_trial", "failure")
    op.drop_column("retable_work", "home")
    op.drop_column("retable_study", "running_since")
    op.drop_column("retable_study", "swept")
    op.drop_column("retable_study", "served")
    op.drop_column("retable_study", "priority")
