"""SR and KOS in which somebody agrees or not, sent with dcmtk's storescu: feedback, and no more."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code

from hipnode import codes
from hipnode.domain import AuditEvent, Side
from hipnode.domain.opinions import Feedback
from tests import factory
from tests.assessments import AGREES, DISAGREES, PRIVATE, assessment, key_objects
from tests.db.conftest import Bench
from tests.db.test_final_reports import message
from tests.desk import study
from tests.peers import free_port
from tests.protocol.conftest import Service
from tests.senders import storescu

Make = Callable[..., Service]


@pytest.fixture
def node(service: Make) -> Service:
    return service(feedback={"disagree_codes": ["DCM:122776", "99VIEWER:NO"]}).listen()


def reported(node: Service, name: str = "1", accession: str = "A-99") -> str:
    """Have the node report a study with a fracture on the right; return its UID."""
    bench = Bench(node.store, node.store.now, node.settings)  # type: ignore[arg-type]
    patient_id = str(factory.header(name).PatientID)
    return study(bench, name, p=0.97, patient_id=patient_id, accession=accession)


def results(node: Service, uid: str) -> list[Dataset]:
    return [dcmread(node.store.files.path(made.path)) for made in node.store.desk.studies.made(uid)]


def tracking(node: Service, uid: str, side: str) -> str:
    (entry,) = node.store.desk.studies.one(uid).said  # type: ignore[union-attr]
    hips = {hip["side"]: hip["findings"][0] for hip in entry.record.detail["hips"]}
    finding = hips[side]
    image = entry.record.sop_instance_uid
    return codes.tracking_uid(image, side, finding["task"], finding["model_digest"])


def send(node: Service, folder: Path, *objects: Dataset) -> None:
    paths = []
    for number, each in enumerate(objects):
        paths.append(folder / f"{number}.dcm")
        each.save_as(paths[-1], enforce_file_format=True)
    storescu(node, paths)


def given(node: Service, uid: str) -> list[Feedback]:
    return node.store.desk.opinions.of_study(uid)


def unmatched(node: Service) -> list[str]:
    rows = node.audited(AuditEvent.FEEDBACK_UNMATCHED)
    return [row.record.detail["reason"] for row in rows]


def test_an_sr_speaks_of_each_hip_by_its_tracking_uid(node: Service, tmp_path: Path) -> None:
    uid = reported(node)
    before = node.store.desk.studies.made(uid)
    said = {tracking(node, uid, "R"): DISAGREES, tracking(node, uid, "L"): AGREES}
    sr = assessment(results(node, uid)[0], said)
    send(node, tmp_path, sr)
    found = {each.side: each for each in given(node, uid)}
    assert {side: each.opinion.value for side, each in found.items()} == {
        "R": "disagree", "L": "agree",
    }  # fmt: skip
    assert {side: each.truth for side, each in found.items()} == {"R": "absent", "L": "absent"}
    assert {(e.source.value, e.given_by) for e in found.values()} == {("sr", "Ross Ada")}
    assert node.store.desk.studies.made(uid) == before
    (first, _) = node.audited(AuditEvent.FEEDBACK_GIVEN)
    assert first.record.detail["message"] == sr.SOPInstanceUID
    send(node, tmp_path, sr)
    assert len(given(node, uid)) == 2, "sent again, it counts once"


def test_our_own_sr_has_the_tracking_uids_that_are_looked_for(node: Service) -> None:
    uid = reported(node)
    wanted = {tracking(node, uid, side.value) for side in (Side.RIGHT, Side.LEFT)}
    ours = {
        str(element.value) for result in results(node, uid) for element in result.iterall()
        if element.keyword == "UID"
    }  # fmt: skip
    assert wanted <= ours


@pytest.mark.parametrize(
    ("title", "opinions"), [(AGREES, {("R", "agree"), ("L", "agree")}), (PRIVATE, set())]
)
def test_a_kos_speaks_of_the_result_as_a_whole(
    node: Service, tmp_path: Path, title: Code, opinions: set[tuple[str, str]]
) -> None:
    uid = reported(node)
    send(node, tmp_path, key_objects(results(node, uid)[0], title))
    assert {(each.side, each.opinion.value) for each in given(node, uid)} == opinions
    reasons = unmatched(node)
    assert bool(reasons) is not bool(opinions)
    assert all("does not say with which of 2 findings" in reason for reason in reasons)


def test_what_names_nothing_of_ours_is_on_the_log_with_its_reason(
    node: Service, tmp_path: Path
) -> None:
    uid = reported(node)
    of = results(node, uid)[0]
    image = factory.header("1", "1")
    image.file_meta = of.file_meta
    elsewhere = factory.header("404", "1")
    send(
        node,
        tmp_path,
        assessment(of, {hd.UID(): DISAGREES}),
        key_objects(image, AGREES),
        key_objects(elsewhere, AGREES),
    )
    assert unmatched(node) == [
        "its tracking UID is of no finding that was reported last",
        "it names no result of this node",
        "there is no study of this accession number or UID",
    ]
    assert given(node, uid) == []


def test_an_sr_without_such_a_code_is_only_an_sr(node: Service, tmp_path: Path) -> None:
    uid = reported(node)
    other = Code("373066001", "SCT", "Yes")
    send(node, tmp_path, assessment(results(node, uid)[0], {tracking(node, uid, "R"): other}))
    assert (given(node, uid), unmatched(node)) == ([], [])
    assert len(node.audited(AuditEvent.INSTANCE_DISCARDED)) == 1


def test_an_sr_that_is_too_large_to_be_looked_into_is_still_taken(
    node: Service, tmp_path: Path
) -> None:
    uid = reported(node)
    small = assessment(results(node, uid)[0], {tracking(node, uid, "R"): AGREES})
    small.save_as(tmp_path / "small.dcm", enforce_file_format=True)
    sr = dcmread(tmp_path / "small.dcm")
    filler = Dataset()
    filler.RelationshipType, filler.ValueType, filler.TextValue = "CONTAINS", "TEXT", "x"
    sr.ContentSequence.extend([filler] * 8_000)
    send(node, tmp_path, sr)
    assert given(node, uid) == []
    assert len(node.audited(AuditEvent.INSTANCE_DISCARDED)) == 1


def test_the_listener_takes_final_reports_where_the_settings_say_so(service: Make) -> None:
    port = free_port()
    node = service(feedback={"port": port, "senders": ["127.0.0.1"]}).listen()
    uid = reported(node)
    patient = str(factory.header("1").PatientID)
    text = message(patient=patient, text="No fracture of the right hip.")
    with socket.create_connection(("127.0.0.1", port), 20) as ris:
        ris.sendall(b"\x0b" + text.encode() + b"\x1c\r")
        assert b"MSA|AA|42\r" in ris.recv(65536)
        assert [(each.side, each.truth) for each in given(node, uid)] == [("R", "absent")]
        node.stop()  # although the RIS is still connected
    assert node.audited(AuditEvent.FEEDBACK_GIVEN)
