"""Images are known by their BLAKE3 instead of their SHA-256: the column is named for neither.

The one migration that does not only add: services of releases before it must be stopped first. What
they took in keeps its SHA-256; sent once more, such an image counts as changed.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE instance RENAME COLUMN sha256 TO digest")
    op.execute("UPDATE schema_support SET oldest = '0004'")


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
