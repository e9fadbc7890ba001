"""Each destination is called, echoed, and asked which of our objects it takes.

References
----------
PS3.4 A.4, Verification SOP Class (C-ECHO); PS3.8 7.1.1.14, presentation contexts and their results.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage

from hipnode.errors import HipnodeError
from hipnode.services.commitment import PUSH_MODEL
from hipnode.services.courier.ways.dimse import (
    application_entity,
    associate,
    tls_of,
)
from hipnode.services.courier.ways.way import SR_CLASSES
from hipnode.services.rehearsal.found import Found
from hipnode.settings import DestinationSettings, Settings

_VERIFICATION: Final = "1.2.840.10008.1.1"
_CLASSES: Final = {
    "capture": (SecondaryCaptureImageStorage, "Secondary Capture Image Storage"),
    "text": ("1.2.840.10008.5.1.4.1.1.88.11", "Basic Text SR Storage"),
    "gsps": ("1.2.840.10008.5.1.4.1.1.11.1", "Grayscale Softcopy Presentation State Storage"),
    "pdf": ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF Storage"),
}


def destinations(settings: Settings) -> Iterator[Found]:
    """Yield what came of calling each destination."""
    if not settings.destinations:
        says = "none is named: images are read, and nothing is sent anywhere"
        yield Found("advice", "destinations", says)
    for place in settings.destinations:
        if isinstance(place, DestinationSettings):
            yield from _destination(place, settings.node.ae_title)
        else:
            says = f"{place.where} is tried with the first result alone"
            yield Found("advice", f"destinations.{place.name}", says)


def _destination(place: DestinationSettings, ae_title: str) -> Iterator[Found]:
    what = f"destinations.{place.name}"
    try:
        accepted, took_ms, status = _asked(place, ae_title)
    except HipnodeError as error:
        yield Found("FAULT", what, str(error))
        return
    who = f"{place.ae_title} at {place.host}:{place.port}"
    if _VERIFICATION not in accepted:
        yield Found("advice", what, f"{who} associates, and does not take C-ECHO")
    elif status != 0:
        said = "nothing" if status is None else f"0x{status:04X}"
        yield Found("FAULT", what, f"{who} answers {said} to C-ECHO")
    else:
        yield Found("ok", what, f"{who} answers C-ECHO in {took_ms:.0f} ms")
    yield from _taken(place, what, accepted)


def _asked(place: DestinationSettings, ae_title: str) -> tuple[set[str], float, int | None]:
    """Return which SOP Classes are accepted, how long C-ECHO took, and its status."""
    ae = application_entity(place, ae_title)
    for uid in (
        _VERIFICATION,
        PUSH_MODEL,
        *SR_CLASSES.values(),
        *(u for u, _ in _CLASSES.values()),
    ):
        ae.add_requested_context(uid, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    association = associate(ae, place, tls_of(place))
    try:
        accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        began_s = time.perf_counter()
        answer: Any = association.send_c_echo() if _VERIFICATION in accepted else {}
        return accepted, (time.perf_counter() - began_s) * 1000, answer.get("Status")
    finally:
        association.release()


def _taken(place: DestinationSettings, what: str, accepted: set[str]) -> Iterator[Found]:
    """Yield which of the objects that it is to get it does not take."""
    for kind in place.objects:
        if kind == "sr":
            yield from _sr_taken(place, what, accepted)
        elif _CLASSES[kind][0] not in accepted:
            yield Found("FAULT", what, f"does not take {_CLASSES[kind][1]} (objects: {kind})")
    if place.storage_commitment and PUSH_MODEL not in accepted:
        says = "does not take Storage Commitment Push Model, which storage_commitment asks for"
        yield Found("FAULT", what, says)
    names = [name for kind, (uid, name) in _CLASSES.items() if uid in accepted]
    names += [f"{name} SR" for name, uid in SR_CLASSES.items() if uid in accepted]
    yield Found("ok" if names else "FAULT", what, f"takes {', '.join(names) or 'nothing of ours'}")


def _sr_taken(place: DestinationSettings, what: str, accepted: set[str]) -> Iterator[Found]:
    taken = [name for name in place.sr_sop_classes if SR_CLASSES[name] in accepted]
    if not taken:
        wanted = ", ".join(place.sr_sop_classes)
        yield Found("FAULT", what, f"takes no SR of {wanted} (sr_sop_classes)")
    elif taken[0] != place.sr_sop_classes[0]:
        says = f"does not take {place.sr_sop_classes[0]} SR; {taken[0]} is sent instead"
        yield Found("advice", what, says)
