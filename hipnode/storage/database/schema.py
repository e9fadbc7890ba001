"""The tables: one schema for SQLite and PostgreSQL.

Moments are whole microseconds since 1970 in UTC, so that they sort, subtract and hash alike on both
engines. States, kinds and events are the words of `hipnode.domain`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""The due time of a report that still waits for a reading."""
PRIORITIES: Final = range(10, -11, -1)
"""Every priority there is, the most urgent first (`hipnode.settings.RuleSettings`)."""


def to_us(moment: datetime) -> int:
    """Return whole microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_us(value: int) -> datetime:
    """Return the moment ``value`` microseconds after the start of 1970."""
    return EPOCH + timedelta(microseconds=value)


class Moment(TypeDecorator[datetime]):
    """A point in time: an aware `datetime` here, whole microseconds in the table."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else to_us(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else from_us(value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# SQLite counts rows only in a column that is declared INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")
_QUEUED = text("state = 'queued'")


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


study = Table(
    "study",
    metadata,
    Column("study_instance_uid", Text, primary_key=True),
    _text("patient_id"),
    _text("accession_number"),
    Column("priority", Integer, nullable=False, server_default="0"),  # of its most urgent image
    Column("quiet_us", BigInteger, nullable=False, server_default="0"),
    Column("received_utc", Moment, nullable=False),
    Column("last_received_utc", Moment, nullable=False),  # of an image to be read
    Column("released_utc", Moment),  # its association closed, and nothing came since
)

