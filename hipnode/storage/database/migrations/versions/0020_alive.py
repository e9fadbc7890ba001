"""Who is alive, what troubles somebody was told of, and which images were not assessed, and why.

Only adds. A release that works on an earlier version leaves `reading.abstained` empty.

Revision ID: 0020
Revises: 0004
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ABSTAINED = sa.text("abstained <> ''")
_UNSENT = sa.text("sent_utc IS NULL")


def upgrade() -> None:
    op.create_table(
        "service",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("settings", sa.String(length=64), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("doing", sa.Text(), nullable=False),
        sa.Column("hangs", sa.Text(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("skew_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_utc", sa.BigInteger(), nullable=False),
        sa.Column("beat_utc", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "host", "pid", name=op.f("pk_service")),
    )
    op.create_table(
        "trouble",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("since_utc", sa.BigInteger(), nullable=False),
        sa.Column("seen_utc", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_trouble")),
    )
    op.create_table(
        "notice",
        sa.Column("id", _ID, nullable=False),
        sa.Column("alert", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("since_utc", sa.BigInteger(), nullable=False),
        sa.Column("at_utc", sa.BigInteger(), nullable=False),
        sa.Column("due_utc", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("sent_utc", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    op.create_index(
        "ix_notice_unsent", "notice", ["due_utc"], sqlite_where=_UNSENT, postgresql_where=_UNSENT
    )
    watch = op.create_table(
        "watch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("due_utc", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watch")),
    )
    op.bulk_insert(watch, [{"id": 1, "due_utc": 0}])
    op.add_column(
        "destination",
        sa.Column("rejects", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "reading",
        sa.Column("abstained", sa.String(length=24), server_default="", nullable=False),
    )
    _note_abstentions()
    op.create_index(
        "ix_reading_abstained",
        "reading",
        ["abstained", "created_utc"],
        sqlite_where=_ABSTAINED,
        postgresql_where=_ABSTAINED,
    )


def _note_abstentions() -> None:
    """Take the reason of each image that was not assessed out of its document."""
    reading = sa.table(
        "reading",
        *(sa.column(name) for name in ("instance_id", "model_set", "document", "abstained")),
    )
    connection = op.get_bind()
    unread = sa.select(reading.c.instance_id, reading.c.model_set, reading.c.document).where(
        reading.c.document.like('%"hips":[]%')
    )
    for row in connection.execute(unread).all():
        abstention = json.loads(row.document).get("abstention")
        if abstention:
            connection.execute(
                sa.update(reading)
                .where(
                    reading.c.instance_id == row.instance_id, reading.c.model_set == row.model_set
                )
                .values(abstained=abstention["reason"])
            )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
