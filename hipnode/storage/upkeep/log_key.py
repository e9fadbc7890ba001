"""Whether the key in its file is the audit log's; a new log's key is made with it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from hipnode.errors import StorageUnavailable
from hipnode.settings import Settings
from hipnode.storage.audit import epochs, keys
from hipnode.storage.audit.keys import Keys
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import seal


def log_keys(settings: Settings, database: Database, now: datetime, *, vouch: bool) -> Keys | None:
    """Return the audit log's key, which is made with the log; None where it is not here."""
    path = settings.audit_key_file
    this = database.read(epochs.newest)
    if this is None and not database.read(_is_log_begun):
        made = keys.make(path)
    elif (found := keys.read(path)) is None:
        if vouch:
            raise StorageUnavailable(
                f"The audit log's key is not at {path}. Bring it back, or take another on purpose:"
                " `hipnode audit acknowledge --new-key`."
            )
        return None
    else:
        made = found
    if this is None:
        database.write(lambda c: epochs.begin_first(c, made, now))
        this = database.read(epochs.newest)
    if this is not None and this.key_name != made.name:
        if vouch:
            raise StorageUnavailable(
                f"{path} is not the audit log's key. Machines that share a database share that file"
                " (audit.key_file). To take this one on purpose: `hipnode audit acknowledge"
                " --new-key`."
            )
        return None
    return made


def _is_log_begun(connection: Connection) -> bool:
    """Tell whether there are seals from before there were epochs: they have a key already."""
    return connection.execute(select(seal.c.id).limit(1)).first() is not None
