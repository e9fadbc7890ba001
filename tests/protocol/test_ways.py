"""The ways to whoever must act: an archive by STOW-RS, a RIS by HL7 v2, a signed webhook.

Each result arrives exactly once, through outages, refusals and kills: what is sent twice is known
by its identifier as the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hl7.mllp import start_hl7_server
from pydicom.uid import generate_uid

from hipnode.domain import (
    Abstention,
    AbstentionReason,
    AuditEvent,
    Header,
    JobKind,
    JobState,
    Reading,
    ResultKind,
)
from hipnode.faults import Point
from hipnode.reporting import build_messages
from hipnode.services.courier.ways.webhook import signature
from hipnode.storage import NewResult, Received
from tests import cases
from tests.archive import Orthanc
from tests.fhir_server import FHIRServer
from tests.node import write_settings
from tests.peers import Process, eventually, free_port
from tests.protocol.conftest import Service
from tests.protocol.test_courier import CAPTURE, SR_3D, all_done, reported, states
from tests.results import write_result

Make = Callable[..., Service]
SECRET = "a secret of the site"  # noqa: S105 - the test's own


class RIS:
    """A stub of a RIS: takes ORU^R01, and answers as it is told (then AA)."""

    def __init__(self) -> None:
        self.port = free_port()
        self.codes: list[str] = []
        self.messages: list[Any] = []
        self._loop = asyncio.new_event_loop()
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        ready = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            self._server = self._loop.run_until_complete(
                start_hl7_server(self._take, "127.0.0.1", self.port, encoding="utf-8")
            )
            ready.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        assert ready.wait(10)

    async def _take(self, reader: Any, writer: Any) -> None:
        try:
            message = await reader.readmessage()
        except asyncio.IncompleteReadError:
            return
        code = self.codes.pop(0) if self.codes else "AA"
        if code == "silence":
            writer.close()
            return
        if code == "AA":
            self.messages.append(message)
        writer.writemessage(message.create_ack(code))
        await writer.drain()
        writer.close()

    @property
    def identifiers(self) -> list[str]:
        """What it has taken, by MSH-10: what came twice is there once, as in a RIS."""
        return list(dict.fromkeys(str(m["MSH.F10"]) for m in self.messages))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread:
            self._thread.join(10)


class Site:
    """A web address of a site, that checks signatures and answers as it is told (then 204)."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.taken: dict[str, dict[str, Any]] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = site.statuses.pop(0) if site.statuses else 204
                identifier = self.headers["webhook-id"]
                moment = int(self.headers["webhook-timestamp"])
                if self.headers["webhook-signature"] != signature(SECRET, identifier, moment, body):
                    status = 401
                if status == 204:
                    site.taken[identifier] = json.loads(body)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/results"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def fhir_server() -> Iterator[FHIRServer]:
    stub = FHIRServer()
    yield stub
    stub.stop()


@pytest.fixture
def ris() -> Iterator[RIS]:
    stub = RIS()
    stub.start()
    yield stub
    stub.close()


@pytest.fixture
def site() -> Iterator[Site]:
    stub = Site()
    yield stub
    stub.server.shutdown()


def to_ris(ris: RIS, **options: Any) -> dict[str, Any]:
    return {"name": "ris", "kind": "hl7", "host": "127.0.0.1", "port": ris.port, "timeout_s": 5,
            "receiving_application": "RIS", "receiving_facility": "GENERAL", **options}  # fmt: skip


def to_site(site: Site, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "secret").write_text(f"{SECRET}\n")
    return {"name": "site", "kind": "webhook", "url": site.url, "timeout_s": 5,
            "secret_file": str(folder / "secret")}  # fmt: skip


def to_archive(orthanc: Orthanc) -> dict[str, Any]:
    return {"name": "pacs", "kind": "stow", "url": orthanc.dicomweb_url, "timeout_s": 10}


def messaged(node: Service, kind: ResultKind, name: str = "positive-left") -> NewResult:
    """Take a study through the ledger up to its report: a message to the node's destination."""
    ledger, study = node.store.ledger, str(generate_uid(None))
    header = Header("1.2.840.10008.5.1.4.1.1.1", str(generate_uid(None)), study)
    taken = Received(header, "CR1", "HIPNODE", "127.0.0.1", "x", "00", 1, "a")
    ledger.ingest(taken, action="read", model_sets=("default",))
    read = ledger.claim([JobKind.READ], "test")
    assert read
    nothing = Abstention(AbstentionReason.NOT_FRONTAL)
    ledger.finish_read(read, Reading(header.sop_instance_uid, 1, 1, "default", "d",
                                     abstention=nothing))  # fmt: skip
    report = ledger.claim([JobKind.REPORT], "test")
    assert report
    asked = cases.request(*cases.CASES[name].request(study[-9:]).sources, objects=frozenset({kind}))
    (made,) = build_messages(asked)
    path = write_result(node.store.files, made.sop_instance_uid, made.to_bytes())
    digest = hashlib.sha256(made.to_bytes()).hexdigest()
    to = tuple(d.name for d in node.settings.destinations)
    new = NewResult(kind, "", made.sop_instance_uid, path, digest, to)
    ledger.finish_report(report, [new])
    return new


