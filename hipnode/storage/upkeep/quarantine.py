"""The quarantine has an end: what nobody has looked at in time goes, the oldest first."""

from __future__ import annotations

from datetime import datetime

from hipnode.domain import AuditEvent, AuditRecord
from hipnode.settings import RetentionSettings
from hipnode.storage.audit import entries
from hipnode.storage.database.engine import Database
from hipnode.storage.files.disk import FileStore
from hipnode.storage.upkeep import clock

_DAY_S = 86_400


def trim(
    database: Database,
    files: FileStore,
    settings: RetentionSettings,
    now: datetime,
) -> int:
    """Delete the oldest of what is in quarantine, down to the settings; return how much.

    Parameters
    ----------
    database, files
        The node's; that something goes is audited before it goes.
    settings
        How old it may become, and how many bytes it may have.
    now
        The moment, as the database counts it.
    """
    if database.read(lambda c: clock.forbids_to_delete(c, now)):
        return 0
    now_s = files.now_s()
    kept = sorted(files.quarantined(), key=lambda found: found[1])
    left_bytes = sum(size for _, _, size in kept)
    going: list[str] = []
    gone_bytes = 0
    for name, since_s, size in kept:
        is_old = since_s < now_s - settings.quarantine_days * _DAY_S
        if not is_old and left_bytes - gone_bytes <= settings.quarantine_bytes:
            break
        going.append(name)
        gone_bytes += size
    if going:
        detail = {"files": len(going), "bytes": gone_bytes, "kept": len(kept) - len(going)}
        record = AuditRecord(AuditEvent.QUARANTINE_TRIMMED, actor="housekeeper", detail=detail)
        database.write(lambda c: entries.append(c, now, [record]))
    for name in going:
        files.drop(name)
    return len(going)
