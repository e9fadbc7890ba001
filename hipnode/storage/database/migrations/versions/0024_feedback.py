"""What people say of what the node said. Only adds.

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("side", sa.String(length=1), nullable=False),
        sa.Column("task", sa.String(length=32), nullable=False),
        sa.Column("opinion", sa.String(length=16), nullable=False),
        sa.Column("said", sa.String(length=16), nullable=False),
        sa.Column("truth", sa.String(length=16), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.Column("given_utc", sa.BigInteger(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
    )
    op.create_index("ix_feedback_study", "feedback", ["study_instance_uid", "id"])
    op.create_index("ix_feedback_opinion", "feedback", ["opinion", "given_utc", "id"])
    op.create_index("ix_feedback_given", "feedback", ["given_utc"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
