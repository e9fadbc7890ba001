"""Which model set reports, where two people have said so. Only adds.

Revision ID: 0028
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_OPEN = sa.text("state = 'proposed'")


def upgrade() -> None:
    op.create_table(
        "model_choice",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("of_file", sa.Text(), nullable=False),
        sa.Column("of_file_digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("proposed_subject", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("proposed_utc", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_subject", sa.Text(), server_default="", nullable=False),
        sa.Column("decided_by", sa.Text(), server_default="", nullable=False),
        sa.Column("decided_utc", sa.BigInteger(), nullable=True),
        sa.Column("decided_reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_choice")),
    )
    op.create_index(
        "uq_model_choice_open",
        "model_choice",
        ["state"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_index("ix_model_choice_state", "model_choice", ["state", "id"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
