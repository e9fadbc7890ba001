"""The tables of what is no longer in the audit log's own table, and of what must be kept."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, text

from hipnode.storage.database.schema import Moment, metadata

audit_archive = Table(
    "audit_archive",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("made_utc", Moment, nullable=False),
    Column("before_utc", Moment, nullable=False),  # what was asked for
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("seal_id", BigInteger, nullable=False),  # the newest seal that covers what went
    Column("seal_hash", String(64), nullable=False),
    Column("last_id", BigInteger, nullable=False),  # the newest row that this seal covers
    Column("rows", BigInteger, nullable=False),
    Column("head", Text, nullable=False),  # of the log as far as that seal, in one line
    Column("writers", Text, nullable=False),  # whose rows went: their counts, as JSON
    Column("file", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("signature", String(64), nullable=False),
)
"""What was written to a file and taken out of ``audit``; only added to, signed with the key."""

audit_archived = Table(
    "audit_archived",
    metadata,
    Column("archive_id", ForeignKey("audit_archive.id"), primary_key=True),
    Column("first_id", BigInteger, primary_key=True),
    Column("last_id", BigInteger, nullable=False),
    Index("ix_audit_archived_first", "first_id", "last_id"),
)
"""Which rows: numbers from one to another. These alone can be deleted from ``audit``."""

hold = Table(
    "hold",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", String(16), nullable=False),  # study, patient or accession
    Column("value", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_utc", Moment, nullable=False),
    Column("lifted_utc", Moment),
    Column("lifted_by", Text, nullable=False, server_default=text("''")),
    Column("lifted_reason", Text, nullable=False, server_default=text("''")),
)
"""What a person has said must be kept: neither deleted by retention nor archived."""
