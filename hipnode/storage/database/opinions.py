"""The table of what people say of what the node said."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from hipnode.storage.database.schema import Moment, metadata

feedback = Table(
    "feedback",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("study_instance_uid", Text, nullable=False),
    Column("side", String(1), nullable=False),  # the patient's
    Column("task", String(32), nullable=False),
    Column("opinion", String(16), nullable=False),
    Column("said", String(16), nullable=False),  # what the model had decided
    Column("truth", String(16), nullable=False),  # "present", "absent" or ""
    Column("model", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("model_digest", String(64), nullable=False),
    Column("source", String(8), nullable=False),
    Column("given_by", Text, nullable=False),
    Column("given_utc", Moment, nullable=False),
    Column("comment", Text, nullable=False),
    Index("ix_feedback_study", "study_instance_uid", "id"),
    Index("ix_feedback_opinion", "opinion", "given_utc", "id"),
    Index("ix_feedback_given", "given_utc"),
)
"""Rows are only ever added; of one hip and question the newest counts."""
