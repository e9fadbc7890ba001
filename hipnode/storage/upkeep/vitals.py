"""What else of the node's state a person asks for at a glance: the audit log, what was not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from hipnode.domain import AuditEvent, Outcome
from hipnode.storage.audit.days import days
from hipnode.storage.database.schema import audit, audit_day, instance, reading, seal
from hipnode.storage.upkeep.selftests import images_of

WINDOW: Final = timedelta(days=7)
"""How far back images count that were not assessed, and values from outside."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """The audit log's state, and what was not assessed."""

    unsealed: int  # rows of the audit log
    unsealed_since_utc: datetime | None  # the oldest of them
    sealed_utc: datetime | None  # the newest seal
    verified_utc: datetime | None
    verified: bool  # what came of it
    not_assessed: Mapping[str, int]  # images of the last days, by reason
    covariates: Mapping[str, int]  # values from outside of the last days: told, refused, late
    events: Mapping[tuple[str, str], int]  # the audit log counted, by event and outcome
    last_image_utc: datetime | None


def vitals(connection: Connection, now: datetime) -> Vitals:
    """Ask for all of it; each is a short walk along an index."""
    newest = connection.execute(
        select(seal.c.last_id, seal.c.sealed_utc).order_by(seal.c.id.desc()).limit(1)
    ).first()
    unsealed = audit.c.id > (newest.last_id if newest else 0)
    oldest = connection.execute(
        select(audit.c.at_utc).where(unsealed).order_by(audit.c.id).limit(1)
    ).scalar()
    verified = connection.execute(
        select(audit.c.at_utc, audit.c.outcome)
        .where(audit.c.event == AuditEvent.AUDIT_VERIFIED)
        .order_by(audit.c.at_utc.desc())
        .limit(1)
    ).first()
    counting = (
        select(reading.c.abstained, func.count())
        .where(reading.c.abstained != "", reading.c.created_utc > now - WINDOW)
        .group_by(reading.c.abstained)
    )
    reasons: Counter[str] = Counter(dict(connection.execute(counting).all()))
    mine = instance.c.sop_instance_uid.in_(images_of(connection, since_utc=now - WINDOW))
    of_tests = counting.join(instance, instance.c.id == reading.c.instance_id).where(mine)
    reasons -= Counter(dict(connection.execute(of_tests).all()))
    counted = connection.execute(
        select(audit_day.c.event, audit_day.c.outcome, func.sum(audit_day.c.number)).group_by(
            audit_day.c.event, audit_day.c.outcome
        )
    ).all()
    last = connection.execute(
        select(instance.c.received_utc).order_by(instance.c.id.desc()).limit(1)
    ).scalar()
    late = select(func.count()).where(
        audit.c.event == AuditEvent.COVARIATE_TOLD,
        audit.c.at_utc > now - WINDOW,
        audit.c.detail.contains('"late":true'),
    )
    of_late: Counter[AuditEvent] = Counter()
    for one in days(connection, now, WINDOW.days):
        of_late[one.event] += one.number
    return Vitals(
        unsealed=connection.execute(
            select(func.count()).select_from(audit).where(unsealed)
        ).scalar_one(),
        unsealed_since_utc=oldest,
        sealed_utc=newest.sealed_utc if newest else None,
        verified_utc=verified.at_utc if verified else None,
        verified=verified is not None and verified.outcome == Outcome.OK,
        not_assessed=reasons,
        covariates={
            "told": of_late[AuditEvent.COVARIATE_TOLD],
            "refused": of_late[AuditEvent.COVARIATE_REFUSED],
            "late": connection.execute(late).scalar_one(),
        },
        events={(event, outcome): int(number) for event, outcome, number in counted},
        last_image_utc=last,
    )
