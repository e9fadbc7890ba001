"""The one place that knows Alembic: `migrate` beside it brings it in when it is needed."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection, folder: Path) -> None:
    """Bring the schema up to date within the caller's transaction; there is no alembic.ini.

    Parameters
    ----------
    connection
        To the database.
    folder
        Where the migrations lie.
    """
    made = Config()
    made.set_main_option("script_location", str(folder).replace("%", "%%"))
    made.attributes["connection"] = connection
    command.upgrade(made, "head")
