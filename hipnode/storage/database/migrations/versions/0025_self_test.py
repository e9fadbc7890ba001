"""The node's self-tests. Only adds.

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def _text(name: str, length: int | None = None, *, empty: bool = False) -> sa.Column[str]:
    kind = sa.String(length=length) if length else sa.Text()
    return sa.Column(name, kind, nullable=False, server_default="" if empty else None)


def upgrade() -> None:
    op.create_table(
        "self_test",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        _text("day", 10),
        sa.Column("number", sa.Integer(), nullable=False),
        _text("matter", 32),
        _text("state", 8),
        _text("asked_by"),
        sa.Column("asked_utc", sa.BigInteger(), nullable=False),
        _text("study_instance_uid", 64),
        _text("series_instance_uid", 64),
        _text("sop_instance_uid", 64),
        _text("pixels", 64, empty=True),
        _text("digests", empty=True),
        sa.Column("sent_utc", sa.BigInteger(), nullable=True),
        sa.Column("came_utc", sa.BigInteger(), nullable=True),
        sa.Column("read_utc", sa.BigInteger(), nullable=True),
        _text("said", empty=True),
        sa.Column("is_right", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("delivered_utc", sa.BigInteger(), nullable=True),
        sa.Column("seen_utc", sa.BigInteger(), nullable=True),
        sa.Column("ended_utc", sa.BigInteger(), nullable=True),
        _text("why", empty=True),
        sa.Column("withdrawn_utc", sa.BigInteger(), nullable=True),
        _text("not_withdrawn", empty=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_self_test")),
    )
    op.create_index("uq_self_test_day", "self_test", ["day", "number"], unique=True)
    op.create_index("uq_self_test_image", "self_test", ["sop_instance_uid"], unique=True)
    op.create_index("ix_self_test_study", "self_test", ["study_instance_uid"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
