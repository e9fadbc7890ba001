"""One statement, in the words of each engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

Statement = Mapping[str, Any]
"""A statement that both engines know, each in its own words; see `in_both`."""


def in_both(build: Callable[[Any], Any]) -> Statement:
    """Build a statement around each engine's own INSERT, which knows ON CONFLICT.

    Statements are built once, and get their values as parameters when they are run: building one
    takes SQLAlchemy longer than running it takes SQLite.
    """
    return {"sqlite": build(sqlite.insert), "postgresql": build(postgresql.insert)}


def run(connection: Connection, statement: Statement, values: Mapping[str, Any]) -> Any:
    """Run the statement that fits the connection's engine."""
    return connection.execute(statement[connection.dialect.name], values)