# --- STOW-RS ----------------------------------------------------------------------------------


def test_orthanc_gets_by_stow_what_was_made(service: Make, orthanc: Orthanc) -> None:
    node = service(destinations=[to_archive(orthanc)])
    made = reported(node, (SR_3D, True), (CAPTURE, True))
    node.deliver()
    eventually(lambda: all_done(node))
    assert orthanc.sop_instance_uids() == sorted(m.sop_instance_uid for m in made)
    assert str(orthanc.fetch(made[0].sop_instance_uid).PatientName) == "Müller^Änne"
    rows = node.audited(AuditEvent.OBJECT_DELIVERED)
    assert [(r.record.ae_title, r.record.detail["status"]) for r in rows] == [
        ("pacs", "HTTP 200")
    ] * 2


def test_an_archive_that_is_away_gets_everything_when_it_is_back(
    service: Make, new_orthanc: Callable[..., Orthanc]
) -> None:
    orthanc = new_orthanc()
    node = service(destinations=[to_archive(orthanc)], queue={"max_attempts": 1})
    orthanc.stop()
    made = reported(node, (SR_3D, True), (CAPTURE, True))
    node.deliver()
    eventually(lambda: len(node.audited(AuditEvent.DELIVERY_FAILED)) > 1)
    assert {job.attempts for job in node.store.lookups.jobs(kind=JobKind.DELIVER)} == {0}
    orthanc.start()
    eventually(lambda: all_done(node))
    assert orthanc.sop_instance_uids() == sorted(m.sop_instance_uid for m in made)


# --- HL7 v2 -----------------------------------------------------------------------------------


def test_a_ris_gets_the_report_addressed_to_it(service: Make, ris: RIS) -> None:
    node = service(destinations=[to_ris(ris)])
    messaged(node, ResultKind.ORU)
    node.deliver()
    eventually(lambda: all_done(node))
    (message,) = ris.messages
    assert (str(message["MSH.F5"]), str(message["MSH.F6"])) == ("RIS", "GENERAL")
    assert str(message.segment("MSH")[9]) == "ORU^R01^ORU_R01"
    assert str(message.segment("PID")[5]) == "Muster^Hanna"
    said = [str(obx[5]) for obx in message.segments("OBX")]
    assert "LOOK NOW. LEFT hip: FRACTURE LIKELY. RIGHT hip: no fracture seen, not excluded." in said
    assert {str(obx[11]) for obx in message.segments("OBX")} == {"P"}, "preliminary"
    (row,) = node.audited(AuditEvent.OBJECT_DELIVERED)
    assert row.record.detail["status"] == "AA"


def test_a_ris_that_refuses_is_asked_again_and_one_that_is_silent_waited_for(
    service: Make, ris: RIS
) -> None:
    ris.codes = ["silence", "silence", "AE"]
    node = service(destinations=[to_ris(ris)], queue={"max_attempts": 3})
    messaged(node, ResultKind.ORU)
    node.deliver()
    eventually(lambda: all_done(node))
    (job,) = node.store.lookups.jobs(kind=JobKind.DELIVER)
    assert job.attempts == 1, "AE counted, silence did not"
    assert len(ris.identifiers) == 1


def test_what_a_ris_refuses_for_good_is_put_aside(service: Make, ris: RIS) -> None:
    ris.codes = ["AR"] * 9
    node = service(destinations=[to_ris(ris)], queue={"max_attempts": 2})
    messaged(node, ResultKind.ORU)
    node.deliver()
    eventually(lambda: states(node) == [JobState.QUARANTINED])
    assert ris.identifiers == []


# --- webhook ----------------------------------------------------------------------------------


def test_a_site_gets_a_signed_notice_without_a_name(
    service: Make, site: Site, tmp_path: Path
) -> None:
    site.statuses = [503, 429, 500]
    node = service(destinations=[to_site(site, tmp_path)], queue={"max_attempts": 3})
    made = messaged(node, ResultKind.NOTICE)
    node.deliver()
    eventually(lambda: all_done(node))
    assert list(site.taken) == [made.sop_instance_uid]
    notice = site.taken[made.sop_instance_uid]
    assert (notice["attention"], notice["outcome"]) == ("now", "positive")
    assert notice["headline"].startswith("LOOK NOW. LEFT hip: FRACTURE LIKELY.")
    assert notice["hips"][0]["side"] == "L"
    assert "Muster" not in json.dumps(notice)
    (job,) = node.store.lookups.jobs(kind=JobKind.DELIVER)
    assert job.attempts == 1, "500 counted, busy did not"


