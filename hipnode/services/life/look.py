"""Look at the node: gather what `hipnode.answers.status` puts into words."""

from __future__ import annotations

from typing import Any

from hipnode import __version__
from hipnode.answers import status
from hipnode.services.life.certificates import certificates
from hipnode.settings import Settings
from hipnode.storage import Store


def look(settings: Settings, store: Store) -> dict[str, Any]:
    """Return the state of the node, `hipnode.answers.status.document`.

    Raises
    ------
    StorageUnavailable
        If the database or the folder cannot be asked.
    """
    document = status.document(seen(settings, store), settings)
    count, size = store.quarantined()
    return document | {"quarantine": {"files": count, "bytes": size}}


def seen(settings: Settings, store: Store) -> status.Seen:
    """Return what is found now."""
    return status.Seen(
        at_utc=store.now(),
        version=__version__,
        overview=store.lookups.overview(),
        vitals=store.vitals(),
        services=store.services.all(),
        free_bytes=store.files.free_bytes(),
        certificates=certificates(settings),
        further=tuple(store.faults()),
        self_test=store.self_tests.last(),
    )
