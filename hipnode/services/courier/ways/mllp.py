"""HL7 v2 over MLLP: ORU^R01 to a RIS, one message a connection, each answered before the next.

References
----------
HL7 v2.5.1, 2.9.2 (original acknowledgment mode), 2.15.8 (MSA); HL7 Transport Specification: MLLP,
Release 1.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any, Final

import hl7
from hl7.mllp import open_hl7_connection
from hl7.mllp.exceptions import InvalidBlockError

from hipnode.errors import DestinationUnreachable
from hipnode.services.courier.ways.way import Answer, MessageWay, Reply
from hipnode.services.tls import client_context, renewed
from hipnode.settings import HL7Settings

_ANSWERS: Final = {
    "AA": Answer.TAKEN,
    "CA": Answer.TAKEN,
    "AE": Answer.REFUSED,  # an error in it, or in taking it
    "CE": Answer.REFUSED,
    "AR": Answer.REFUSED,
    "CR": Answer.REFUSED,
}
"""By MSA-1, Acknowledgment Code (table 0008)."""
_ADDRESS: Final = {"receiving_application": 5, "receiving_facility": 6, "processing_id": 11}
"""Fields of MSH that say for whom a message is; the rest was made with the report."""


class Mllp(MessageWay):
    """MLLP to one RIS.

    Parameters
    ----------
    destination
        Its settings.
    _ae_title
        Of no use here: the message says who sends it.
    """

    def __init__(self, destination: HL7Settings, _ae_title: str) -> None:
        self._destination = destination
        self._tls = client_context(destination.tls) if destination.tls else None

    def send(self, path: Path) -> Reply:
        """Send the message in ``path``.

        Raises
        ------
        DestinationUnreachable
            If no acknowledgment of this very message comes.
        """
        message = hl7.parse(path.read_bytes().decode())
        for setting, field in _ADDRESS.items():
            message.assign_field(getattr(self._destination, setting), "MSH", 1, field)
        if self._tls is not None and self._destination.tls:
            self._tls = renewed(self._destination.tls, self._tls)
        try:
            answer = asyncio.run(self._exchange(message, self._tls))
        except (
            OSError,
            EOFError,
            TimeoutError,
            UnicodeError,
            ValueError,
            KeyError,
            IndexError,
            InvalidBlockError,
            hl7.HL7Exception,
        ) as error:
            raise DestinationUnreachable(f"no acknowledgment: {type(error).__name__}") from error
        return answer

    async def _exchange(self, message: Any, tls: ssl.SSLContext | None) -> Reply:
        place = self._destination
        async with asyncio.timeout(place.timeout_s):
            options = {"ssl": tls, "server_hostname": place.host} if tls else {}
            reader, writer = await open_hl7_connection(
                place.host, place.port, encoding="utf-8", **options
            )
            try:
                writer.writemessage(message)
                await writer.drain()
                answer = await reader.readmessage()
            finally:
                writer.close()
        code, of = str(answer["MSA.F1"]), str(answer["MSA.F2"])
        if of != str(message["MSH.F10"]) or code not in _ANSWERS:
            raise DestinationUnreachable("the acknowledgment is not of the message that was sent")
        return Reply(_ANSWERS[code], code)

    def close(self) -> None:
        """Nothing is held open."""
