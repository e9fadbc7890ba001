"""The worker's loop."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from hipnode import codes, dicom, reporting
from hipnode.domain import (
    Instance,
    Job,
    JobKind,
    Language,
    Reading,
    Result,
    ResultKind,
    attention_of,
)
from hipnode.errors import (
    BundleRefused,
    HipnodeError,
    ImageDamaged,
    LeaseLost,
    NotDicom,
    StorageUnavailable,
)
from hipnode.faults import Point, reach
from hipnode.log import Event, get_logger
from hipnode.services.modelsets import ModelSets
from hipnode.services.worker import reader, reports
from hipnode.services.worker.device import SteadyPool
from hipnode.services.worker.loading import SetLoader
from hipnode.services.worker.pool import ReaderPool
from hipnode.settings import AnyDestination, Settings
from hipnode.storage import DAMAGED, NewResult, Store, dispatcher_for

_NOTE: Final = ResultKind.NOTE


def run(settings: Settings, store: Store, stop: threading.Event) -> None:
    """Read images and make reports until ``stop`` is set; a running job is finished first.

    Raises
    ------
    SettingsInvalid
        If a model set that reports cannot be loaded: nothing is read with anything else.
    """
    worker = Worker(settings, store)
    try:
        worker.sets.first()
        with worker.sets.loading_the_rest(stop):
            dispatcher_for(store).run(
                (JobKind.READ, JobKind.REPORT),
                worker.handle,
                stop,
                owner=f"{socket.gethostname()}:{os.getpid()}",
                threads=settings.worker.processes,
            )
    finally:
        worker.close()


class Worker:
    """Handles one job at a time per thread; the heavy part runs in a reading process."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._spec = replace(reader.reader_spec(settings), views=store.files.views_folder)
        self._sets = ModelSets(settings.worker, store.desk.choices.confirmed)
        pool = ReaderPool(settings.worker.processes, settings.worker.job_timeout_s)
        self._pool = SteadyPool(pool, store)
        self.sets = SetLoader(self._spec, self._sets, self._pool, store)
        self._log = get_logger(service="worker")

    def close(self) -> None:
        """End the reading processes."""
        self._pool.close()

    def handle(self, job: Job) -> None:
        """Do one job, whatever comes of it; an error is the job's, never the worker's.

        Raises
        ------
        StorageUnavailable
            If database or files cannot be used now.
        """
        began_s = time.perf_counter()
        log = self._log.bind(job_id=job.id, job_kind=job.kind)
        try:
            if job.kind is JobKind.READ:
                reach(Point.READ_CLAIMED)
                self._read(job)
            else:
                reach(Point.REPORT_CLAIMED)
                self._report(job)
            took_ms = round((time.perf_counter() - began_s) * 1000)
            log.info(Event.JOB_FINISHED, duration_ms=took_ms)
        except LeaseLost:
            log.warning(Event.LEASE_LOST)
        except StorageUnavailable:
            raise  # not the job's fault: the dispatcher waits, and returns it
        except ImageDamaged as error:
            self._damaged(job, error)
        except HipnodeError as error:
            self._failed(job, str(error), retryable=error.retryable)
        except Exception as error:
            log.error(Event.JOB_FAILED, error_type=type(error).__name__, exc_info=True)
            self._failed(job, f"unexpected {type(error).__name__}", retryable=True)

    def _damaged(self, job: Job, error: ImageDamaged) -> None:
        """Give a job up whose image's file was changed, unless only a copy of it was."""
        damaged = self._store.set_damaged_aside(job)
        self._log.error(Event.FILE_DAMAGED, job_id=job.id, count=damaged)
        self._failed(job, DAMAGED if damaged else str(error), retryable=not damaged)

    def _failed(self, job: Job, why: str, *, retryable: bool) -> None:
        if retryable:
            state = self._store.recovery.retry(job, why)
        else:
            self._store.recovery.quarantine(job, why)
            state = None
        self._log.warning(Event.JOB_FAILED, job_id=job.id, state=state, reason=why)

    def _read(self, job: Job) -> None:
        instance = self._store.lookups.instance(job.instance_id or 0)
        path = self._store.files.path(instance.path)
        chosen = self._sets.choose(instance.header.facts(instance.calling_ae))
        # the job's set, or today's where that one is gone
        known = {*self._sets.references, *self._sets.left_out}
        digest = job.model_set if job.model_set in known else chosen.reported
        with self.sets.reading(digest):
            if digest in self._sets.left_out:
                raise BundleRefused("The set that was to read it in shadow cannot be loaded.")
            reference, shadow = self._sets.references[digest], digest in chosen.shadows
            spec = replace(
                self._spec, model_set=reference, shadow=shadow, pictured=self._is_pictured(instance)
            )
            told = self._store.desk.covariates.of(instance.header.accession_number)
            made = self._pool.call(reader.read_image, spec, path, instance.digest, told)
        self._recognise(instance, path)
        self._store.ledger.finish_read(job, made)

    def _is_pictured(self, instance: Instance) -> bool:
        """Tell whether an image alone would be reported by anything that shows it."""
        destinations = reports.destinations_of([instance], self._settings.destinations)
        return reports.are_pictured(reports.objects_for(destinations))

    def _recognise(self, instance: Instance, path: Path) -> None:
        """Note that an image is a self-test's, before its reading can count anywhere."""
        tests = self._store.self_tests
        if test := tests.made(instance.header.sop_instance_uid):
            pixels = self._pool.call(reader.picture_digest, self._spec, path)
            tests.recognise(test, instance.digest, pixels)

    def _report(self, job: Job) -> None:
        ledger = self._store.ledger
        images = self._store.readings.of_study(job.study_instance_uid, job.model_set)
        notes, withdrawn = self._take_back(job, {i.header.sop_instance_uid for i, _ in images})
        if not images:
            reason = "every image has been rejected"
            ledger.finish_report(job, notes, reason=reason, withdrawn=withdrawn)
            return
        outcome = reports.outcome_of(found for _, found in images)
        attention = attention_of(found for _, found in images)
        instances = [instance for instance, _ in images]
        is_test = self._is_self_test(instances)
        if not is_test and not reports.is_reported(outcome, attention, self._settings.report):
            reason = f"{outcome}: for the audit log only"
            ledger.finish_report(
                job, notes, reason=reason, attention=attention, withdrawn=withdrawn
            )
            return
        destinations = reports.destinations_of(instances, self._settings.destinations)
        if is_test:
            destinations = reports.of_self_test(self._settings)
        earlier = [r for r in self._store.lookups.predecessors(job) if r.kind is not _NOTE]
        request = partial(
            reporting.ReportRequest,
            node=reports.node_identity(self._settings),
            made_utc=job.created_utc,  # a run that is repeated makes the same bytes
            version=job.version or 1,
            predecessors=tuple(map(self._seen, earlier)),
            flagged=self._settings.report.outcome_in_list,
        )
        sources = tuple(self._source(instance, found) for instance, found in images)
        built: list[reader.BuiltFile] = []
        results: list[NewResult] = []
        usual = self._settings.report.language
        for language, places in reports.by_language(destinations, usual).items():
            made = self._built(sources, request, language, places)
            reach(Point.REPORT_BUILT)
            results += [self._store_result(b, reports.receivers(b, places)) for b in made]
            built += made
        mended = tuple(dict.fromkeys(note for b in built for note in b.notes))
        ledger.finish_report(
            job, [*results, *notes], mended=mended, attention=attention, withdrawn=withdrawn
        )
        if (patients := len({b.patient_id for b in built})) > 1:
            self._log.error(Event.IDENTITIES_DIFFER, job_id=job.id, count=patients)

    def _is_self_test(self, instances: list[Instance]) -> bool:
        """Tell whether a study is a self-test: all of its images are the node's own."""
        uids = {instance.header.sop_instance_uid for instance in instances}
        return uids == self._store.self_tests.images(uids)

    def _built(
        self,
        sources: tuple[reader.Source, ...],
        request: partial[reporting.ReportRequest],
        language: Language,
        places: list[AnyDestination],
    ) -> list[reader.BuiltFile]:
        """Make what the destinations that want one language get."""
        objects = reports.objects_for(places)
        asked = partial(
            request,
            language=language,
            objects=objects,
            sr_classes=reports.sr_classes_for(places),
        )
        folder = self._store.files.incoming_folder
        spec = replace(self._spec, pictured=reports.are_pictured(objects))
        return self._pool.call(reader.build_report, spec, sources, asked, folder)

    def _take_back(self, job: Job, current: set[str]) -> tuple[list[NewResult], list[str]]:
        """Make the notes that take back what was sent about images that have been rejected.

        Returns
        -------
        tuple
            The notes, and the SOP Instance UIDs of what they take back.
        """
        rejected = self._store.lookups.rejected(job.study_instance_uid)
        rejected = {uid: code for uid, code in rejected.items() if uid not in current}
        made = self._store.lookups.results(job.study_instance_uid, model_set=job.model_set)
        earlier = [r for r in made if r.version < (job.version or 0)] if rejected else []
        names = {r.sop_instance_uid: self._names(r) for r in earlier}
        done = set().union(*(names[r.sop_instance_uid] for r in earlier if r.kind is _NOTE), ())
        results: list[NewResult] = []
        withdrawn: list[str] = []
        for code in dict.fromkeys(rejected.values()):
            of_code = {uid for uid, why in rejected.items() if why == code}
            wrong = [
                r
                for r in earlier
                if r.kind is not _NOTE
                and r.sop_instance_uid not in {*done, *withdrawn}
                and names[r.sop_instance_uid] & of_code
            ]
            if wrong:
                results += self._notes(job, wrong, code)
                withdrawn += [r.sop_instance_uid for r in wrong]
        return results, withdrawn

    def _notes(self, job: Job, wrong: list[Result], code: str) -> list[NewResult]:
        known = {place.name for place in self._settings.destinations}
        receivers = tuple(sorted(known & self._store.lookups.receivers(wrong)))
        withdrawal = partial(
            reporting.Withdrawal,
            title=codes.REJECTIONS[code],
            node=reports.node_identity(self._settings),
            made_utc=job.created_utc,
            version=job.version or 1,
        )
        paths = tuple(self._store.files.path(r.path) for r in wrong)
        folder = self._store.files.incoming_folder
        built = self._pool.call(reader.build_notes, self._spec, paths, withdrawal, folder)
        return [self._store_result(one, receivers) for one in built]

    def _names(self, result: Result) -> frozenset[str]:
        """Return what an own object refers to; of one that is gone, nothing can be said."""
        try:
            path = self._store.files.path(result.path)
            return dicom.referenced_in(dicom.open_dicom(path, pixels=False))
        except NotDicom:
            return frozenset()

    def _seen(self, earlier: Result) -> Result:
        """Return an earlier object with what only its file says: its series, and whose it is."""
        try:
            header = dicom.open_dicom(self._store.files.path(earlier.path), pixels=False)
        except NotDicom:  # retired, say: then it is taken to be this patient's
            return earlier
        reader = dicom.Reader(header)
        return replace(
            earlier,
            series_instance_uid=reader.text("SeriesInstanceUID"),
            patient_id=reader.text("PatientID"),
            language=dicom.language_of(header),
        )

    def _source(self, instance: Instance, found: Reading | str) -> reader.Source:
        path = self._store.files.path(instance.path)
        if isinstance(found, Reading):
            return reader.Source(path, instance.digest, found)
        return reader.Source(path, instance.digest, None, found or "The image could not be read.")

    def _store_result(self, built: reader.BuiltFile, receivers: tuple[str, ...]) -> NewResult:
        path = self._store.files.keep_result(built.path, built.sop_instance_uid, built.sha256)
        reach(Point.RESULT_FILED)
        return NewResult(
            kind=built.kind,
            sop_class_uid=built.sop_class_uid,
            sop_instance_uid=built.sop_instance_uid,
            path=path,
            sha256=built.sha256,
            destinations=receivers,
            patient_id=built.patient_id,
        )
