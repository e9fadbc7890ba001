"""The desk's pages on a long audit log: how long each takes, on either engine.

A study has 25 records, two images, three objects and six jobs; all are read, delivered and
committed to, as on a node that has caught up. The rows' hashes are made up: nothing verifies them.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa

from hipnode.domain.people import Role
from hipnode.storage import Store
from hipnode.storage.database.schema import (
    audit,
    commitment,
    instance,
    job,
    result,
    study,
    to_us,
)
from hipnode.storage.upkeep.clock import utc_now
from tests.bench import databases
from tests.bench.harness import Run, Table, Target
from tests.desk import Guest

_ROWS: Final = 10_000_000
_A_STUDY: Final = 25
_DAYS: Final = 365
_REQUESTS: Final = 21
_STEP: Final = 250_000
_FILLED: Final = (study, instance, result, job, commitment, audit)

_MODEL: Final = {"model": "cnn", "model_version": "0.4.0", "model_digest": "d" * 64}


def _finding(decision: str, p: float) -> dict[str, Any]:
    point = {"operating_point": "default", "doubtful_from": 0.2, "present_from": 0.9}
    said = {"task": "hip_fracture", "label": "neck", "p_positive": p, "p_alone": None}
    return said | {"decision": decision, "shadow": False} | point | _MODEL


def _hip(side: str, verdict: str, decision: str, p: float) -> dict[str, Any]:
    found = [_finding(decision, p)]
    hip = {"side": side, "verdict": verdict, "attention": "routine", "caveats": []}
    return hip | {"findings": found}


_READ: Final = {
    "kind": "read", "model_set": "default", "model_set_digest": "set-a", "attention": "routine",
    "view": "frontal", "timings_ms": {"decode": 40.1, "classify": 180.2},
    "hips": [_hip("R", "none_seen", "absent", 0.03),
             _hip("L", "none_seen", "absent", 0.02)],
}  # fmt: skip
_DETAILS: Final = {
    "stored": {"address": "10.0.0.7", "called_ae": "HIPNODE", "bytes": 10756876,
               "blake3": "0" * 64},
    "read": _READ,
    "made": {"kind": "report", "version": 1, "model_set": "set-a", "attention": "routine",
             "objects": [["sr", "1.2.826.0.3.1", "0" * 64]]},
    "sent": {"kind": "deliver", "destination": "pacs", "status": "0x0000", "object": "sr"},
    "kept": {"destination": "pacs", "sop_class": "1.2.840.1", "transaction": "2.25.1"},
    "work": {"kind": "read", "attempt": 1},
    "seen": {"page": "/studies", "route": "/studies/{uid}", "address": "10.0.0.9", "at": "desk"},
    "header": {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1", "sop_instance_uid": "1.2.826.0.4",
               "study_instance_uid": "1.2.826.0.1", "patient_id": "P", "accession_number": "A"},
    "peer": {"address": "10.0.0.7", "called_ae": "HIPNODE", "reason": "calling_ae"},
}  # fmt: skip
_AUDIT: Final = """
INSERT INTO audit (at_utc, event, outcome, actor, study_instance_uid, sop_instance_uid, patient_id,
  accession_number, ae_title, detail, row_hash)
SELECT :now - (:rows - n) * CAST(:step AS BIGINT),
  CASE WHEN k < 2 THEN 'instance_stored' WHEN k < 6 THEN 'job_queued' WHEN k < 8 THEN 'image_read'
    WHEN k = 8 THEN 'report_made' WHEN k < 12 THEN 'object_delivered'
    WHEN k < 15 THEN 'object_committed' WHEN k < 21 THEN 'job_claimed' WHEN k = 21
    THEN 'result_viewed' WHEN k < 24 OR n % 200 <> 199 THEN 'association_accepted'
    ELSE 'association_refused' END,
  CASE WHEN k = 24 AND n % 200 = 199 THEN 'refused' ELSE 'ok' END,
  CASE WHEN k = 21 THEN 'reader ' || s % 20 ELSE 'worker' END,
  CASE WHEN k < 22 THEN '1.2.826.0.1.' || s ELSE '' END, '1.2.826.0.2.' || n,
  CASE WHEN k < 22 THEN 'P' || s / 3 ELSE '' END, CASE WHEN k < 22 THEN 'A' || s ELSE '' END,
  'CT' || s % 40,
  CASE WHEN k < 2 THEN :stored WHEN k < 6 THEN :work WHEN k < 8 THEN :read WHEN k = 8 THEN :made
    WHEN k < 12 THEN :sent WHEN k < 15 THEN :kept WHEN k < 21 THEN :work WHEN k = 21 THEN :seen
    ELSE :peer END,
  'b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d26111' || (10 + n % 90)
