"""What the worker makes of a report job, with a real store and a real reading process."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from blake3 import blake3
from pydicom import Dataset, dcmread

from hipnode.dicom import read_header, referenced_in
from hipnode.domain import (
    AuditEvent,
    JobKind,
    JobState,
    Outcome,
    Rejection,
    Result,
    ResultKind,
)
from hipnode.errors import StorageUnavailable
from hipnode.nets import set_digest
from hipnode.services.worker.service import Worker
from hipnode.storage import AuditEntry, AuditFilter, Received
from tests.db.conftest import Bench
from tests.senders import SAMPLES


@pytest.fixture
def worker(bench: Bench) -> Iterator[Worker]:
    """A worker on the test's store, driven by hand."""
    made = Worker(bench.settings, bench.store)
    yield made
    made.close()


def receive(
    bench: Bench,
    *,
    models: tuple[str, ...] = (),
    shadows: tuple[str, ...] = (),
    rejection: Rejection | None = None,
    **attributes: str,
) -> None:
    """Let the store receive a phantom with these attributes, to be read by the shipped set, or by
    ``models``.
    """
    dataset = dcmread(SAMPLES[-1])
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    buffer = BytesIO()
    dataset.save_as(buffer)
    data, header = buffer.getvalue(), read_header(dataset)
    digest = blake3(data).hexdigest()
    incoming = bench.store.files.incoming()
    incoming.write(data)
    path = bench.store.files.keep(incoming, header.sop_instance_uid, digest)
    received = Received(
        header=header, calling_ae="MODALITY", called_ae="HIPNODE", peer_address="127.0.0.1",
        path=path, digest=digest, size_bytes=len(data), association_id="1", rejection=rejection,
    )  # fmt: skip
    action: Literal["read", "keep"] = "read" if rejection is None else "keep"
    wanted = models or (set_digest(),)
    bench.store.ledger.ingest(
        received, action=action, model_sets=wanted, shadows=shadows, quiet_s=0
    )


def results(bench: Bench) -> dict[Path, bytes]:
    folder = bench.settings.node.data_dir
    return {path: path.read_bytes() for path in folder.rglob("results/**/*") if path.is_file()}


def test_a_store_that_is_gone_is_no_fault_of_its_images(bench: Bench, worker: Worker) -> None:
    """A shared folder that is not mounted: the image is read once it is there again."""
    receive(bench)
    images = bench.store.files.root / "images"
    images.rename(images.with_name("elsewhere"))
    with pytest.raises(StorageUnavailable):
        bench.store.reconcile()
    job = bench.take(JobKind.READ)
    with pytest.raises(StorageUnavailable):
        worker.handle(job)
    images.with_name("elsewhere").rename(images)
    worker.handle(job)
    assert bench.store.lookups.jobs(kind=JobKind.READ)[0].state is JobState.DONE


def test_a_report_job_that_runs_again_makes_the_same_bytes_and_says_what_was_mended(
    bench: Bench, worker: Worker
) -> None:
    receive(bench, StudyDescription="Becken " + "sehr " * 20 + "lang")
    worker.handle(bench.take(JobKind.READ))
    job = bench.take(JobKind.REPORT)
    worker.handle(job)
    first = results(bench)
    assert first
    for path in first:
        path.unlink()
    bench.clock.forward(90)
    worker.handle(job)  # as a holder does whose lease ran out: it writes files, and no row
    assert results(bench) == first
    made = dcmread(next(iter(first)))
    assert str(made.ContentDate) == f"{job.created_utc:%Y%m%d}"
    (entry,) = bench.store.audit.query(
        AuditFilter(event=AuditEvent.REPORT_MADE), actor="test", limit=None, newest_first=False
    )
    mended = entry.record.detail["mended"]
    assert any(note.startswith("StudyDescription ") for note in mended)
    assert not any("Becken" in note for note in mended)  # keywords, never values


def test_two_patients_in_one_study_get_a_report_each_and_an_alarm_until_it_is_corrected(
    bench: Bench, worker: Worker
) -> None:
    """A correction half way: a late image with another Patient ID, then the first one corrected."""

    def reported() -> dict[str, set[str]]:
        """Let the worker do what is due; return the documents of each patient, newest version."""
        work(bench, worker)
        rows = bench.store.lookups.results(study)
        newest = max(row.version for row in rows)
        found: dict[str, set[str]] = {}
        for row in rows:
            if row.version == newest and row.kind is not ResultKind.CAPTURE:
                ds = dcmread(bench.store.files.path(row.path))
                found.setdefault(ds.PatientID, set()).add(row.sop_instance_uid)
                before[row.sop_instance_uid] = _predecessors(ds)
        return found

    before: dict[str, set[str]] = {}
    study = str(dcmread(SAMPLES[-1], stop_before_pixels=True).StudyInstanceUID)
    receive(bench, PatientID="P1", PatientName="Wrong^Name")
    first = reported()
    assert set(first) == {"P1"}
    assert not _audited(bench, AuditEvent.IDENTITIES_DIFFER)
    receive(bench, PatientID="P2", SOPInstanceUID="1.2.3.4", PatientName="Right^Name")
    second = reported()
    assert set(second) == {"P1", "P2"}
    alarms = _audited(bench, AuditEvent.IDENTITIES_DIFFER)
    assert {row.record.patient_id for row in alarms} == {"P1", "P2"}
    assert {row.record.outcome for row in alarms} == {Outcome.FAILED}
    assert set().union(*(before[uid] for uid in second["P1"])) <= first["P1"]
    assert not any(before[uid] for uid in second["P2"])
    receive(bench, PatientID="P2", PatientName="Right^Name")  # the first image, corrected
    third = reported()
    assert set(third) == {"P2"}
    replaced = set().union(*(before[uid] for uid in third["P2"]))
    assert replaced == second["P1"] | second["P2"]
    assert len(_audited(bench, AuditEvent.IDENTITIES_DIFFER)) == 2