instance = Table(
    "instance",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("study_instance_uid", ForeignKey("study.study_instance_uid"), nullable=False),
    Column("sop_instance_uid", Text, nullable=False),
    Column("digest", String(64), nullable=False),  # BLAKE3 of the file; until 0004, its SHA-256
    Column("header", Text, nullable=False),  # hipnode.domain.Header as JSON
    Column("calling_ae", Text, nullable=False),
    _text("called_ae"),
    _text("peer_address"),
    _text("association_id"),
    Column("action", String(8), nullable=False),  # "read", "keep", or why it was taken back
    Column("changed", Boolean, nullable=False, server_default=text("false")),
    Column("path", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("received_utc", Moment, nullable=False),
    Column("retired_utc", Moment),  # its file has been deleted by retention
    Index("uq_instance_content", "sop_instance_uid", "digest", unique=True),
    Index("ix_instance_study", "study_instance_uid"),
    Index(
        "ix_instance_kept",
        "received_utc",
        sqlite_where=text("retired_utc IS NULL"),
        postgresql_where=text("retired_utc IS NULL"),
    ),
)

result = Table(
    "result",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("study_instance_uid", ForeignKey("study.study_instance_uid"), nullable=False),
    Column("model_set", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("sop_class_uid", Text, nullable=False),
    Column("sop_instance_uid", Text, nullable=False),
    _text("destination"),
    Column("path", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_utc", Moment, nullable=False),
    Column("retired_utc", Moment),
    Index("uq_result_sop_instance_uid", "sop_instance_uid", unique=True),
    Index("ix_result_study", "study_instance_uid", "version"),
    Index(
        "ix_result_kept",
        "created_utc",
        sqlite_where=text("retired_utc IS NULL"),
        postgresql_where=text("retired_utc IS NULL"),
    ),
)

job = Table(
    "job",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("key", Text, nullable=False),  # what it works on, and with which model set
    Column("kind", String(8), nullable=False),
    Column("state", String(12), nullable=False),
    Column("study_instance_uid", ForeignKey("study.study_instance_uid"), nullable=False),
    _text("patient_id"),  # copied from the study for the audit rows
    _text("accession_number"),
    Column("priority", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("token", BigInteger, nullable=False, server_default="0"),
    Column("due_utc", Moment, nullable=False),
    Column("created_utc", Moment, nullable=False),
    Column("lease_until_utc", Moment),
    _text("owner"),
    Column("finished_utc", Moment),
    Column("instance_id", ForeignKey("instance.id")),
    Column("version", Integer),
    Column("result_id", ForeignKey("result.id")),
    _text("destination"),
    Column("position_us", BigInteger, nullable=False, server_default="0"),  # order of delivery
    _text("model_set"),
    _text("error"),
    CheckConstraint(f"priority BETWEEN {PRIORITIES[-1]} AND {PRIORITIES[0]}", name="priority"),
    Index("uq_job_key", "key", unique=True),
    # What may run next: one short walk for each priority, whatever the backlog.
    Index(
        "ix_job_queued",
        "kind",
        "priority",
        "due_utc",
        "id",
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    ),
    Index(
        "ix_job_outbox",
        "destination",
        "position_us",
        "id",
        sqlite_where=text("state = 'queued' AND kind = 'deliver'"),
        postgresql_where=text("state = 'queued' AND kind = 'deliver'"),
    ),
    Index(
        "ix_job_claimed",
        "kind",
        "lease_until_utc",
        sqlite_where=text("state = 'claimed'"),
        postgresql_where=text("state = 'claimed'"),
    ),
    Index(
        "ix_job_quarantined",
        "kind",
        sqlite_where=text("state = 'quarantined'"),
        postgresql_where=text("state = 'quarantined'"),
    ),
    Index("ix_job_study", "study_instance_uid", "kind", "model_set"),
    Index(
        "ix_job_instance",
        "instance_id",
        sqlite_where=text("instance_id IS NOT NULL"),
        postgresql_where=text("instance_id IS NOT NULL"),
    ),
    Index(
        "ix_job_result",
        "result_id",
        sqlite_where=text("result_id IS NOT NULL"),
        postgresql_where=text("result_id IS NOT NULL"),
    ),
)

reading = Table(
    "reading",
    metadata,
    Column("instance_id", ForeignKey("instance.id"), primary_key=True),
    Column("model_set", Text, primary_key=True),
    Column("document", Text, nullable=False),  # hipnode.domain.Reading as JSON
    Column("created_utc", Moment, nullable=False),
    Column("abstained", String(24), nullable=False, server_default=""),  # why, if not assessed
    Index(
        "ix_reading_abstained",
        "abstained",
        "created_utc",
        sqlite_where=text("abstained <> ''"),
        postgresql_where=text("abstained <> ''"),
    ),
)

destination = Table(
    "destination",
    metadata,
    Column("name", Text, primary_key=True),
    Column("away_since_utc", Moment),
    Column("paused_until_utc", Moment),
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row
    _text("error"),
    Column("last_delivery_utc", Moment),
    Column("claimed_utc", Moment),  # so that no destination waits for the others
    Column("rejects", Boolean, nullable=False, server_default=text("false")),  # it is there
)

commitment = Table(
    "commitment",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job_id", ForeignKey("job.id"), nullable=False),  # its newest delivery
    Column("result_id", ForeignKey("result.id"), nullable=False),
    Column("destination", Text, nullable=False),
    Column("study_instance_uid", ForeignKey("study.study_instance_uid"), nullable=False),
    Column("sop_class_uid", Text, nullable=False),  # as what it was taken
    Column("sop_instance_uid", Text, nullable=False),
    Column("state", String(12), nullable=False),
    _text("transaction_uid"),
    Column("due_utc", Moment, nullable=False),  # to be asked for, or asked for again
    Column("attempts", Integer, nullable=False, server_default="0"),
    _text("error"),
    Column("committed_utc", Moment),
    Index("uq_commitment_object", "result_id", "destination", unique=True),
    Index(
        "ix_commitment_due",
        "destination",
        "due_utc",
        sqlite_where=text("state IN ('wanted', 'asked')"),
        postgresql_where=text("state IN ('wanted', 'asked')"),
    ),
    Index(
        "ix_commitment_transaction",
        "transaction_uid",
        sqlite_where=text("transaction_uid <> ''"),
        postgresql_where=text("transaction_uid <> ''"),
    ),
    Index("ix_commitment_job", "job_id"),  # SQLite looks here at each new job
    Index("ix_commitment_study", "study_instance_uid", "state"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at_utc", Moment, nullable=False),
    Column("event", String(32), nullable=False),
    Column("outcome", String(8), nullable=False),
    Column("actor", Text, nullable=False),
    Column("study_instance_uid", Text, nullable=False),
    Column("sop_instance_uid", Text, nullable=False),
    Column("patient_id", Text, nullable=False),
    Column("accession_number", Text, nullable=False),
    Column("ae_title", Text, nullable=False),
    Column("job_id", BigInteger),
    Column("detail", Text, nullable=False),  # canonical JSON
    _text("writer"),  # a connection and how many rows it has written; "" before schema 0021
    Column("row_hash", String(64), nullable=False),  # HMAC; before schema 0021, SHA-256
    Index("ix_audit_at", "at_utc"),
    Index("ix_audit_event", "event", "at_utc"),
    *(
        Index(
            f"ix_audit_{name}",
            column,
            "at_utc",
            sqlite_where=text(f"{column} <> '{usual}'"),
            postgresql_where=text(f"{column} <> '{usual}'"),
        )
        for name, column, usual in (
            ("accession", "accession_number", ""),
            ("patient", "patient_id", ""),
            ("study", "study_instance_uid", ""),
            ("ae_title", "ae_title", ""),
            ("outcome", "outcome", "ok"),
        )
    ),
    sqlite_autoincrement=True,  # a number never comes again
)

schema_support = Table(
    "schema_support",
    metadata,
    # One row: releases made for this version of the schema, or a newer one, may work on it.
    Column("oldest", String(32), primary_key=True),
)

audit_day = Table(
    "audit_day",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),  # days since 1970, UTC
    Column("event", String(32), primary_key=True),
    Column("outcome", String(8), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),  # of the newest row counted
)
"""The audit log counted by day: a month of it is asked for, and would be a million rows."""

seal = Table(
    "audit_seal",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("first_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("leaves", LargeBinary, nullable=False),  # 8 bytes of row id, 16 of row hash, each
    Column("root", String(64), nullable=False),  # of the epoch's tree; in epoch 0, of the leaves
    Column("previous", String(64), nullable=False),  # hash of the seal before
    Column("hash", String(64), nullable=False),
    Column("signature", String(64), nullable=False),
    Column("sealed_utc", Moment, nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0"),  # 0: before schema 0021
    Column("size", BigInteger, nullable=False, server_default="0"),  # of the epoch's tree
    Index("uq_audit_seal_previous", "previous", unique=True),
    Index("ix_audit_seal_last_id", "last_id"),  # a head is looked for at each look at the state
    sqlite_autoincrement=True,
)

audit_epoch = Table(
    "audit_epoch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("first_id", BigInteger, nullable=False),  # the number of the first row written in it
    Column("keyed_from", BigInteger, nullable=False),  # rows from this number on have a keyed hash
    Column("key_name", String(16), nullable=False),
    Column("begun_utc", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),  # in the words of who began it
    Column("previous", String(64), nullable=False),  # hash of the newest seal before it
    Column("given_up", Text, nullable=False),  # heads that the log does not go on from, as JSON
    Column("faults", Text, nullable=False),  # what was known to be wrong before it, as JSON
    Column("signature", String(64), nullable=False),
)
"""The log's epochs: a person begins another after damage, in writing."""

audit_tree = Table(
    "audit_tree",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("edge", LargeBinary, nullable=False),
    Column("keyed_from", BigInteger, nullable=False),
)
"""One row: the right edge of the present epoch's tree, which follows from the seals."""

node = Table(
    "node",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("identity", String(36), nullable=False),  # a UUID, which the node's files carry too
    Column("joined", Boolean, nullable=False, server_default=text("false")),  # they do by now
    Column("made_utc", Moment, nullable=False),
)
"""One row: who this database is."""

# What a person must see to; `hipnode status` says so until it is seen to.
_since, _why = Column("since_utc", Moment, nullable=False), Column("reason", Text, nullable=False)
fault = Table("fault", metadata, Column("name", Text, primary_key=True), _since, _why)

_number = Column("number", BigInteger, nullable=False)  # how far has come what is done in bits
mark = Table("mark", metadata, Column("name", Text, primary_key=True), _number)
