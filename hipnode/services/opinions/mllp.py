"""Final reports by HL7 v2 over MLLP: taken in, matched, answered; no report is ever changed by one.

An answer of AA says that what the message holds is on the audit log: taken, or why it fits nothing.

References
----------
HL7 Transport Specification: MLLP, Release 1; HL7 v2.5.1, 2.9.2.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from typing import Final

from hipnode.answers import final_report
from hipnode.answers.shown import plain
from hipnode.domain import AuditEvent, AuditRecord, CovariateSource, Outcome, Task
from hipnode.domain.opinions import OpinionSource
from hipnode.errors import StorageUnavailable
from hipnode.log import Event, get_logger
from hipnode.services.covariates.take import Whence
from hipnode.services.covariates.take import take as take_values
from hipnode.services.opinions.match import About, Heard, Teller, take
from hipnode.services.opinions.message import (
    FinalReport,
    MessageRefused,
    acknowledgment,
    heading,
    read,
)
from hipnode.services.rates import Rates
from hipnode.services.tls import ServerTLS
from hipnode.settings import Settings
from hipnode.storage import Store

_BEGIN: Final = b"\x0b"
_END: Final = b"\x1c\r"
_MOST_CONNECTIONS: Final = 20


class FinalReports:
    """Listens for messages on a thread of its own.

    Parameters
    ----------
    settings
        The node's settings.
    store
        Where what is said is kept.

    Raises
    ------
    SettingsInvalid
        If a certificate or key cannot be loaded.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._wanted = settings.feedback
        self._networks = [ip_network(each, strict=False) for each in self._wanted.senders]
        self._strangers = Rates(1)
        self._tls = ServerTLS(self._wanted.tls) if self._wanted.tls else None
        self._log = get_logger(service="listener")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="final-reports")
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="final-reports")
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server else 0

    def start(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            If the address cannot be bound.
        """
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Listen no more; what is being written is written."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._worker.shutdown()
        self._loop.close()

    async def _begin(self) -> None:
        self._server = await asyncio.start_server(
            self._accept,
            self._wanted.host,
            self._wanted.port,
            limit=self._wanted.max_message_bytes,
            ssl=self._context(),
        )

    def _context(self) -> ssl.SSLContext | None:
        """Return the context of TLS; each handshake has the certificate that is there by then."""
        tls = self._tls
        if tls is None:
            return None
        context = tls.context

        def newest(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            tls.look()
            connection.context = tls.context

        context.sni_callback = newest
        return context

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        address = str((writer.get_extra_info("peername") or ("",))[0])
        try:
            if self._may(address) and len(self._open) <= _MOST_CONNECTIONS:
                await self._converse(reader, writer, address)
        except (OSError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError):
            pass  # whoever hangs up, or says nothing for so long, has its answers
        except asyncio.LimitOverrunError:
            await self._in_thread(self._refused, address, "a message does not end")
        except StorageUnavailable as error:  # nothing can be noted: no answer, it comes again
            self._log.error(Event.DATABASE_WENT_AWAY, reason=type(error).__name__)
        finally:
            writer.close()

    def _may(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        if any(found in network for network in self._networks):
            return True
        if self._strangers.is_news(address):
            self._worker.submit(self._refused, address, "address not in feedback.senders")
        return False

    def _refused(self, address: str, reason: str) -> None:
        self._log.warning(Event.ASSOCIATION_REFUSED, peer_address=address, reason=reason)
        detail = {"address": address, "reason": reason, "cause": "hl7"}
        refused = AuditEvent.ASSOCIATION_REFUSED
        self._store.audit.append(
            AuditRecord(refused, Outcome.REFUSED, actor="listener", detail=detail)
        )

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        """Take messages, one after the other: each is answered before the next is read."""
        while True:
            async with asyncio.timeout(self._wanted.timeout_s):
                block = await reader.readuntil(_END)
            content = block[: -len(_END)].rpartition(_BEGIN)[2]
            answer = await self._in_thread(self._answered, content, address)
            writer.write(_BEGIN + answer + _END)
            await writer.drain()

    async def _in_thread(self, work: object, *arguments: object) -> bytes:
        return await self._loop.run_in_executor(self._worker, work, *arguments)  # type: ignore[arg-type]

    def _answered(self, content: bytes, address: str) -> bytes:
        of, node, now = heading(content), self._settings.node.name, self._store.now()
        refused: MessageRefused | None = None
        try:
            codes = self._settings.covariates.codes
            reports, orders = read(content, self._wanted.character_set, codes)
            for report in reports:
                if report.text or not orders:
                    self._take(report, of.application)
            sender = of.application or "HL7"
            take_values(self._store, orders, Whence(CovariateSource.ORU, of.control_id, sender))
        except MessageRefused as error:
            refused = error
            self._refused(address, f"{error.why} ({error.code})")
        except StorageUnavailable:
            refused = MessageRefused("AE", "207", "MSH^1", "out of resources, try again later")
        return acknowledgment(of, plain(node).replace("|", " "), now, refused)

    def _take(self, report: FinalReport, application: str) -> None:
        found = final_report.read(report.text)
        heard = [Heard(side, Task.HIP_FRACTURE.value, truth) for side, truth in found.items()]
        teller = Teller(
            OpinionSource.ORU,
            report.signed_by or application or "HL7",
            message=report.control_id,
            comment=f"from the text of the final report, message {report.control_id}",
        )
        take(self._store, About(report.accessions, "", report.patient_id), heard, teller)
