"""Logs for the people who run the node. What happened to a patient's image is on the audit log.

Events are past-tense names from `Event`; keys pass an allow-list, so that a patient's name, ID or
any other header text cannot be logged: an unknown key is replaced by the key ``dropped``.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any, Final, Literal

ALLOWED_KEYS: Final = frozenset(
    "event level timestamp service pid host port ae_title peer_ae peer_address destination "
    "job_id job_kind state attempts token result_id instance_id sop_class transfer_syntax status "
    "reason error_type duration_ms bytes free_bytes count waiting version digest model_set device "
    "due_in_s signal exit_code path exc_info stack_info exception dropped worker limit head "
    "off_s".split()
)


class Event(StrEnum):
    """Everything that the node logs. Past tense."""

    SERVICE_STARTED = "service_started"
    SERVICE_STOPPED = "service_stopped"
    SERVICE_DIED = "service_died"
    SERVICE_HUNG = "service_hung"  # the supervisor heard nothing of it, and ends it
    THREAD_HUNG = "thread_hung"
    ALERT_SENT = "alert_sent"
    ALERT_FAILED = "alert_failed"
    STOP_REQUESTED = "stop_requested"
    LISTENING_STARTED = "listening_started"
    ASSOCIATION_REFUSED = "association_refused"
    ASSOCIATION_ABORTED = "association_aborted"
    INSTANCE_STORED = "instance_stored"
    INSTANCE_REFUSED = "instance_refused"
    JOB_FINISHED = "job_finished"
    JOB_FAILED = "job_failed"
    JOB_QUARANTINED = "job_quarantined"
    IDENTITIES_DIFFER = "identities_differ"  # one study, images of several patients
    LEASE_LOST = "lease_lost"
    MODEL_SET_LOADED = "model_set_loaded"
    SHADOW_SET_BROKEN = "shadow_set_broken"
    READER_DIED = "reader_died"
    ENGINE_LOST = "engine_lost"
    DESTINATION_WENT_AWAY = "destination_went_away"
    DESTINATION_CAME_BACK = "destination_came_back"
    DELIVERY_FELL_BACK = "delivery_fell_back"
    COMMITMENT_REQUESTED = "commitment_requested"
    COMMITMENT_REFUSED = "commitment_refused"
    COMMITMENT_ANSWERED = "commitment_answered"
    COMMITMENT_UNKNOWN = "commitment_unknown"  # an answer to no question of ours
    DISK_RAN_LOW = "disk_ran_low"
    DATABASE_WENT_AWAY = "database_went_away"
    DATABASE_CAME_BACK = "database_came_back"
    SWEEP_FINISHED = "sweep_finished"
    CLOCK_WENT_BACK = "clock_went_back"
    CLOCK_IS_OFF = "clock_is_off"  # this machine's, from the database's
    CLOCK_IS_RIGHT = "clock_is_right"
    AUDIT_BROKEN = "audit_broken"
    AUDIT_HEAD = "audit_head"  # the log's newest head, for whoever keeps these lines
    AUDIT_FEED_AWAY = "audit_feed_away"  # one of the hospital's own logs cannot be told
    AUDIT_FEED_CAME_BACK = "audit_feed_came_back"
    AUDIT_HEAD_NOT_KEPT = "audit_head_not_kept"  # somebody who should keep it could not be told
    FILE_DAMAGED = "file_damaged"
    DATABASE_DAMAGED = "database_damaged"
    CERTIFICATE_TAKEN = "certificate_taken"  # a renewed one, from now on
    CERTIFICATE_NOT_TAKEN = "certificate_not_taken"
    MIGRATED = "migrated"
    RECONCILED = "reconciled"
    DESK_ANSWERS = "desk_answers"
    DESK_FAILED = "desk_failed"  # a page could not be made


def _allow_listed(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    dropped = [key for key in event if key not in ALLOWED_KEYS]
    for key in dropped:
        del event[key]
    if dropped:
        event["dropped"] = sorted(dropped)
    return event


def _frames_of_exception(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Say where an exception came from and what kind it is; its words may be a header's."""
    if event.pop("exc_info", None):
        kind, error, trace = sys.exc_info()
        if error is not None and kind is not None:
            frames = "".join(traceback.format_tb(trace))
            event["exception"] = f"{frames}{kind.__module__}.{kind.__qualname__}"
    return event


def quiet_libraries() -> None:
    """Let no library write what it quotes: pydicom's messages have header text in them."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    for library in ("pydicom", "pynetdicom"):
        logger = logging.getLogger(library)
        logger.propagate = False  # pydicom sets a level of its own when it is imported
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    style: Literal["json", "console"] = "json",
) -> None:
    """Send the log to standard error, as JSON lines or for a person's eye.

    Libraries' own loggers are silenced below ERROR: pynetdicom prints data sets at DEBUG. So are
    Python's warnings, here and in processes started from here: pydicom's quote header text.
    """
    import structlog  # takes as long to import as all that `--help` needs

    quiet_libraries()
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _allow_listed,
            _frames_of_exception,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def get_logger(**context: Any) -> Any:
    """Return a logger bound to ``context`` (a service's name, say)."""
    import structlog

    return structlog.get_logger(**context)
