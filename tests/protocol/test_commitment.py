"""Storage commitment, with Orthanc and with an SCP that answers as it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.presentation import build_context
from sqlalchemy import text

from hipnode.domain import AuditEvent, JobKind, JobState
from hipnode.services.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from hipnode.services.life.look import look
from hipnode.services.listener.server import NodeAssociation
from hipnode.services.reactor import steady
from hipnode.storage import NewResult
from tests.account import settled
from tests.archive import Orthanc
from tests.node import Node
from tests.node import destination as peer_of
from tests.peers import eventually
from tests.protocol.conftest import Service
from tests.protocol.test_courier import CAPTURE, SR_3D, TEXT, destination, reported
from tests.senders import SAMPLES, storescu

Make = Callable[..., Service]
QUICK = {"max_attempts": 3, "backoff_first_s": 0.1, "backoff_cap_s": 0.2}


def start(service: Make, peer: Any, *objects: str, **options: Any) -> tuple[Service, list[Any]]:
    """Start a node whose outbox holds a study's objects for a peer that is to commit to them."""
    place = destination(peer, storage_commitment=True, **options)
    node = service(destinations=place, queue=QUICK)
    made: list[NewResult] = reported(node, *((uid, True) for uid in objects))
    return node, [m.sop_instance_uid for m in made]


def committed(node: Service) -> list[str]:
    rows = node.audited(AuditEvent.OBJECT_COMMITTED)
    return sorted(row.record.sop_instance_uid for row in rows)


# --- Orthanc ----------------------------------------------------------------------------------


def test_orthanc_commits_on_an_association_of_its_own(service: Make, orthanc: Orthanc) -> None:
    node, uids = start(service, orthanc, SR_3D, CAPTURE, TEXT)
    node.listen()
    orthanc.set_modality("hipnode", node.ae_title, node.host, node.port)
    node.deliver()
    eventually(lambda: committed(node) == sorted(uids), timeout_s=60)
    assert orthanc.sop_instance_uids() == sorted(uids)
    (place,) = look(node.settings, node.store)["destinations"]
    assert (place["uncommitted"], place["committed"]) == (0, 3)
    assert node.store.lookups.account().committed == 1
    peers = {row.record.ae_title for row in node.audited(AuditEvent.OBJECT_COMMITTED)}
    assert peers == {"ORTHANC"}


def test_what_orthanc_has_lost_is_delivered_again(service: Make, orthanc: Orthanc) -> None:
    """It is deleted between its delivery and the question: Orthanc says so, and gets it again."""
    node, uids = start(service, orthanc, SR_3D, CAPTURE)
    node.listen()
    orthanc.set_modality("hipnode", node.ae_title, node.host, 1)  # its answers do not arrive
    node.deliver()
    eventually(lambda: len(node.audited(AuditEvent.COMMITMENT_ASKED)) == 2, timeout_s=60)
    orthanc.clear()
    orthanc.set_modality("hipnode", node.ae_title, node.host, node.port)
    come_due(node)
    eventually(lambda: committed(node) == sorted(uids), timeout_s=60)
    assert orthanc.sop_instance_uids() == sorted(uids)
    failed = {row.record.detail["reason"] for row in node.audited(AuditEvent.COMMITMENT_FAILED)}
    assert any("0x0112" in reason for reason in failed), failed


def come_due(node: Service) -> None:
    """Let the time pass for which an answer is waited for."""
    node.store.database.write(lambda c: c.execute(text("UPDATE commitment SET due_utc = 0")))


def test_a_whole_node_has_its_results_committed(orthanc: Orthanc, tmp_path: Path) -> None:
    place = peer_of(orthanc, objects=["sr", "text"], storage_commitment=True)
    node = Node(tmp_path / "node", destinations=[place])
    node.start()
    try:
        orthanc.set_modality("hipnode", node.ae_title, node.host, node.port)
        storescu(node, SAMPLES[:1])
        settled(node)

        def account() -> dict[str, int]:
            return dict(node.status("--account")["account"])

        eventually(lambda: account()["committed"] == 1, timeout_s=120, poll_s=0.5)
        assert node.stop() == 0
    finally:
        node.kill()


# --- an SCP that answers as it is told --------------------------------------------------------


