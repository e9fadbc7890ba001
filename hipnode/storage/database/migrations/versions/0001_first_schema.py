"""The first schema.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
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
        sa.Column("row_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(
        "ix_audit_accession",
        "audit",
        ["accession_number", "at_utc"],
        unique=False,
        sqlite_where=sa.text("accession_number <> ''"),
        postgresql_where=sa.text("accession_number <> ''"),
    )
    op.create_index(
        "ix_audit_ae_title",
        "audit",
        ["ae_title", "at_utc"],
        unique=False,
        sqlite_where=sa.text("ae_title <> ''"),
        postgresql_where=sa.text("ae_title <> ''"),
    )
    op.create_index("ix_audit_at", "audit", ["at_utc"], unique=False)
    op.create_index("ix_audit_event", "audit", ["event", "at_utc"], unique=False)
    op.create_index(
        "ix_audit_outcome",
        "audit",
        ["outcome", "at_utc"],
        unique=False,
        sqlite_where=sa.text("outcome <> 'ok'"),
        postgresql_where=sa.text("outcome <> 'ok'"),
    )
    op.create_index(
        "ix_audit_patient",
        "audit",
        ["patient_id", "at_utc"],
        unique=False,
        sqlite_where=sa.text("patient_id <> ''"),
        postgresql_where=sa.text("patient_id <> ''"),
    )
    op.create_index(
        "ix_audit_study",
        "audit",
        ["study_instance_uid", "at_utc"],
        unique=False,
        sqlite_where=sa.text("study_instance_uid <> ''"),
        postgresql_where=sa.text("study_instance_uid <> ''"),
    )
    op.create_table(
        "audit_seal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("first_id", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("leaves", sa.LargeBinary(), nullable=False),
        sa.Column("root", sa.String(length=64), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.Column("sealed_utc", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_seal")),
    )
    op.create_index("uq_audit_seal_previous", "audit_seal", ["previous"], unique=True)
    op.create_table(
        "destination",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("away_since_utc", sa.BigInteger(), nullable=True),
        sa.Column("paused_until_utc", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("last_delivery_utc", sa.BigInteger(), nullable=True),
        sa.Column("claimed_utc", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_destination")),
    )
    op.create_table(
        "study",
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), server_default="", nullable=False),
        sa.Column("accession_number", sa.Text(), server_default="", nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("quiet_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("received_utc", sa.BigInteger(), nullable=False),
        sa.Column("last_received_utc", sa.BigInteger(), nullable=False),
        sa.Column("released_utc", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("study_instance_uid", name=op.f("pk_study")),
    )
    op.create_table(
        "instance",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("header", sa.Text(), nullable=False),
        sa.Column("calling_ae", sa.Text(), nullable=False),
        sa.Column("called_ae", sa.Text(), server_default="", nullable=False),
        sa.Column("peer_address", sa.Text(), server_default="", nullable=False),
        sa.Column("association_id", sa.Text(), server_default="", nullable=False),
        sa.Column("action", sa.String(length=8), nullable=False),
        sa.Column("changed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_utc", sa.BigInteger(), nullable=False),
        sa.Column("retired_utc", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["study.study_instance_uid"],
            name=op.f("fk_instance_study_instance_uid"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
    )
    op.create_index(
        "ix_instance_kept",
        "instance",
        ["received_utc"],
        unique=False,
        sqlite_where=sa.text("retired_utc IS NULL"),
        postgresql_where=sa.text("retired_utc IS NULL"),
    )
    op.create_index("ix_instance_study", "instance", ["study_instance_uid"], unique=False)
    op.create_index("uq_instance_content", "instance", ["sop_instance_uid", "sha256"], unique=True)
    op.create_table(
        "result",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("model_set", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), server_default="", nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_utc", sa.BigInteger(), nullable=False),
        sa.Column("retired_utc", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["study.study_instance_uid"],
            name=op.f("fk_result_study_instance_uid"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_result")),
    )
    op.create_index(
        "ix_result_kept",
        "result",
        ["created_utc"],
        unique=False,
        sqlite_where=sa.text("retired_utc IS NULL"),
        postgresql_where=sa.text("retired_utc IS NULL"),
    )
    op.create_index("ix_result_study", "result", ["study_instance_uid", "version"], unique=False)
    op.create_index("uq_result_sop_instance_uid", "result", ["sop_instance_uid"], unique=True)
    op.create_table(
        "job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), server_default="", nullable=False),
        sa.Column("accession_number", sa.Text(), server_default="", nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("due_utc", sa.BigInteger(), nullable=False),
        sa.Column("created_utc", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_utc", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.Text(), server_default="", nullable=False),
        sa.Column("finished_utc", sa.BigInteger(), nullable=True),
        sa.Column(
            "instance_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("result_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("destination", sa.Text(), server_default="", nullable=False),
        sa.Column("position_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("model_set", sa.Text(), server_default="", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("priority BETWEEN -10 AND 10", name=op.f("ck_job_priority")),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_job_instance_id")),
        sa.ForeignKeyConstraint(["result_id"], ["result.id"], name=op.f("fk_job_result_id")),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["study.study_instance_uid"],
            name=op.f("fk_job_study_instance_uid"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index(
        "ix_job_claimed",
        "job",
        ["kind", "lease_until_utc"],
        unique=False,
        sqlite_where=sa.text("state = 'claimed'"),
        postgresql_where=sa.text("state = 'claimed'"),
    )
    op.create_index(
        "ix_job_instance",
        "job",
        ["instance_id"],
        unique=False,
        sqlite_where=sa.text("instance_id IS NOT NULL"),
        postgresql_where=sa.text("instance_id IS NOT NULL"),
    )
    op.create_index(
        "ix_job_outbox",
        "job",
        ["destination", "position_us", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued' AND kind = 'deliver'"),
        postgresql_where=sa.text("state = 'queued' AND kind = 'deliver'"),
    )
    op.create_index(
        "ix_job_quarantined",
        "job",
        ["kind"],
        unique=False,
        sqlite_where=sa.text("state = 'quarantined'"),
        postgresql_where=sa.text("state = 'quarantined'"),
    )
    op.create_index(
        "ix_job_queued",
        "job",
        ["kind", "priority", "due_utc", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_job_result",
        "job",
        ["result_id"],
        unique=False,
        sqlite_where=sa.text("result_id IS NOT NULL"),
        postgresql_where=sa.text("result_id IS NOT NULL"),
    )
    op.create_index(
        "ix_job_study", "job", ["study_instance_uid", "kind", "model_set"], unique=False
    )
    op.create_index("uq_job_key", "job", ["key"], unique=True)
    op.create_table(
        "reading",
        sa.Column(
            "instance_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("model_set", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_utc", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name=op.f("fk_reading_instance_id")
        ),
        sa.PrimaryKeyConstraint("instance_id", "model_set", name=op.f("pk_reading")),
    )
    _make_audit_append_only()
    if op.get_bind().dialect.name == "postgresql":
        _create_procrastinate()


def _make_audit_append_only() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in ("audit", "audit_seal"):
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    op.execute(
        "CREATE FUNCTION hipnode_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in ("audit", "audit_seal"):
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION hipnode_append_only()"
        )
    # Before a row gets its id, its writer takes this lock, shared; the sealer takes it alone, and
    # knows then that no smaller id will appear any more (hipnode.storage.audit.seal.WRITERS_LOCK).
    op.execute(
        "CREATE FUNCTION hipnode_audit_writer() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_advisory_xact_lock_shared({0x68697001}); RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_writer BEFORE INSERT ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION hipnode_audit_writer()"
    )


def _create_procrastinate() -> None:
    """Create procrastinate 3.10's own tables, as its package has them."""
    from procrastinate.schema import SchemaManager

    script = SchemaManager.get_schema()
    op.get_bind().connection.cursor().execute(script)


def downgrade() -> None:
    raise NotImplementedError("Restore the backup made before the first start instead.")
