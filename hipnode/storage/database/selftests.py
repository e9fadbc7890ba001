"""The table of the node's self-tests."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text, text

from hipnode.storage.database.schema import Moment, metadata

self_test = Table(
    "self_test",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("day", String(10), nullable=False),  # 2026-11-28
    Column("number", Integer, nullable=False),  # of that day; 0 is the clock's
    Column("matter", String(32), nullable=False),
    Column("state", String(8), nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_utc", Moment, nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("pixels", String(64), nullable=False, server_default=""),
    Column("digests", Text, nullable=False, server_default=""),  # with a space between
    Column("sent_utc", Moment),
    Column("came_utc", Moment),
    Column("read_utc", Moment),
    Column("said", Text, nullable=False, server_default=""),
    Column("is_right", Boolean, nullable=False, server_default=text("false")),
    Column("delivered_utc", Moment),
    Column("seen_utc", Moment),
    Column("ended_utc", Moment),
    Column("why", Text, nullable=False, server_default=""),
    Column("withdrawn_utc", Moment),
    Column("not_withdrawn", Text, nullable=False, server_default=""),
    Index("uq_self_test_day", "day", "number", unique=True),
    Index("uq_self_test_image", "sop_instance_uid", unique=True),
    Index("ix_self_test_study", "study_instance_uid"),
)
"""A row says which UIDs the node has made for images that are of nobody; see `SelfTests`."""
