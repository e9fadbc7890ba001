"""Storage commitment, and how far back releases may still work beside this one.

Only adds: a release that works on 0001 goes on working until it is stopped.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN = sa.text("state IN ('wanted', 'asked')")
_TOLD = sa.text("transaction_uid <> ''")


def upgrade() -> None:
    op.create_table(
        "commitment",
        sa.Column("id", _ID, nullable=False),
        sa.Column("job_id", _ID, nullable=False),
        sa.Column("result_id", _ID, nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("transaction_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("due_utc", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("committed_utc", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_commitment_job_id")),
        sa.ForeignKeyConstraint(["result_id"], ["result.id"], name=op.f("fk_commitment_result_id")),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["study.study_instance_uid"],
            name=op.f("fk_commitment_study_instance_uid"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment")),
    )
    op.create_index(
        "ix_commitment_due",
        "commitment",
        ["destination", "due_utc"],
        unique=False,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_index("ix_commitment_job", "commitment", ["job_id"])
    op.create_index("ix_commitment_study", "commitment", ["study_instance_uid", "state"])
    op.create_index(
        "ix_commitment_transaction",
        "commitment",
        ["transaction_uid"],
        unique=False,
        sqlite_where=_TOLD,
        postgresql_where=_TOLD,
    )
    op.create_index(
        "uq_commitment_object", "commitment", ["result_id", "destination"], unique=True
    )
    support = op.create_table(
        "schema_support",
        sa.Column("oldest", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("oldest", name=op.f("pk_schema_support")),
    )
    op.bulk_insert(support, [{"oldest": "0001"}])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