class Committing:
    """Takes everything; answers each request for commitment with the next of ``answers``.

    An answer is the N-ACTION's status, or ("report", failed): it succeeds, and an N-EVENT-REPORT
    follows on the same association, in which the first ``failed`` objects have failed.
    """

    ae_title = "COMMITTING"

    def __init__(self, answers: list[Any], *, offered: bool = True) -> None:
        self.answers = answers
        self.transactions: list[Dataset] = []
        self.statuses: list[int] = []
        ae = AE(self.ae_title)
        for uid in (SR_3D, CAPTURE, TEXT):
            ae.add_supported_context(uid, ImplicitVRLittleEndian)
        if offered:
            ae.add_supported_context(PUSH_MODEL, ImplicitVRLittleEndian)
        handlers = [
            (evt.EVT_C_STORE, lambda _: 0),
            (evt.EVT_N_ACTION, self._asked),
            (evt.EVT_DIMSE_SENT, self._answered),
        ]
        self._report: tuple[int, Dataset] | None = None
        self.server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self.server.server_address[1]

    def _asked(self, event: evt.Event) -> tuple[int, None]:
        request = event.action_information
        self.transactions.append(request)
        answer = self.answers.pop(0) if self.answers else ("report", 0)
        if isinstance(answer, int):
            return answer, None
        self._report = report(request, failed=answer[1])
        return 0, None

    def _answered(self, event: evt.Event) -> None:
        if self._report is None or type(event.message).__name__ != "N_ACTION_RSP":
            return
        (kind, content), self._report = self._report, None
        status, _ = event.assoc.send_n_event_report(content, kind, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        self.statuses.append(int(status.Status))


def report(request: Dataset, failed: int = 0) -> tuple[int, Dataset]:
    """Return event type and information of the answer to a request."""
    items = list(request.ReferencedSOPSequence)
    content = Dataset()
    content.TransactionUID = request.TransactionUID
    if items[failed:]:
        content.ReferencedSOPSequence = items[failed:]
    if failed:
        for item in items[:failed]:
            item.FailureReason = 0x0213
        content.FailedSOPSequence = items[:failed]
    return (2 if failed else 1), content


@pytest.fixture
def committing() -> Iterator[Callable[..., Committing]]:
    started: list[Committing] = []

    def begin(*answers: Any, offered: bool = True) -> Committing:
        started.append(Committing(list(answers), offered=offered))
        return started[-1]

    yield begin
    for peer in started:
        peer.server.shutdown()


def test_an_answer_on_the_same_association(
    service: Make, committing: Callable[..., Committing]
) -> None:
    peer = committing()
    node, uids = start(service, peer, SR_3D, TEXT)
    node.deliver()
    eventually(lambda: committed(node) == sorted(uids))
    eventually(lambda: set(peer.statuses) == {0})  # our answer to its report comes after the row


def test_an_object_that_failed_is_sent_again(
    service: Make, committing: Callable[..., Committing]
) -> None:
    peer = committing(("report", 1))
    node, uids = start(service, peer, SR_3D)
    node.deliver()
    eventually(lambda: committed(node) == uids)
    (failed,) = node.audited(AuditEvent.COMMITMENT_FAILED)
    assert failed.record.detail["reason"] == "resource limitation (0x0213)"
    assert len(node.audited(AuditEvent.OBJECT_DELIVERED)) == 2
    assert len(peer.transactions) == 2


@pytest.mark.parametrize("offered", [True, False])
def test_a_pacs_that_will_not_ends_in_quarantine_with_the_reason(
    service: Make, committing: Callable[..., Committing], offered: bool
) -> None:
    peer = committing(0x0110, 0x0110, 0x0110, offered=offered)
    node, _ = start(service, peer, SR_3D)
    node.deliver()
    (job,) = eventually(lambda: node.store.lookups.jobs(state=JobState.QUARANTINED))
    assert job.kind is JobKind.DELIVER
    assert ("0x0110" if offered else "not offered") in job.error
    assert node.store.lookups.account().quarantined == 1


def test_a_pacs_that_never_answers_is_asked_again_and_given_up(
    service: Make, committing: Callable[..., Committing]
) -> None:
    peer = committing(0, 0, 0)
    node, _ = start(service, peer, SR_3D, commitment_timeout_s=0.2)
    node.deliver()
    (job,) = eventually(lambda: node.store.lookups.jobs(state=JobState.QUARANTINED), timeout_s=60)
    assert "no answer" in job.error
    assert len(peer.transactions) == 3
    assert len({request.TransactionUID for request in peer.transactions}) == 3


# --- who may answer, and what -----------------------------------------------------------------


def tell(node: Service, kind: int, content: Dataset) -> int | None:
    """Send an N-EVENT-REPORT to the listener as a PACS does; return the answer's status."""
    ae = AE("PACS")
    context = build_context(PUSH_MODEL, ImplicitVRLittleEndian)
    role = build_role(PUSH_MODEL, scp_role=True)
    association: Any = steady(
        ae.associate(node.host, node.port, [context], ae_title=node.ae_title, ext_neg=[role])
    )
    try:
        if not association.accepted_contexts:
            return None
        answer, _ = association.send_n_event_report(content, kind, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    finally:
        association.release()
    return int(answer.Status)


def test_answers_that_are_none_of_ours_are_refused(service: Make, orthanc: Orthanc) -> None:
    node = service(destinations=destination(orthanc, storage_commitment=True)).listen()
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SR_3D, "1.2.3"
    content = Dataset()
    content.ReferencedSOPSequence = [item]
    assert tell(node, 1, content) == 0x0115, "no transaction"
    content.TransactionUID = "2.25.1"
    assert tell(node, 1, content) == 0x0110, "an unknown one"
    assert tell(node, 3, content) == 0x0113, "no such event"
    assert committed(node) == []


def test_an_answer_that_comes_at_once_is_answered(
    service: Make, orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the association's own thread has noted that it is established, on a busy machine."""
    noted = NodeAssociation.__setattr__

    def late(association: NodeAssociation, name: str, value: Any) -> None:
        if name == "is_established" and value:
            time.sleep(0.3)
        noted(association, name, value)

    monkeypatch.setattr(NodeAssociation, "__setattr__", late)
    node = service(destinations=destination(orthanc, storage_commitment=True)).listen()
    content = Dataset()
    content.TransactionUID = "2.25.1"
    assert tell(node, 1, content) == 0x0110


def test_the_listener_takes_answers_only_where_somebody_is_asked(
    service: Make, orthanc: Orthanc
) -> None:
    node = service(destinations=destination(orthanc)).listen()
    content = Dataset()
    content.TransactionUID = "2.25.1"
    assert tell(node, 1, content) is None
