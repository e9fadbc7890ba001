"""One suite, two engines: every test that takes `open_store` or `store` runs on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hipnode.domain import (
    Abstention,
    AbstentionReason,
    Attention,
    Header,
    Job,
    JobKind,
    Reading,
    ResultKind,
)
from hipnode.settings import Settings
from hipnode.storage import IngestOutcome, NewResult, Received, Store

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
MODELS = "set-a"
WORKER = (JobKind.READ, JobKind.REPORT)


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Bench:
    """A store with what the tests do to it in a word each."""

    store: Store
    clock: Clock
    settings: Settings
    made: int = 0
    objects: dict[int, str] = field(default_factory=dict)

    def receive(
        self,
        uid: str = "1.2.3.1",
        study: str = "1.2.3",
        *,
        content: str = "a",
        action: Any = "read",
        priority: int = 0,
        models: tuple[str, ...] = (MODELS,),
        shadows: tuple[str, ...] = (),
        quiet_s: float = 0.0,
        patient_id: str = "P-17",
        accession: str = "A-99",
        **header: Any,
    ) -> IngestOutcome:
        digest = (content.encode().hex() * 64)[:64]
        received = Received(
            header=Header(
                sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
                sop_instance_uid=uid,
                study_instance_uid=study,
                patient_id=patient_id,
                accession_number=accession,
                **header,
            ),
            calling_ae="MODALITY",
            called_ae="HIPNODE",
            peer_address="127.0.0.1",
            path=f"images/{uid}-{content}.dcm",
            digest=digest,
            size_bytes=1000,
            association_id="assoc-1",
        )
        return self.store.ledger.ingest(
            received,
            action=action,
            priority=priority,
            model_sets=models,
            shadows=shadows,
            quiet_s=quiet_s,
        )

    def claim(self, *kinds: JobKind, destination: str = "") -> Job | None:
        return self.store.ledger.claim(kinds or WORKER, "tester", destination=destination)

    def take(self, *kinds: JobKind, destination: str = "") -> Job:
        job = self.claim(*kinds, destination=destination)
        assert job is not None, "nothing to do"
        return job

    def read(self, job: Job | None = None) -> Job:
        """Do one read job."""
        job = job or self.take(JobKind.READ)
        instance = self.store.lookups.instance(job.instance_id or 0)
        self.store.ledger.finish_read(job, abstained(instance.header.sop_instance_uid))
        return job

    def report(
        self,
        job: Job | None = None,
        objects: int = 1,
        to: tuple[str, ...] = ("pacs",),
        attention: Attention = Attention.ROUTINE,
    ) -> Job:
        """Do one report job."""
        job = job or self.take(JobKind.REPORT)
        results = [self.new_result() for _ in range(objects)]
        self.store.ledger.finish_report(job, results, to, attention=attention)
        return job

    def new_result(self, **more: Any) -> NewResult:
        self.made += 1
        uid = f"2.25.{self.made}"
        return NewResult(ResultKind.SR, "1.2.840.1", uid, f"results/{uid}.dcm", "0" * 64, **more)

    def deliver(self, job: Job | None = None, destination: str = "pacs") -> Job:
        job = job or self.take(JobKind.DELIVER, destination=destination)
        self.store.ledger.finish_delivery(job, status=0, sop_class_uid="1.2.840.1", peer="PACS")
        return job

    def events(self, **wanted: Any) -> list[str]:
        """Return the audited events, oldest first."""
        from hipnode.storage import AuditFilter

        found = self.store.audit.query(
            AuditFilter(**wanted), actor="test", limit=None, newest_first=False
        )
        return [str(e.record.event) for e in found if e.record.event != "audit_queried"]


def abstained(sop_instance_uid: str, digest: str = MODELS) -> Reading:
    """Return a reading that says nothing."""
    return Reading(
        sop_instance_uid=sop_instance_uid,
        rows=100,
        columns=80,
        model_set="default",
        model_set_digest=digest,
        abstention=Abstention(AbstentionReason.NOT_FRONTAL, "0.1"),
    )


OpenStore = Callable[..., Bench]


@pytest.fixture
def open_store(database_url: str, tmp_path: Path) -> Iterator[OpenStore]:
    """A function that opens the test's database, once more each time, with further settings."""
    opened: list[Store] = []
    clock = Clock()

    def open_(**tables: Any) -> Bench:
        settings = Settings.model_validate(
            {
                "node": {"data_dir": tmp_path / "data"},
                "database": {"url": database_url},
                "queue": {"lease_s": 60, "max_attempts": 3, "poll_s": 0.1},
            }
            | tables
        )
        store = Store.open(settings, migrate=not database_url, now=clock)
        opened.append(store)
        return Bench(store, clock, settings)

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def bench(open_store: OpenStore) -> Bench:
    """A store whose clock stands still until it is told to go."""
    return open_store()
