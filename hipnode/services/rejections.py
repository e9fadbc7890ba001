"""Why an association was rejected, in words that name who has to mend what.

References
----------
PS3.8 9.3.4, A-ASSOCIATE-RJ: Table 9-21, result, source and reason.
"""

from __future__ import annotations

from typing import Final

from hipnode.errors import DestinationRejects, DestinationUnreachable
from hipnode.settings import DestinationSettings

_TRANSIENT: Final = 2
_SAYS: Final = {
    (1, 2): "does not support the DICOM application context",
    (1, 3): "does not know the calling AE title {calling}",
    (1, 7): "does not know the called AE title {called}",
    (2, 2): "does not support the version of the protocol",
    (3, 1): "is congested for now",
    (3, 2): "has no association left for now",
}


def rejection(
    destination: DestinationSettings, ae_title: str, result: int, source: int, reason: int
) -> DestinationUnreachable:
    """Return the error for an A-ASSOCIATE-RJ: a fault if it is permanent, else an absence.

    Parameters
    ----------
    destination
        Who was called.
    ae_title
        Who called.
    result, source, reason
        As they stand in the PDU.
    """
    says = _SAYS.get((source, reason), "rejects the association without saying why").format(
        calling=ae_title, called=destination.ae_title
    )
    codes = f"result {result}, source {source}, reason {reason} (PS3.8 9.3.4)"
    kind = DestinationUnreachable if result == _TRANSIENT else DestinationRejects
    return kind(f"{destination.host}:{destination.port} {says}: {codes}")
