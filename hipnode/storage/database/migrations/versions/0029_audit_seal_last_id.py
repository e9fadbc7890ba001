"""A seal is found by the last record that it covers. Only adds.

Revision ID: 0029
Revises: 0028
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_audit_seal_last_id", "audit_seal", ["last_id"])


def downgrade() -> None:
    op.drop_index("ix_audit_seal_last_id")
