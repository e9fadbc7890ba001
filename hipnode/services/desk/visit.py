"""What a page is asked, and what it answers. Pages are plain functions from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.domain.people import Role
from hipnode.settings import Settings
from hipnode.storage import Session, Store

STUDY_OPEN: Final = timedelta(hours=1)
"""How long a study stays open to somebody who broke the glass."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. ``session`` is None where a proxy vouches for each request."""

    subject: str
    name: str
    roles: frozenset[Role]
    session: Session | None = None

    def may_open(self, uid: str, now: datetime) -> bool:
        """Tell whether this person may see a study: by role, or because the glass is broken."""
        if self.roles & {Role.AUDITOR, Role.READER}:
            return True
        opened = self.session.opened if self.session else ()
        return any(name == uid and until > now for name, until in opened)


@dataclass(frozen=True, slots=True)
class Seen:
    """Whose data a page shows, and what was asked for: what the audit row says of a look."""

    study_instance_uid: str = ""
    patient_id: str = ""
    accession_number: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome = Outcome.OK


@dataclass(frozen=True, slots=True)
class Answer:
    """A page (``template``), a file (``body``), or the way to another page (``to``)."""

    template: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    body: bytes | Iterator[bytes] = b""
    media_type: str = "text/html; charset=utf-8"
    filename: str = ""
    to: str = ""
    status: int = 200
    seen: Seen = Seen()
    session_token: str | None = None  # "" takes it away
    cookies: Mapping[str, str] = field(default_factory=dict)  # further ones; "" takes one away
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, by somebody whose roles allow it."""

    settings: Settings
    store: Store
    path: str
    base_url: str  # of the desk itself
    address: str  # of who asks
    language: str
    now: datetime
    person: Person | None = None
    parts: Mapping[str, str] = field(default_factory=dict)  # of the path
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)

    @property
    def who(self) -> Person:
        """The person; pages that nobody must sign in for have none."""
        if self.person is None:
            raise LookupError("nobody is signed in")
        return self.person

    def record(self, event: AuditEvent, seen: Seen | None = None, **detail: Any) -> AuditRecord:
        """Return the audit row of what this person does."""
        what = seen or Seen()
        person = self.person
        facts: dict[str, Any] = {"page": self.path, "address": self.address, "at": "desk"}
        if person is not None:
            facts |= {"subject": person.subject, "roles": sorted(person.roles)}
            if person.session is not None:
                facts["session"] = person.session.hash[:16]
        return AuditRecord(
            event,
            what.outcome,
            actor=person.name if person else "",
            study_instance_uid=what.study_instance_uid,
            patient_id=what.patient_id,
            accession_number=what.accession_number,
            detail=facts | dict(what.detail) | detail,
        )


Page = Callable[[Visit], Answer]


class NotHere(Exception):
    """There is no such thing; ``seen`` says what was looked for."""

    def __init__(self, seen: Seen | None = None) -> None:
        super().__init__("there is no such page")
        self.seen = seen or Seen()


class NotAllowed(Exception):
    """This person may not see that; ``why`` says so in words."""

    def __init__(self, why: str = "", seen: Seen | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.seen = seen or Seen()
