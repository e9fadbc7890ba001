"""Fetch what an archive holds from before, a series at a time, and say so on the audit log."""

from __future__ import annotations

from collections.abc import Iterator

from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.errors import HipnodeError, SettingsInvalid
from hipnode.services.history.query import FoundSeries, Wanted, find
from hipnode.services.history.retrieve import Fetched, call
from hipnode.services.listener.intake import Intake
from hipnode.settings import DestinationSettings, Settings
from hipnode.storage import Store


def archive_named(settings: Settings, name: str | None) -> DestinationSettings:
    """Return the archive to ask: a destination of kind ``dimse``, the only one if none is named.

    Raises
    ------
    SettingsInvalid
        If there is no such destination, or several and none is named.
    """
    places = [d for d in settings.destinations if isinstance(d, DestinationSettings)]
    chosen = [d for d in places if name in (None, d.name)]
    if len(chosen) == 1:
        return chosen[0]
    known = ", ".join(d.name for d in places) or "none"
    raise SettingsInvalid(f"Which archive? Name one with --from; of kind dimse there are: {known}.")


def search(settings: Settings, archive: DestinationSettings, wanted: Wanted) -> list[FoundSeries]:
    """Return what the archive holds of it, the oldest study first; nothing is fetched.

    Raises
    ------
    DestinationUnreachable, DestinationRefused
        If the archive cannot be asked, or does not answer such questions.
    """
    association, _ = call(archive, settings.node.ae_title)
    try:
        return find(association, wanted)
    finally:
        association.release()


def fetch(
    settings: Settings,
    store: Store,
    archive: DestinationSettings,
    wanted: Wanted,
    *,
    by: str = "move",
    shadow_only: bool = False,
    actor: str = "",
) -> Iterator[tuple[FoundSeries, Fetched]]:
    """Fetch series, the oldest study first; yield what came of each.

    Whatever is here already is acknowledged and not read again, except by model sets that have
    not read it yet: to go on after a trouble, ask once more.

    Parameters
    ----------
    settings, store
        The node's.
    archive, wanted
        Whom to ask, and for what.
    by
        ``move``: the archive sends to our listener, which must run and be known to it. ``get``: it
        sends on this association.
    shadow_only
        Have only the model sets in shadow read it, and nothing reported; by ``get`` alone.
    actor
        Who asks, for the audit log.

    Raises
    ------
    DestinationUnreachable, DestinationRefused
        If the archive cannot be asked, or does not answer such requests.
    StorageUnavailable
        If the audit log cannot be written.
    """
    intake = Intake(settings, store, shadow_only=shadow_only) if by == "get" else None
    association, one = call(archive, settings.node.ae_title, intake)
    try:
        for series in find(association, wanted):
            done = Fetched(0, 0)
            outcome = Outcome.FAILED
            try:
                done = one(series)
                outcome = Outcome.FAILED if done.failed else Outcome.OK
            finally:
                detail = {
                    "by": f"C-{by.upper()}", "series": series.series_instance_uid,
                    "taken": done.taken, "failed": done.failed, "shadow_only": shadow_only,
                }  # fmt: skip
                store.audit.append(
                    AuditRecord(
                        AuditEvent.HISTORY_ASKED,
                        outcome=outcome,
                        actor=actor,
                        study_instance_uid=series.study_instance_uid,
                        patient_id=series.patient_id,
                        accession_number=series.accession_number,
                        ae_title=archive.ae_title,
                        detail=detail,
                    )
                )
            yield series, done
    except HipnodeError:
        association.abort()
        raise
    finally:
        if association.is_established:
            association.release()
