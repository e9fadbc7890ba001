"""The hospital's own logs: rsyslog with GnuTLS as a repository, a FHIR server for AuditEvents."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from fhir.resources.R4B.auditevent import AuditEvent as FHIRAuditEvent
from sqlalchemy import select

from hipnode.answers import hospital
from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.services.courier.feeds import framed
from hipnode.storage import Store
from hipnode.storage.database.schema import mark
from tests.fhir_server import FHIRServer
from tests.peers import Process, eventually, free_port, require, require_file
from tests.protocol.conftest import Service

Make = Callable[..., Service]
_TLS = "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so"
HOSTILE = 'P<1>&"\x1b[31m\x00'


def parsed(text: str) -> ET.Element:
    """Return the XML of a message of ours; the mark of UTF-8 may stand before it."""
    return ET.fromstring(text.lstrip("\ufeff ").encode())  # noqa: S314


class Repository:
    """An rsyslog that takes syslog over TLS from who has a certificate, into a file."""

    def __init__(self, folder: Path) -> None:
        program = require("rsyslogd", "rsyslog")
        require_file(_TLS, "rsyslog-gnutls")
        folder.mkdir()
        ca = trustme.CA()
        self.ca, self.cert, self.key = (folder / n for n in ("ca.pem", "cert.pem", "key.pem"))
        issued = ca.issue_cert("127.0.0.1", "localhost")
        ca.cert_pem.write_to_path(str(self.ca))
        issued.cert_chain_pems[0].write_to_path(str(self.cert))
        issued.private_key_pem.write_to_path(str(self.key))
        self.port = free_port()
        self.file = folder / "messages"
        self._command = [program, "-n", "-f", folder / "rsyslog.conf", "-i", folder / "pid"]
        (folder / "rsyslog.conf").write_text(f"""
global(workDirectory="{folder}" defaultNetstreamDriver="gtls" maxMessageSize="64k"
  defaultNetstreamDriverCAFile="{self.ca}" defaultNetstreamDriverCertFile="{self.cert}"
  defaultNetstreamDriverKeyFile="{self.key}")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1"
  StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" port="{self.port}" address="127.0.0.1" SupportOctetCountedFraming="on")
