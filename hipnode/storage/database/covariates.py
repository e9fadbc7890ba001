"""The table of what is known about patients and came from outside."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text

from hipnode.storage.database.schema import Moment, metadata

covariate = Table(
    "covariate",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("accession_number", Text, nullable=False),
    Column("patient_ids", Text, nullable=False),  # as JSON
    Column("name", String(48), nullable=False),
    Column("value", Float),  # NULL: taken back
    Column("measured", String(32), nullable=False),  # ISO 8601, as written there
    Column("corrected", Boolean, nullable=False),
    Column("source", String(8), nullable=False),
    Column("given", Text, nullable=False),  # value and unit as they came
    Column("message", Text, nullable=False),
    Column("given_by", Text, nullable=False),
    Column("came_utc", Moment, nullable=False),
    Index("ix_covariate_accession", "accession_number", "id"),
    Index("ix_covariate_came", "came_utc"),
)
"""Rows are only added, and deleted by retention: `hipnode.reading.clinical` says which counts."""
