"""The audit log that cannot be cut: keyed rows, one tree an epoch, numbers that never come again.

Services of releases before it must be stopped first: their rows have no key. What they wrote stays,
sealed as they sealed it.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AUDIT = (
    "id, at_utc, event, outcome, actor, study_instance_uid, sop_instance_uid, patient_id,"
    " accession_number, ae_title, job_id, detail, row_hash"
)
_SEAL = "id, first_id, last_id, leaves, root, previous, hash, signature, sealed_utc"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_with_numbers_that_never_come_again()
    else:
        op.add_column("audit", sa.Column("writer", sa.Text(), server_default="", nullable=False))
        for column in _of_seals():
            op.add_column("audit_seal", column)
    op.create_table(
        "audit_epoch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_id", sa.BigInteger(), nullable=False),
        sa.Column("keyed_from", sa.BigInteger(), nullable=False),
        sa.Column("key_name", sa.String(length=16), nullable=False),
        sa.Column("begun_utc", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("given_up", sa.Text(), nullable=False),
        sa.Column("faults", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_epoch")),
    )
    tree = op.create_table(
        "audit_tree",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("edge", sa.LargeBinary(), nullable=False),
        sa.Column("keyed_from", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_tree")),
    )
    newest = op.get_bind().execute(sa.text("SELECT max(id) FROM audit")).scalar() or 0
    row = {"id": 1, "epoch": 0, "size": 0, "edge": b"", "keyed_from": newest + 1}
    op.bulk_insert(tree, [row])
    _take_additions_only("audit_epoch")
    op.execute("UPDATE schema_support SET oldest = '0021'")


def _of_seals() -> list[sa.Column[int]]:
    return [
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
    ]


def _rebuild_with_numbers_that_never_come_again() -> None:
    """SQLite gives the number of a deleted newest row again, unless AUTOINCREMENT is declared."""
    for table in ("audit", "audit_seal"):
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER {table}_no_{verb}")
    indexes = op.get_bind().execute(
        sa.text(
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            " AND tbl_name IN ('audit', 'audit_seal')"
        )
    )
    statements = list(indexes.scalars())
    op.create_table(
        "audit_new",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("at_utc", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("accession_number", sa.Text(), nullable=False),
        sa.Column("ae_title", sa.Text(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("writer", sa.Text(), server_default="", nullable=False),
        sa.Column("row_hash", sa.String(length=64), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_seal_new",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("first_id", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("leaves", sa.LargeBinary(), nullable=False),
        sa.Column("root", sa.String(length=64), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.Column("sealed_utc", sa.BigInteger(), nullable=False),
        *_of_seals(),
        sqlite_autoincrement=True,
    )
    for table, columns in (("audit", _AUDIT), ("audit_seal", _SEAL)):
        op.execute(f"INSERT INTO {table}_new ({columns}) SELECT {columns} FROM {table} ORDER BY id")
        op.execute(f"DROP TABLE {table}")
        op.execute(f"ALTER TABLE {table}_new RENAME TO {table}")
    for statement in statements:
        op.execute(statement)
    for table in ("audit", "audit_seal"):
        _take_additions_only(table)


def _take_additions_only(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION hipnode_append_only()"
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
