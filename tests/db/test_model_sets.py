"""Which model set reads which image; a set in shadow is audited and never reported."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from hipnode.domain import AuditEvent, JobKind, JobState
from hipnode.errors import SettingsInvalid
from hipnode.nets import set_digest
from hipnode.nets.bundle.setfile import SHIPPED
from hipnode.services.modelsets import Chosen, ModelSets
from hipnode.services.worker.service import Worker, run
from hipnode.settings import WorkerSettings
from hipnode.storage import AuditFilter
from tests.db.conftest import Bench
from tests.db.test_worker_reports import receive


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site's own model set: the shipped bundles under another name, so of another digest."""
    folder = tmp_path_factory.mktemp("sets") / "site"
    shutil.copytree(SHIPPED, folder)
    path = folder / "candidate.toml"
    path.write_text((folder / "default.toml").read_text().replace('"default"', '"candidate"', 1))
    return path


@pytest.fixture
def damaged(candidate: Path, tmp_path: Path) -> Path:
    """A model set whose file is as it should be, with a damaged bundle: only loading it tells."""
    copied = shutil.copytree(candidate.parent, tmp_path / "damaged") / candidate.name
    weights = next(copied.parent.rglob("model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    return copied


def sets(*rules: dict[str, Any]) -> ModelSets:
    return ModelSets(WorkerSettings.model_validate({"model_sets": list(rules)}))


def test_the_first_rule_that_matches_decides_and_the_default_reads_the_rest(
    candidate: Path,
) -> None:
    chosen = sets(
        {"set": str(candidate), "match": {"calling_ae": "WARD*"}},
        {"set": "default", "match": {"modality": "DX"}},
    ).choose
    assert chosen({"calling_ae": "WARD7", "modality": "DX"}) == Chosen(set_digest(candidate))
    assert chosen({"calling_ae": "OTHER", "modality": "DX"}) == Chosen(set_digest())
    assert chosen({"modality": "CR"}) == Chosen(set_digest())


def test_shadows_read_beside_whatever_else_reads(candidate: Path) -> None:
    chosen = sets({"set": str(candidate), "shadow": True}).choose
    assert chosen({"modality": "DX"}) == Chosen(set_digest(), (set_digest(candidate),))


def test_a_set_in_shadow_of_itself_reads_once() -> None:
    chosen = sets({"set": "default", "shadow": True}).choose
    assert chosen({}) == Chosen(set_digest())


def test_a_rule_whose_set_is_not_there_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"worker\.model_sets\.0\.set: .*none\.toml"):
        sets({"set": str(tmp_path / "none.toml")})


def test_a_shadow_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.toml")
    made = sets({"set": missing, "shadow": True})
    assert made.choose({}) == Chosen(set_digest())
    assert "none.toml" in made.broken[missing]


def test_a_shadow_that_does_not_load_stops_neither_worker_nor_report(
    bench: Bench, damaged: Path
) -> None:
    rules = [{"set": str(damaged), "shadow": True}]
    settings = bench.settings.model_copy(
        update={"worker": WorkerSettings.model_validate({"model_sets": rules})}
    )
    worker = Worker(settings, bench.store)
    try:
        worker.sets.first()
        worker.sets.need(set_digest(damaged))
        loaded = {one["set"]: one for one in bench.store.pulse.models}
        assert bench.store.pulse.ready
        assert "murphy2022-cnn2" in loaded["default"]["models"]["fracture"]
        assert loaded[str(damaged)]["error"]
        receive(bench, shadows=(set_digest(damaged),))
        for _ in range(2):
            worker.handle(bench.take(JobKind.READ))
        worker.handle(bench.take(JobKind.REPORT))
    finally:
        worker.close()
    (held,) = bench.store.lookups.jobs(state=JobState.QUARANTINED)
    assert held.model_set == set_digest(damaged)


def test_the_set_that_an_image_waits_for_is_loaded_first(bench: Bench) -> None:
    """And no other before that image has been read; each before anything is read with it."""
    receive(bench, models=(set_digest("dxa"),))
    worker = Worker(bench.settings, bench.store)
    try:
        worker.sets.first()
        assert bench.store.pulse.ready
        worker.handle(bench.take(JobKind.READ))
        assert [one["set"] for one in bench.store.pulse.models] == ["dxa"]
        receive(bench, SOPInstanceUID="1.2.3.4", StudyInstanceUID="1.2.3")
        worker.handle(bench.take(JobKind.READ))
    finally:
        worker.close()
    steps = {AuditEvent.MODEL_SET_LOADED, AuditEvent.IMAGE_ABSTAINED, AuditEvent.IMAGE_READ}
    found = bench.store.audit.query(AuditFilter(), actor="test", limit=None, newest_first=False)
    said = [entry.record for entry in found if entry.record.event in steps]
    assert [record.detail["model_set"] for record in said] == ["dxa", "dxa", "default", "default"]
    loaded = [record.event is AuditEvent.MODEL_SET_LOADED for record in said]
    assert loaded == [True, False, True, False]


@pytest.mark.parametrize("asked_for", [True, False])
def test_a_set_that_reports_and_does_not_load_ends_the_worker(
    bench: Bench, damaged: Path, asked_for: bool
) -> None:
    """Also one that is not loaded at first; what waits for it is not to blame."""
    rules = [{"set": str(damaged), "match": {"calling_ae": "NOBODY"}}]
    settings = bench.settings.model_copy(
        update={"worker": WorkerSettings.model_validate({"model_sets": rules})}
    )
    receive(bench)
    if asked_for:
        models = (set_digest(damaged),)
        receive(bench, models=models, SOPInstanceUID="1.2.3.4", StudyInstanceUID="1.2.3")
    with pytest.raises(SettingsInvalid, match=r"damaged.*candidate\.toml"):
        run(settings, bench.store, threading.Event())
    for job in bench.store.lookups.jobs(kind=JobKind.READ):
        mine = job.model_set == set_digest(damaged)
        assert job.state is (JobState.QUEUED if mine else JobState.DONE)
        assert job.attempts == 0


def test_by_default_hip_scans_are_read_with_the_set_for_them() -> None:
    chosen = ModelSets(WorkerSettings()).choose
    assert chosen({"modality": "BMD"}) == Chosen(set_digest("dxa"))
    assert chosen({"modality": "DX"}) == Chosen(set_digest())


def test_what_a_shadow_finds_is_audited_and_never_reported(bench: Bench, candidate: Path) -> None:
    rules = [{"set": str(candidate), "shadow": True}]
    settings = bench.settings.model_copy(
        update={"worker": WorkerSettings.model_validate({"model_sets": rules})}
    )
    worker = Worker(settings, bench.store)
    try:
        receive(bench, shadows=(set_digest(candidate),))
        reads = [bench.take(JobKind.READ) for _ in range(2)]
        assert [job.model_set for job in reads] == [set_digest(), set_digest(candidate)]
        for job in reversed(reads):  # the shadow is done first, and nothing waits for it
            worker.handle(job)
        report = bench.take(JobKind.REPORT)
        assert report.model_set == set_digest()
        worker.handle(report)
        assert bench.claim(JobKind.REPORT) is None
    finally:
        worker.close()
    found = bench.store.audit.query(
        AuditFilter(event=AuditEvent.IMAGE_READ), actor="test", limit=None, newest_first=False
    )
    by_set = {e.record.detail["model_set"]: e.record.detail["hips"] for e in found}
    assert by_set.keys() == {"default", "candidate"}
    for name, hips in by_set.items():
        findings = [finding for hip in hips for finding in hip["findings"]]
        assert findings
        assert {finding["shadow"] for finding in findings} == {name == "candidate"}


def test_a_shadow_that_is_requeued_does_not_become_a_report(bench: Bench) -> None:
    bench.receive(shadows=("b" * 64,))
    bench.read()
    bench.store.recovery.quarantine(bench.take(JobKind.READ), "no")
    bench.report()
    (held,) = bench.store.lookups.jobs(state=JobState.QUARANTINED)
    assert bench.store.recovery.requeue([held.id], actor="tester") == 1
    bench.read()
    assert bench.claim(JobKind.REPORT) is None


def test_an_image_that_comes_again_is_read_by_a_shadow_that_is_new(bench: Bench) -> None:
    bench.receive()
    bench.read()
    bench.report()
    bench.receive(shadows=("b" * 64,))
    assert bench.read().model_set == "b" * 64
    assert bench.claim(JobKind.READ, JobKind.REPORT) is None