FROM (SELECT n, n / 25 AS s, n % 25 AS k FROM {numbers} AS g) AS a
"""
_OF_STUDY: Final = (
    """INSERT INTO study (study_instance_uid, patient_id, accession_number, received_utc,
    last_received_utc) SELECT '1.2.826.0.1.' || n, 'P' || n / 3, 'A' || n,
    :now - (:rows - n * 25) * CAST(:step AS BIGINT),
    :now - (:rows - n * 25) * CAST(:step AS BIGINT) FROM {numbers} AS g""",
    """INSERT INTO instance (id, study_instance_uid, sop_instance_uid, digest, header, calling_ae,
    action, path, size_bytes, received_utc) SELECT n * 2 + i, '1.2.826.0.1.' || n,
    '1.2.826.0.4.' || n || '.' || i, '0', :header, 'CT', 'read', 'images/x', 10756876,
    :now - (:rows - n * 25) * CAST(:step AS BIGINT)
    FROM {numbers} AS g, (SELECT 1 AS i UNION ALL SELECT 2) AS two""",
    """INSERT INTO result (id, study_instance_uid, model_set, version, kind, sop_class_uid,
    sop_instance_uid, path, sha256, created_utc) SELECT n * 3 + i, '1.2.826.0.1.' || n, 'set-a', 1,
    'sr', '1.2.840.1', '1.2.826.0.3.' || n || '.' || i, 'results/x', '0',
    :now - (:rows - n * 25) * CAST(:step AS BIGINT)
    FROM {numbers} AS g, (SELECT 1 AS i UNION ALL SELECT 2 UNION ALL SELECT 3) AS three""",
    """INSERT INTO job (id, key, kind, state, study_instance_uid, priority, due_utc, created_utc,
    model_set, destination, result_id, instance_id) SELECT n * 6 + i, n || '-' || i,
    CASE WHEN i < 3 THEN 'read' WHEN i = 3 THEN 'report' ELSE 'deliver' END, 'done',
    '1.2.826.0.1.' || n, 0, :now, :now - (:rows - n * 25) * CAST(:step AS BIGINT), 'set-a',
    CASE WHEN i > 3 THEN 'pacs' ELSE '' END, CASE WHEN i > 3 THEN n * 3 + i - 3 END,
    CASE WHEN i < 3 THEN n * 2 + i END FROM {numbers} AS g, (SELECT 1 AS i UNION ALL SELECT 2
    UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6) AS six""",
    """INSERT INTO commitment (id, job_id, result_id, destination, study_instance_uid,
    sop_class_uid, sop_instance_uid, state, due_utc) SELECT n * 3 + i, n * 6 + 3 + i, n * 3 + i,
    'pacs', '1.2.826.0.1.' || n, '1.2.840.1', '1.2.826.0.3.' || n || '.' || i, 'committed', :now
    FROM {numbers} AS g, (SELECT 1 AS i UNION ALL SELECT 2 UNION ALL SELECT 3) AS three""",
)


def tables(run: Run) -> Iterator[Table]:
    """Yield the tables of this measurement."""
    rows = _ROWS if run.full else run.size(500_000, 20_000)
    with databases.server() as server:
        for engine in databases.ENGINES:
            with databases.store(engine, run.new_folder("desk"), server) as store:
                fill(store, rows)
                yield from measured(store, engine, rows, run.rounds)


def fill(store: Store, rows: int) -> None:
    """Put in records and what they tell of, then seal and count them; indexes are made last."""
    database = store.database
    indexes = [index for table in _FILLED for index in table.indexes]
    with database.engine.begin() as connection:
        for index in indexes:
            index.drop(connection)
    values: dict[str, str | int] = {
        name: json.dumps(detail, separators=(",", ":")) for name, detail in _DETAILS.items()
    }
    values |= {
        "now": to_us(utc_now()), "rows": rows, "step": _DAYS * 86_400_000_000 // rows
    }  # fmt: skip
    studies = rows // _A_STUDY
    for statement in _OF_STUDY:
        _run(store, statement, studies, values)
    _run(store, _AUDIT, rows, values)
    for index in indexes:
        with database.engine.begin() as connection:
            index.create(connection)
    tidy = "ANALYZE" if database.is_sqlite else "VACUUM (ANALYZE)"
    with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text(tidy))
    store.audit.seal()


def _run(store: Store, statement: str, last: int, values: dict[str, Any]) -> None:
    dialect = store.database.engine.dialect.name
    used = {k: v for k, v in values.items() if f":{k}" in statement}
    for start in range(0, last, _STEP):
        stop = min(last, start + _STEP) - 1
        numbers = databases.NUMBERS[dialect].format(start, stop)
        with store.database.engine.begin() as connection:
            text = sa.text(statement.format(numbers=numbers))
            connection.execute(text, used)


def measured(store: Store, engine: str, rows: int, rounds: int) -> Iterator[Table]:
    """Yield a table for each page: the 95th percentile and the median of some requests."""
    guests = {
        role: Guest(store, store.settings, role)
        for role in (Role.AUDITOR, Role.OPERATOR, Role.SCIENTIST, Role.ADMIN)
    }
    for name, (role, path) in pages(rows).items():
        table = Table(
            f"Desk: {name}, {engine}, {rows:,} records", "ms", ours="p95",
            targets=(Target(at_most=200),),
        )  # fmt: skip
        table.notes.append("a first request, which fills caches, is not counted")
        table.values = {"p95": [], "median": []}
        _milliseconds(guests[role], path)
        for _ in range(rounds):
            times = [_milliseconds(guests[role], path) for _ in range(_REQUESTS)]
            table.values["p95"].append(statistics.quantiles(times, n=20)[-1])
            table.values["median"].append(statistics.median(times))
        yield table


def pages(rows: int) -> dict[str, tuple[Role, str]]:
    """Return each page that is asked for: who asks, and where."""
    one = rows // _A_STUDY // 2
    return {
        "at a glance": (Role.OPERATOR, "/"),
        "faults": (Role.OPERATOR, "/faults"),
        "studies": (Role.AUDITOR, "/studies"),
        "studies, by accession": (Role.AUDITOR, f"/studies?accession=A{one}"),
        "studies, by patient": (Role.AUDITOR, f"/studies?patient=P{one // 3}"),
        "studies, by outcome": (Role.AUDITOR, "/studies?outcome=positive"),
        "a study's story": (Role.AUDITOR, f"/studies/1.2.826.0.1.{one}"),
        "log": (Role.AUDITOR, "/audit"),
        "log, one accession": (Role.AUDITOR, f"/audit?accession=A{one}"),
        "log, one event": (Role.AUDITOR, "/audit?event=image_read"),
        "log, counted by reason": (Role.AUDITOR, "/audit?event=association_refused&by=reason"),
        "log, by who acted": (Role.AUDITOR, "/audit?actor=reader+7"),
        "log, by an object": (Role.AUDITOR, f"/audit?object=1.2.826.0.2.{rows // 2}"),
        "log, by words": (Role.AUDITOR, "/audit?words=nowhere+to+be+found"),
        "a record": (Role.AUDITOR, f"/audit/records/{rows // 2}"),
        "verify": (Role.AUDITOR, "/verify"),
        "statement": (Role.AUDITOR, "/verify/statement"),
        "quality": (Role.SCIENTIST, "/quality"),
        "disagreements": (Role.SCIENTIST, "/quality/disagreements"),
        "models": (Role.SCIENTIST, "/models"),
        "accounts": (Role.ADMIN, "/accounts"),
    }


def _milliseconds(guest: Guest, path: str) -> float:
    start_s = time.perf_counter()
    answer = guest.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return (time.perf_counter() - start_s) * 1000
