"""A node with something to show, and people who look at it, for the tests of the desk."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

from starlette.testclient import TestClient

from hipnode.domain import (
    AuditEvent,
    AuditRecord,
    JobKind,
    Outcome,
    ResultKind,
    Side,
)
from hipnode.domain.opinions import Feedback, Opinion, OpinionSource
from hipnode.domain.people import Role
from hipnode.reporting import build
from hipnode.services.desk import service, sign_in
from hipnode.services.desk.app import COOKIE, Door
from hipnode.storage import NewResult, Session, Store
from tests import cases, factory
from tests.db.conftest import Bench
from tests.peers import eventually

BASE: Final = "http://127.0.0.1:8043"
HOSTILE: Final = (
    "<script>alert(1)</script>",
    "[/x]\x1b]0;owned\x07",
    '=HYPERLINK("http://evil.example/")',
    '"><img src=x onerror=alert(1)>',
    "\u202egnp.exe",
    "{{ 7*7 }}{% raw %}",
)


class Guest:
    """Somebody with a browser that has no scripts."""

    def __init__(self, store: Store, settings: Any, *roles: Role, name: str = "") -> None:
        self.store = store
        self.settings = settings
        door = Door(settings, store)
        self.http = TestClient(
            door.app(),
            base_url=BASE,
            follow_redirects=False,
            raise_server_exceptions=False,
            client=("127.0.0.1", 50000),
        )
        self.token = ""
        if roles:
            self.token = signed_in(store, roles, name or "-".join(roles))
            self.http.cookies.set(COOKIE, self.token)

    def get(self, path: str, **headers: str) -> Any:
        return self.http.get(path, headers=headers)

    def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Any:
        return self.http.post(path, data=form or {}, headers={"origin": BASE, **headers})


def signed_in(store: Store, roles: Iterable[Role], name: str) -> str:
    """Begin a session, and return its token."""
    token, now = secrets.token_urlsafe(16), store.now()
    session = Session(
        sign_in.token_hash(token), name, name, frozenset(roles), "127.0.0.1", False, now, now
    )
    record = AuditRecord(AuditEvent.SIGNED_IN, actor=name)
    store.desk.people.begin(session, record, local=False)
    return token


def settings_of(bench: Bench, **desk: Any) -> Any:
    """Return the bench's settings with others for the desk."""
    return bench.settings.model_validate(bench.settings.model_dump() | {"desk": desk})


def rows(store: Store) -> int:
    """Return how many records the audit log has."""
    with store.database.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM audit").scalar() or 0)


# --- something to show ----------------------------------------------------------------------------


def study(
    bench: Bench,
    name: str = "1",
    p: float = 0.97,
    *,
    patient_id: str = "P-17",
    accession: str = "A-99",
    objects: bool = True,
) -> str:
    """Have a study received, read, reported with real objects and delivered; return its UID."""
    uid = factory.uid(name)
    image = factory.uid(name, "1")
    bench.receive(image, uid, accession=accession, patient_id=patient_id, content=name)
    held = bench.take(JobKind.READ)
    hips = [factory.hip(Side.RIGHT, p), factory.hip(Side.LEFT, 0.02)]
    read = factory.reading(hips, name, model_set_digest=held.model_set)
    bench.store.ledger.finish_read(held, read)
    report = bench.take(JobKind.REPORT)
    results = list(_made(bench, name, p)) if objects else [bench.new_result()]
    bench.store.ledger.finish_report(report, results, ("pacs",))
    for _ in results:
        bench.deliver()
    return uid


def _made(bench: Bench, name: str, p: float) -> Iterable[NewResult]:
    hips = [factory.hip(Side.RIGHT, p), factory.hip(Side.LEFT, 0.02)]
    request = cases.request(
        cases.source(name, factory.reading(hips, name)), objects=cases.DEFAULT_OBJECTS
    )
    files = bench.store.files
    for built in build(request):
        path = files.incoming_folder / f"{built.dataset.SOPInstanceUID}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        built.dataset.save_as(path, enforce_file_format=True)
        digest = sha256(path.read_bytes()).hexdigest()
        sop_class, sop_uid = built.dataset.SOPClassUID, built.dataset.SOPInstanceUID
        kept = files.keep_result(path, sop_uid, digest)
        yield NewResult(ResultKind(built.kind), sop_class, sop_uid, kept, digest)


def judged(
    bench: Bench, name: str, p: float, truth: str, *, station: str, sex: str = "F", age: float = 71
) -> None:
    """Have a study read, and somebody say what there is on the right side."""
    image, study = factory.uid(name, "1"), factory.uid(name)
    bench.receive(
        image, study, accession=name, content=name,
        station_name=station, patient_sex=sex, age_years=age,
    )  # fmt: skip
    held = bench.take(JobKind.READ)
    made = factory.reading(
        [factory.hip(Side.RIGHT, p), factory.hip(Side.LEFT, 0.02)],
        name,
        model_set_digest=held.model_set,
    )
    bench.store.ledger.finish_read(held, made)
    finding = made.hips[0].findings[0]
    raised = finding.decision.value != "absent"
    agree = raised == (truth == "present")
    given = Feedback(
        study_instance_uid=study, side="R", task="hip_fracture", said=finding.decision.value,
        opinion=Opinion.AGREE if agree else Opinion.DISAGREE, truth=truth,
        model=finding.model.name, model_version=finding.model.version,
        model_digest=finding.model.digest, source=OpinionSource.CSV, given_by="ris",
        given_utc=bench.clock.now,
    )  # fmt: skip
    bench.store.desk.opinions.add([given], [])
    bench.clock.forward(60)


def trouble(bench: Bench) -> int:
    """Have something go wrong of every kind; return the number of a job that was given up."""
    bench.receive("9.1", "9", accession="A-9")
    job = bench.take(JobKind.READ)
    bench.store.recovery.quarantine(job, "the file is damaged")
    bench.receive("8.1", "8", accession="A-8")
    bench.read()
    for ae in ("UNKNOWN", HOSTILE[1]):
        detail = {"reason": "calling AE title not recognised", "address": "10.0.0.9"}
        record = AuditRecord(
            AuditEvent.ASSOCIATION_REFUSED, Outcome.REFUSED, ae_title=ae, detail=detail
        )
        bench.store.audit.append(record)
    return job.id


@contextmanager
def answering(store: Store, settings: Any) -> Iterator[str]:
    """Run the desk with uvicorn on a free port; yield its address."""
    server = service.server(settings, store)
    door = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    eventually(lambda: server.started, what="the desk answers")
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
