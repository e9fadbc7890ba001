"""The table of which model set reports, where people have chosen."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, text

from hipnode.storage.database.schema import Moment, metadata

_OPEN = text("state = 'proposed'")

model_choice = Table(
    "model_choice",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("reference", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("of_file", Text, nullable=False),
    Column("of_file_digest", String(64), nullable=False),
    Column("state", String(9), nullable=False),
    Column("proposed_subject", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("proposed_utc", Moment, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decided_subject", Text, nullable=False, server_default=""),
    Column("decided_by", Text, nullable=False, server_default=""),
    Column("decided_utc", Moment),
    Column("decided_reason", Text, nullable=False, server_default=""),
    Index("uq_model_choice_open", "state", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index("ix_model_choice_state", "state", "id"),
)
"""One proposal is open at most; the newest that was confirmed counts."""