def work(bench: Bench, worker: Worker) -> None:
    """Let the worker do what is due."""
    while (job := bench.store.ledger.claim([JobKind.READ, JobKind.REPORT], "test")) is not None:
        worker.handle(job)


def test_the_report_of_rejected_images_is_superseded_then_withdrawn(
    bench: Bench, worker: Worker
) -> None:
    """Of two images one is rejected, then the other; a note of ours follows each time."""
    study = str(dcmread(SAMPLES[-1], stop_before_pixels=True).StudyInstanceUID)
    for uid in ("1.2.3.1", "1.2.3.2"):
        receive(bench, SOPInstanceUID=uid)
    work(bench, worker)
    sent = bench.store.lookups.results(study)
    naming = {r.sop_instance_uid: _names(bench, r) for r in sent}

    receive(bench, SOPInstanceUID="1.2.9", rejection=Rejection("113037", ((study, "1.2.3.1"),)))
    (row,) = _audited(bench, AuditEvent.IMAGES_REJECTED)
    assert (row.record.detail["code"], row.record.detail["images"]) == ("113037", ["1.2.3.1"])
    work(bench, worker)
    second = [r for r in bench.store.lookups.results(study) if r.version == 2]
    (note,) = [r for r in second if r.kind is ResultKind.NOTE]
    wrong = {uid for uid, named in naming.items() if "1.2.3.1" in named}
    assert _names(bench, note) == wrong
    assert wrong != set(naming)  # the other image's capture stays
    documents = [r for r in second if r.kind in (ResultKind.SR, ResultKind.TEXT)]
    assert documents
    assert all("1.2.3.1" not in _names(bench, r) for r in documents)

    receive(bench, SOPInstanceUID="1.2.10", rejection=Rejection("113001", ((study, "1.2.3.2"),)))
    work(bench, worker)
    (last,) = [r for r in bench.store.lookups.results(study) if r.version == 3]
    assert last.kind is ResultKind.NOTE
    ds = dcmread(bench.store.files.path(last.path))
    assert ds.ConceptNameCodeSequence[0].CodeValue == "113001"
    rest = set(naming) - wrong
    assert _names(bench, last) == rest | {r.sop_instance_uid for r in second} - {
        note.sop_instance_uid
    }
    (row,) = _audited(bench, AuditEvent.REPORT_WITHDRAWN)
    assert set(row.record.detail["withdrawn"]) == _names(bench, last)


def test_an_image_that_moves_to_another_study_takes_its_report_with_it(
    bench: Bench, worker: Worker
) -> None:
    study = str(dcmread(SAMPLES[-1], stop_before_pixels=True).StudyInstanceUID)
    receive(bench)
    work(bench, worker)
    sent = {r.sop_instance_uid for r in bench.store.lookups.results(study)}
    receive(bench, StudyInstanceUID="1.2.77", PatientID="P2")
    work(bench, worker)
    kinds = {r.kind for r in bench.store.lookups.results("1.2.77")}
    assert {ResultKind.SR, ResultKind.CAPTURE} <= kinds
    (note,) = [r for r in bench.store.lookups.results(study) if r.version == 2]
    assert note.kind is ResultKind.NOTE
    assert _names(bench, note) == sent
    (row,) = _audited(bench, AuditEvent.IMAGES_REJECTED)
    assert row.record.detail["code"] == "113038"


def test_what_is_rejected_before_it_is_read_is_not_read(bench: Bench, worker: Worker) -> None:
    study = str(dcmread(SAMPLES[-1], stop_before_pixels=True).StudyInstanceUID)
    receive(bench, SOPInstanceUID="1.2.3.1")
    receive(bench, SOPInstanceUID="1.2.9", rejection=Rejection("113039", ((study, "1.2.3.1"),)))
    work(bench, worker)
    assert bench.store.lookups.results(study) == []
    states = {job.state for job in bench.store.lookups.jobs(kind=JobKind.READ)}
    assert states == {JobState.SUPERSEDED}
    (row,) = _audited(bench, AuditEvent.REPORT_SKIPPED)
    assert row.record.detail["reason"] == "every image has been rejected"


def _names(bench: Bench, result: Result) -> frozenset[str]:
    return referenced_in(dcmread(bench.store.files.path(result.path)))


def _predecessors(ds: Dataset) -> set[str]:
    return {
        item.ReferencedSOPInstanceUID
        for study in ds.get("PredecessorDocumentsSequence", [])
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


def _audited(bench: Bench, event: AuditEvent) -> list[AuditEntry]:
    wanted = AuditFilter(event=event)
    return list(bench.store.audit.query(wanted, actor="test", limit=None, newest_first=False))
