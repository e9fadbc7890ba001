"""The tables of who may use the desk, and the ways by which it finds a study."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text, text

from hipnode.storage.database.schema import Moment, metadata, study

account = Table(
    "account",
    metadata,
    Column("name", Text, primary_key=True),  # in lower case
    Column("roles", Text, nullable=False),  # with a space between
    Column("password", Text, nullable=False),  # as argon2id hashes it
    Column("one_time", Boolean, nullable=False),  # to be changed at the first sign-in
    Column("until_utc", Moment),  # how long a one-time password holds
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row
    Column("failed_utc", Moment),  # the newest of them
    Column("locked_until_utc", Moment),
    Column("disabled", Boolean, nullable=False, server_default=text("false")),
    Column("made_utc", Moment, nullable=False),
    Column("used_utc", Moment),
)
"""Local accounts; with another way to sign in there are none."""

session = Table(
    "session",
    metadata,
    Column("hash", String(64), primary_key=True),  # of the token that the browser has
    Column("subject", Text, nullable=False),  # the account, or the provider's name for the person
    Column("name", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("must_change", Boolean, nullable=False, server_default=text("false")),
    Column("opened", Text, nullable=False, server_default="{}"),  # by breaking the glass, as JSON
    Column("begun_utc", Moment, nullable=False),
    Column("seen_utc", Moment, nullable=False),
    Column("ended_utc", Moment),
    Index("ix_session_seen", "seen_utc"),
)
"""Who is signed in at the desk."""

for _name, _column in (
    ("ix_study_accession", study.c.accession_number),
    ("ix_study_patient", study.c.patient_id),
):
    _given = text(f"{_column.name} <> ''")
    Index(_name, _column, study.c.last_received_utc, sqlite_where=_given, postgresql_where=_given)
Index("ix_study_received", study.c.last_received_utc, study.c.study_instance_uid)
