"""Who the database is: one identity, which its files carry too; what a person must see to. Only adds.

Revision ID: 0022
Revises: 0021
"""

import time
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    node = op.create_table(
        "node",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("identity", sa.String(length=36), nullable=False),
        sa.Column("joined", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("made_utc", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node")),
    )
    op.create_table(
        "fault",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since_utc", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_fault")),
    )
    op.create_table(
        "mark",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_mark")),
    )
    made_us = time.time_ns() // 1000
    row = {"id": 1, "identity": str(uuid.uuid4()), "joined": False, "made_utc": made_us}
    op.bulk_insert(node, [row])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