def test_a_notice_cannot_be_made_up_changed_or_sent_again_later() -> None:
    good = signature(SECRET, "id", 1, b"body")
    others = [(SECRET, "id", 1, b"bodY"), (SECRET, "id", 2, b"body"), (SECRET, "di", 1, b"body"),
              ("other", "id", 1, b"body")]  # fmt: skip
    assert good not in [signature(*one) for one in others]


# --- FHIR -------------------------------------------------------------------------------------


def to_fhir(server: FHIRServer) -> dict[str, Any]:
    return {"name": "fhir", "kind": "fhir", "url": server.url, "timeout_s": 5}


def test_a_fhir_server_holds_the_report_and_what_was_observed(
    service: Make, fhir_server: FHIRServer
) -> None:
    fhir_server.statuses = [503, 422]
    node = service(destinations=[to_fhir(fhir_server)], queue={"max_attempts": 3})
    messaged(node, ResultKind.FHIR)
    node.deliver()
    eventually(lambda: all_done(node))
    (report,) = fhir_server.reports
    assert all(result["reference"] in fhir_server.holds for result in report["result"])
    (job,) = node.store.lookups.jobs(kind=JobKind.DELIVER)
    assert job.attempts == 1, "422 counted, busy did not"


# --- kills ------------------------------------------------------------------------------------


def _over(node: Service, courier: Process) -> bool:
    """Do what the housekeeper does meanwhile; tell whether the courier is dead or done."""
    node.store.recovery.expire_leases()
    return not courier.running or all_done(node)


def _deliver_through_kills(node: Service, place: dict[str, Any], tmp_path: Path) -> None:
    """Run couriers that die, each at another point of a delivery, until all has been delivered."""
    faults = tmp_path / "faults"
    faults.mkdir()
    points = (Point.OBJECT_TAKEN, Point.DELIVERY_WRITTEN, Point.DELIVERY_COMMITTED)
    tables = {
        "node": {"data_dir": str(node.settings.node.data_dir)},
        "queue": {"lease_s": 1, "backoff_first_s": 0.3, "backoff_cap_s": 0.6},
        "destinations": [place],
    }
    config = write_settings(tmp_path / "hipnode.toml", tables)
    for number, point in enumerate((*points, None)):
        if point:
            (faults / point).touch()
        courier = Process(
            [sys.executable, "-m", "hipnode", "deliver", "--config", config],
            tmp_path / f"courier-{number}.log",
            env={"HIPNODE_FAULTS": str(faults)},
        )
        eventually(lambda c=courier: _over(node, c), timeout_s=120)
        courier.stop()
    eventually(lambda: all_done(node))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [ResultKind.ORU, ResultKind.FHIR, ResultKind.NOTICE])
def test_killed_at_each_point_each_message_arrives_once(
    service: Make,
    ris: RIS,
    fhir_server: FHIRServer,
    site: Site,
    tmp_path: Path,
    kind: ResultKind,
) -> None:
    place = {
        ResultKind.ORU: to_ris(ris),
        ResultKind.FHIR: to_fhir(fhir_server),
        ResultKind.NOTICE: to_site(site, tmp_path),
    }[kind]
    node = service(destinations=[place], queue={"lease_s": 1})
    made = [messaged(node, kind) for _ in range(3)]
    _deliver_through_kills(node, place, tmp_path)
    if kind is ResultKind.NOTICE:
        assert list(site.taken) == [m.sop_instance_uid for m in made]
    elif kind is ResultKind.FHIR:
        assert len(fhir_server.reports) == len(made)
    else:
        assert len(ris.identifiers) == len(made)
        assert len(ris.messages) > len(made), "one was sent again, and known as the same"
    assert len(node.audited(AuditEvent.OBJECT_DELIVERED)) == len(made)


@pytest.mark.timeout(900)
def test_killed_at_each_point_an_archive_has_each_object_once(
    service: Make, orthanc: Orthanc, tmp_path: Path
) -> None:
    place = to_archive(orthanc)
    node = service(destinations=[place], queue={"lease_s": 1})
    made = reported(node, (SR_3D, True), (CAPTURE, True), (SR_3D, True))
    _deliver_through_kills(node, place, tmp_path)
    assert orthanc.sop_instance_uids() == sorted(m.sop_instance_uid for m in made)
    assert len(node.audited(AuditEvent.OBJECT_DELIVERED)) == len(made)
