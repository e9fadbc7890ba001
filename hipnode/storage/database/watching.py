"""The tables of who is alive, and of who was told what is wrong."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text, text

from hipnode.storage.database.schema import Moment, metadata

service = Table(
    "service",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("host", Text, primary_key=True),
    Column("pid", Integer, primary_key=True, autoincrement=False),
    Column("version", Text, nullable=False),
    Column("settings", String(64), nullable=False),  # their digest
    Column("models", Text, nullable=False),  # what a worker has loaded, as JSON
    Column("doing", Text, nullable=False),
    Column("hangs", Text, nullable=False),  # which of its threads, in words
    Column("ready", Boolean, nullable=False),
    Column("skew_ms", BigInteger, nullable=False),  # its clock, less the database's
    Column("started_utc", Moment, nullable=False),
    Column("beat_utc", Moment, nullable=False),
)
"""A row for each service that runs, or that died and has no successor; see `hipnode.pulse`."""

trouble = Table(
    "trouble",
    metadata,
    Column("key", Text, primary_key=True),
    Column("what", Text, nullable=False),
    Column("since_utc", Moment, nullable=False),
    Column("seen_utc", Moment, nullable=False),  # last
    Column("told", Boolean, nullable=False),
)
"""What is wrong at present, as far as alerts know."""

notice = Table(
    "notice",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("alert", Text, nullable=False),  # who is told, by name
    Column("key", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("since_utc", Moment, nullable=False),
    Column("at_utc", Moment, nullable=False),
    Column("due_utc", Moment, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text, nullable=False, server_default=""),
    Column("sent_utc", Moment),
    Index(
        "ix_notice_unsent",
        "due_utc",
        sqlite_where=text("sent_utc IS NULL"),
        postgresql_where=text("sent_utc IS NULL"),
    ),
)
"""Messages of alerts: one when a trouble begins, one when it ends."""

watch = Table(
    "watch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # the one row
    Column("due_utc", Moment, nullable=False),
)
"""When somebody looks next for troubles: any service, and one of them each time."""
