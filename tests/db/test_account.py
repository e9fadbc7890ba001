"""Whatever happens, in whatever order: every image that came in is somewhere, and counted once."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hipnode.domain import TRANSITIONS, Job, JobKind, JobState
from hipnode.errors import LeaseLost
from hipnode.settings import Settings
from hipnode.storage import IngestOutcome, Store
from tests.db.conftest import MODELS, Bench, Clock, abstained
from tests.examples import examples

STUDIES = st.sampled_from(["1", "2", "3"])
IMAGES = st.integers(1, 3)
OPEN = (JobState.QUEUED, JobState.CLAIMED)


class Node(RuleBasedStateMachine):
    """Senders, workers, couriers, a housekeeper and a person, each doing what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        made = Settings.model_validate(
            {"node": {"data_dir": Path(self.folder.name)}, "queue": {"max_attempts": 2}}
        )
        clock = Clock()
        self.bench = Bench(Store.open(made, migrate=True, now=clock), clock, made)
        self.received = self.discarded = self.kept = 0
        self.held: list[Job] = []
        self.seen: dict[int, JobState] = {}
        self.tokens: dict[int, int] = {}

    def teardown(self) -> None:
        store = self.bench.store
        store.audit.seal()
        assert store.audit.verify() is None
        store.close()
        self.folder.cleanup()

    # --- what happens -------------------------------------------------------------------------

    @rule(
        study=STUDIES, image=IMAGES, content=st.sampled_from("ab"), quiet=st.sampled_from([0, 30])
    )
    def send(self, study: str, image: int, content: str, quiet: float) -> None:
        outcome = self.bench.receive(f"{study}.{image}", study, content=content, quiet_s=quiet)
        self.received += outcome in (IngestOutcome.STORED, IngestOutcome.CHANGED)

    @rule(image=IMAGES)
    def send_what_is_discarded(self, image: int) -> None:
        self.bench.receive(f"8.{image}", "8", action="discard")
        self.received += 1
        self.discarded += 1

    @rule(image=IMAGES)
    def send_what_is_kept(self, image: int) -> None:
        stored = self.bench.receive(f"9.{image}", "9", action="keep") is IngestOutcome.STORED
        self.received += stored
        self.kept += stored

    @rule(study=STUDIES)
    def release(self, study: str) -> None:
        self.bench.store.ledger.release([study])

    @rule(seconds=st.sampled_from([1, 31, 901, 3000]))
    def wait(self, seconds: int) -> None:
        self.bench.clock.now += timedelta(seconds=seconds)

    @rule(kind=st.sampled_from(JobKind))
    def claim(self, kind: JobKind) -> None:
        job = self.bench.claim(kind)
        if job is not None:
            assert job.due_utc <= self.bench.clock.now
            self.held.append(job)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        job = self._one(data)
        try:
            self._do(job)
        except LeaseLost:
            assert self._is_lost(job)
        else:
            assert not self._is_lost(job, after=True)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["retry", "away", "quarantine", "hand_back"]))
    def fail(self, data: st.DataObject, how: str) -> None:
        job = self._one(data)
        try:
            if how == "retry":
                self.bench.store.recovery.retry(job, "failed")
            elif how == "away":
                self.bench.store.recovery.retry(job, "away", count_attempt=False)
            elif how == "quarantine":
                self.bench.store.recovery.quarantine(job, "hopeless")
            else:
                self.bench.store.recovery.hand_back(job)
        except LeaseLost:
            assert self._is_lost(job)

    @rule()
    def expire(self) -> None:
        self.bench.store.recovery.expire_leases()

    @rule()
    def requeue(self) -> None:
        self.bench.store.recovery.requeue()

    def _one(self, data: st.DataObject) -> Job:
        return self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))

    def _do(self, job: Job) -> None:
        ledger = self.bench.store.ledger
        if job.kind is JobKind.READ:
            uid = self.bench.store.lookups.instance(job.instance_id or 0).header.sop_instance_uid
            ledger.finish_read(job, abstained(uid))
        elif job.kind is JobKind.REPORT:
            destinations = [] if job.study_instance_uid == "3" else ["pacs", "archive"]
            ledger.finish_report(job, [self.bench.new_result()], destinations)
        else:
            ledger.finish_delivery(job, status=0, sop_class_uid="1", peer="PACS")

    def _is_lost(self, job: Job, *, after: bool = False) -> bool:
        now = self.bench.store.lookups.job(job.id)
        return now.token != job.token or (not after and now.state is not JobState.CLAIMED)

    # --- what always holds --------------------------------------------------------------------

    @invariant()
    def the_count_adds_up(self) -> None:
        account = self.bench.store.lookups.account()
        assert account.received == self.received
        assert account.discarded == self.discarded
        assert account.kept == self.kept
        parts = (
            account.discarded,
            account.kept,
            account.waiting,
            account.quarantined,
            account.delivered,
            account.committed,
            account.recorded,
        )
        assert sum(parts) == account.received

    @invariant()
    def every_image_is_read_or_waits_and_every_study_has_its_report(self) -> None:
        jobs = self.bench.store.lookups.jobs(limit=10_000)
        for study in ("1", "2", "3"):
            mine = [job for job in jobs if job.study_instance_uid == study]
            reads = [job for job in mine if job.kind is JobKind.READ]
            reports = [job for job in mine if job.kind is JobKind.REPORT]
            images = self.bench.store.lookups.instances(study)
            assert {job.instance_id for job in reads} == {image.id for image in images}
            assert [job.version for job in reports] == list(range(1, len(reports) + 1))
            assert sum(job.state is JobState.QUEUED for job in reports) <= 1 or all(
                job.state in OPEN for job in reports[-1:]
            )
            if any(job.state in OPEN for job in reads):
                assert reports[-1].state is JobState.QUEUED, "a report will follow"
                assert reports[-1].due_utc.year == 9999, "and not before they are read"
            elif reads and reports[-1].state is JobState.DONE:
                assert len(self.bench.store.readings.of_study(study, MODELS)) == len(
                    {image.header.sop_instance_uid for image in images}
                )

    @invariant()
    def states_moved_along_the_table_and_tokens_grew(self) -> None:
        for job in self.bench.store.lookups.jobs(limit=10_000):
            before = self.seen.get(job.id, JobState.QUEUED)
            assert job.state is before or reachable(before, job.state)
            assert job.token >= self.tokens.get(job.id, 0)
            self.seen[job.id], self.tokens[job.id] = job.state, job.token

    @invariant()
    def one_object_at_a_time_is_under_way_to_a_destination(self) -> None:
        under_way = self.bench.store.lookups.jobs(kind=JobKind.DELIVER, state=JobState.CLAIMED)
        names = [job.destination for job in under_way]
        assert len(names) == len(set(names))


def reachable(start: JobState, end: JobState) -> bool:
    """Tell whether one state follows from another in two moves at most."""
    steps = TRANSITIONS[start]
    return end in steps or any(end in TRANSITIONS[step] for step in steps)


Node.TestCase.settings = settings(
    max_examples=examples(50),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestAccount = Node.TestCase
