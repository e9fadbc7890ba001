"""The desk: accounts, sessions, and the ways to a study by accession, patient and time. Only adds.

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("one_time", sa.Boolean(), nullable=False),
        sa.Column("until_utc", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_utc", sa.BigInteger(), nullable=True),
        sa.Column("locked_until_utc", sa.BigInteger(), nullable=True),
        sa.Column("disabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("made_utc", sa.BigInteger(), nullable=False),
        sa.Column("used_utc", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_account")),
    )
    op.create_table(
        "session",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("must_change", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("opened", sa.Text(), server_default="{}", nullable=False),
        sa.Column("begun_utc", sa.BigInteger(), nullable=False),
        sa.Column("seen_utc", sa.BigInteger(), nullable=False),
        sa.Column("ended_utc", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_session")),
    )
    op.create_index("ix_session_seen", "session", ["seen_utc"])
    for name, column in (
        ("ix_study_accession", "accession_number"),
        ("ix_study_patient", "patient_id"),
    ):
        given = sa.text(f"{column} <> ''")
        op.create_index(
            name,
            "study",
            [column, "last_received_utc"],
            sqlite_where=given,
            postgresql_where=given,
        )
    op.create_index("ix_study_received", "study", ["last_received_utc", "study_instance_uid"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