template(name="parts" type="string" string="%PRI%|%APP-NAME%|%MSGID%|%msg%\\n")
action(type="omfile" file="{self.file}" template="parts")
""")
        self._log = folder / "rsyslog.log"
        self._process: Process | None = None

    def start(self) -> None:
        self._process = Process(self._command, self._log)
        self._process.wait_listening(self.port)

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    @property
    def messages(self) -> list[tuple[str, str, str, ET.Element]]:
        """Priority, application, MSGID and the message, of each."""
        if not self.file.exists():
            return []
        lines = self.file.read_text(encoding="utf-8").splitlines()
        parts = [line.split("|", 3) for line in lines]
        return [(p, a, m, parsed(text)) for p, a, m, text in parts]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    made = Repository(tmp_path / "rsyslog")
    yield made
    made.stop()


def to(repository: Repository) -> dict[str, Any]:
    return {"name": "arr", "kind": "atna", "host": "127.0.0.1", "port": repository.port,
            "ca": str(repository.ca), "certificate": str(repository.cert),
            "key": str(repository.key), "timeout_s": 5}  # fmt: skip


def look(store: Store, patient: str = "P-1") -> None:
    store.audit.append(
        AuditRecord(
            AuditEvent.RESULT_VIEWED, actor="ada", patient_id=patient,
            study_instance_uid="1.2.3", accession_number="A-1", detail={"address": "10.0.0.7"},
        )
    )  # fmt: skip
    store.audit.seal()


def events(repository: Repository, code: str) -> list[ET.Element]:
    found = [message for _, _, _, message in repository.messages]
    return [m for m in found if m.find("EventIdentification/EventID").get("csd-code") == code]  # type: ignore[union-attr]


def test_a_repository_is_told_who_looked_and_each_head(
    service: Make, repository: Repository
) -> None:
    repository.start()
    node = service(feeds=[to(repository)])
    node.store.audit.append(AuditRecord(AuditEvent.SERVICE_STARTED, actor="before"))
    node.store.audit.seal()
    node.deliver()
    eventually(lambda: "feed:arr" in _marks(node.store))
    look(node.store, HOSTILE)
    eventually(lambda: len(events(repository, "110103")) == 1)
    (looked,) = events(repository, "110103")
    assert {(priority, app, msgid) for priority, app, msgid, _ in repository.messages} == {
        ("85", "hipnode", "IHE+RFC-3881")
    }
    about = looked.find("EventIdentification")
    assert about is not None
    assert (about.get("EventActionCode"), about.get("EventOutcomeIndicator")) == ("R", "0")
    assert about.get("EventDateTime", "").endswith("Z")
    people = {p.get("UserID"): p.get("UserIsRequestor") for p in looked.iter("ActiveParticipant")}
    assert people == {"HIPNODE": "false", "ada": "true"}
    objects = {o.get("ParticipantObjectID") for o in looked.iter("ParticipantObjectIdentification")}
    assert objects == {"1.2.3", 'P<1>&"\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}'}
    eventually(lambda: any(_head(node.store) in _heads(m) for m in events(repository, "110113")))
    assert not events(repository, "110100"), "a new feed begins with what is sealed from then on"


def test_nothing_is_lost_and_all_is_in_order_while_a_repository_is_away(
    service: Make, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hipnode.services.courier.feeds._AGAIN_S", 0.2)
    repository.start()
    node = service(feeds=[to(repository)])
    node.deliver()
    eventually(lambda: "feed:arr" in _marks(node.store))
    look(node.store, "P-0")
    eventually(lambda: len(events(repository, "110103")) == 1)
    repository.stop()
    for number in range(1, 6):
        look(node.store, f"P-{number}")
    eventually(lambda: any("audit feed arr" in fault for fault in node.store.faults()))
    repository.start()
    eventually(lambda: not node.store.faults(), timeout_s=30)
    eventually(lambda: len(set(_patients(repository))) == 6)
    seen = list(dict.fromkeys(_patients(repository)))
    assert seen == [f"P-{number}" for number in range(6)]


def test_fhir_audit_events_are_valid_and_there_once(service: Make) -> None:
    server = FHIRServer()
    server.statuses = [503]
    node = service(feeds=[{"name": "log", "kind": "fhir", "url": server.url}])
    node.deliver()
    try:
        eventually(lambda: "feed:log" in _marks(node.store))
        look(node.store)
        eventually(lambda: len(server.holds) == 2, timeout_s=30)
    finally:
        server.stop()
    for event in server.holds.values():
        FHIRAuditEvent.model_validate(event)
    looked, sealed = sorted(server.holds.values(), key=lambda e: str(e["type"]["code"]))
    assert looked["type"]["code"] == "110103"
    assert {a["who"]["identifier"]["value"] for a in looked["agent"]} == {"HIPNODE", "ada"}
    assert _head(node.store) in sealed["entity"][0]["what"]["identifier"]["value"]


@pytest.mark.parametrize("event", AuditEvent)
@pytest.mark.parametrize("outcome", Outcome)
def test_each_event_is_told_or_stays_at_home(event: AuditEvent, outcome: Outcome) -> None:
    """Both encodings of whatever the log holds; a job stays at home, a person's deed never."""
    source = hospital.Source("HIPNODE", "node", "Hospital", "host")
    record = AuditRecord(event, outcome, actor="ada", ae_title="CR1", patient_id=HOSTILE)
    told = hospital.told("0" * 64, datetime.now(UTC), record, source)
    if told is None:
        deeds = ("signed", "sign", "result_viewed", "glass", "audit_queried", "association_refused")
        assert not event.value.startswith(deeds)
        return
    message = framed(told, source)
    length, _, rest = message.partition(b" ")
    assert int(length) == len(rest)
    root = parsed(rest[rest.index(b"\xef\xbb\xbf") + 3 :].decode())
    found = {code.get("csd-code") for code in root.iter() if code.get("codeSystemName") == "DCM"}
    assert found
    FHIRAuditEvent.model_validate(hospital.balp(told, source))


def _marks(store: Store) -> set[str]:
    rows = store.database.read(lambda c: c.execute(select(mark.c.name)).scalars().all())
    return set(rows)


def _head(store: Store) -> str:
    head = store.audit.head()
    assert head is not None
    return head.line()


def _heads(message: ET.Element) -> list[str | None]:
    objects = message.iter("ParticipantObjectIdentification")
    return [o.get("ParticipantObjectID") for o in objects]


def _patients(repository: Repository) -> list[str]:
    return [
        str(o.get("ParticipantObjectID"))
        for message in events(repository, "110103")
        for o in message.iter("ParticipantObjectIdentification")
        if o.get("ParticipantObjectTypeCode") == "1"
    ]
