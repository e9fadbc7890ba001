"""A FHIR server: each report as one transaction, all of it or nothing.

References
----------
HL7 FHIR R4 3.1.0.11 (batch and transaction), 3.1.0.1.8 (content types).
"""

from __future__ import annotations

from pathlib import Path

from hipnode.services.courier.ways.way import MessageWay, Reply
from hipnode.services.courier.ways.web import post, session
from hipnode.settings import FHIRSettings


class FHIR(MessageWay):
    """POST of transactions to the base address of one server.

    Parameters
    ----------
    destination
        Its settings.
    _ae_title
        Of no use here.
    """

    def __init__(self, destination: FHIRSettings, _ae_title: str) -> None:
        self._url, self._timeout_s = destination.url, destination.timeout_s
        self._session = session(destination)

    def send(self, path: Path) -> Reply:
        """Post the transaction in ``path``.

        Raises
        ------
        DestinationUnreachable
            If no answer comes.
        """
        headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
        return post(self._session, self._url, path.read_bytes(), headers, self._timeout_s)

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()
