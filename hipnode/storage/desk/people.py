"""Local accounts and sessions. Each change of who may do what is on the audit log with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from hipnode.domain import AuditEvent, AuditRecord
from hipnode.domain.people import Role
from hipnode.errors import InputRefused
from hipnode.storage.audit.entries import append
from hipnode.storage.database.engine import Database
from hipnode.storage.database.people import account, session
from hipnode.storage.database.schema import from_us, to_us

ATTEMPTS: Final = 5
"""So many wrong passwords in a row, within `WINDOW`, lock an account for as long."""
WINDOW: Final = timedelta(minutes=15)
TOUCHED: Final = timedelta(seconds=30)
"""A session's use is noted no more often."""
_FORGOTTEN: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Account:
    """A local account."""

    name: str
    roles: frozenset[Role]
    password: str
    one_time: bool
    until_utc: datetime | None
    locked_until_utc: datetime | None
    disabled: bool
    made_utc: datetime
    used_utc: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is, or was, signed in. ``hash`` is that of the browser's token."""

    hash: str
    subject: str
    name: str
    roles: frozenset[Role]
    address: str
    must_change: bool
    begun_utc: datetime
    seen_utc: datetime
    ended_utc: datetime | None = None
    opened: tuple[tuple[str, datetime], ...] = ()  # studies, each until when


class People:
    """Who may use the desk, and who does.

    Parameters
    ----------
    database
        Where the rows are.
    now
        The clock.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    # --- accounts -----------------------------------------------------------------------------

    def accounts(self) -> list[Account]:
        """Return all local accounts, by name."""
        statement = select(account).order_by(account.c.name)
        return [_account(row) for row in self._database.rows(statement)]

    def account(self, name: str) -> Account | None:
        """Return an account, or None."""
        return self._database.read(lambda connection: _find(connection, name))

    def add(self, name: str, roles: Iterable[Role], password: str, *, actor: str) -> None:
        """Make an account with a one-time password (its hash), which holds for a day.

        Raises
        ------
        InputRefused
            If there is one of that name, or no role is given.
        """
        wanted = _written(roles)

        def work(connection: Connection) -> None:
            if _find(connection, name) is not None:
                raise InputRefused(f"There is an account {name} already.")
            now = self._now()
            values = {
                "name": name.lower(),
                "roles": wanted,
                "password": password,
                "one_time": True,
                "until_utc": now + timedelta(days=1),
                "made_utc": now,
            }
            connection.execute(insert(account).values(values))
            self._note(connection, actor, name, {"made": True, "roles": wanted})

        self._database.write(work)

    def change(self, name: str, *, actor: str, **changes: Any) -> None:
        """Change an account, and end its sessions.

        Parameters
        ----------
        name
            Whose.
        actor
            Who does so.
        **changes
            Of ``roles``, ``disabled`` and ``password`` (the hash of a one-time one).

        Raises
        ------
        InputRefused
            If there is no such account, or no role would be left.
        """
        values: dict[str, Any] = {}
        said: dict[str, Any] = {}
        if "roles" in changes:
            said["roles"] = values["roles"] = _written(changes["roles"])
        if "disabled" in changes:
            said["disabled"] = values["disabled"] = changes["disabled"]
        if "password" in changes:
            values |= {"password": changes["password"], "one_time": True, "failures": 0}
            values |= {"locked_until_utc": None, "until_utc": self._now() + timedelta(days=1)}
            said["one_time_password"] = True

        def work(connection: Connection) -> None:
            if _find(connection, name) is None:
                raise InputRefused(f"There is no account {name}.")
            connection.execute(update(account).where(account.c.name == name.lower()).values(values))
            _end(connection, session.c.subject == name.lower(), self._now())
            self._note(connection, actor, name, said)

        self._database.write(work)

    def set_password(self, name: str, password: str, *, keep: str) -> None:
        """Set the hash of the password that its owner has chosen; end all sessions but ``keep``."""
        values = {"password": password, "one_time": False, "until_utc": None}

        def work(connection: Connection) -> None:
            connection.execute(update(account).where(account.c.name == name.lower()).values(values))
            others = (session.c.subject == name.lower()) & (session.c.hash != keep)
            _end(connection, others, self._now())
            connection.execute(
                update(session).where(session.c.hash == keep).values(must_change=False)
            )
            self._note(connection, name, name, {"chose_password": True})

        self._database.write(work)

    def attempt(self, name: str) -> bool:
        """Count an attempt to sign in before its password is looked at; tell whether it may be.

        So that any number of attempts at once are no more than one after the other.
        """

        def work(connection: Connection) -> bool:
            locked = select(account).where(account.c.name == name.lower()).with_for_update()
            row = connection.execute(locked).first()
            if row is None:
                return True
            now = self._now()
            if row.locked_until_utc is not None and row.locked_until_utc > now:
                return False
            recent = row.failed_utc is not None and now - row.failed_utc < WINDOW
            count = (row.failures if recent else 0) + 1
            until = now + WINDOW if count >= ATTEMPTS else None
            values = {"failures": count, "failed_utc": now, "locked_until_utc": until}
            connection.execute(update(account).where(account.c.name == row.name).values(values))
            return True

        return self._database.write(work)

    def succeed(self, name: str) -> None:
        """Take back what `attempt` has counted: the password was right."""
        values = {"failures": 0, "locked_until_utc": None}
        statement = update(account).where(account.c.name == name.lower()).values(values)
        self._database.write(lambda connection: connection.execute(statement))

    # --- sessions -----------------------------------------------------------------------------

    def begin(self, begun: Session, record: AuditRecord, *, local: bool) -> None:
        """Sign somebody in: the session and its audit row, or neither."""
        values = {
            "hash": begun.hash,
            "subject": begun.subject,
            "name": begun.name,
            "roles": _written(begun.roles),
            "address": begun.address,
            "must_change": begun.must_change,
            "begun_utc": begun.begun_utc,
            "seen_utc": begun.seen_utc,
        }

        def work(connection: Connection) -> None:
            now = self._now()
            connection.execute(insert(session).values(values))
            if local:
                used = {"used_utc": now, "failures": 0, "locked_until_utc": None}
                connection.execute(
                    update(account).where(account.c.name == begun.subject).values(used)
                )
            old = session.c.seen_utc < now - _FORGOTTEN
            connection.execute(delete(session).where(old))
            append(connection, now, [record])

        self._database.write(work)

    def session(self, token_hash: str) -> Session | None:
        """Return a session, or None."""
        statement = select(session).where(session.c.hash == token_hash)
        row = self._database.read(lambda connection: connection.execute(statement).first())
        return None if row is None else _session(row)

    def sessions(self) -> list[Session]:
        """Return the sessions of the last days, the newest first; a hundred at most."""
        statement = select(session).order_by(session.c.seen_utc.desc()).limit(100)
        return [_session(row) for row in self._database.rows(statement)]

    def touch(self, used: Session) -> None:
        """Note that a session is used, where that was not noted just now."""
        now = self._now()
        if now - used.seen_utc > TOUCHED:
            statement = update(session).where(session.c.hash == used.hash).values(seen_utc=now)
            self._database.write(lambda connection: connection.execute(statement))

    def end(self, prefix: str, record: AuditRecord) -> int:
        """End the sessions whose hash begins so (16 digits at least); return how many."""

        def work(connection: Connection) -> int:
            count = _end(
                connection, session.c.hash.startswith(prefix, autoescape=True), self._now()
            )
            append(connection, self._now(), [record])
            return count

        return self._database.write(work) if len(prefix) >= 16 else 0

    def open_study(self, used: Session, uid: str, until: datetime, record: AuditRecord) -> None:
        """Let a session see a study until then: it broke the glass, and ``record`` says why."""
        opened = {name: to_us(moment) for name, moment in used.opened} | {uid: to_us(until)}

        def work(connection: Connection) -> None:
            values = {"opened": json.dumps(opened)}
            connection.execute(update(session).where(session.c.hash == used.hash).values(values))
            append(connection, self._now(), [record])

        self._database.write(work)

    def _note(self, connection: Connection, actor: str, name: str, said: dict[str, Any]) -> None:
        detail = {"account": name.lower(), **said}
        record = AuditRecord(AuditEvent.ACCOUNT_CHANGED, actor=actor, detail=detail)
        append(connection, self._now(), [record])


def _find(connection: Connection, name: str) -> Account | None:
    statement = select(account).where(account.c.name == name.lower())
    row = connection.execute(statement).first()
    return None if row is None else _account(row)


def _end(connection: Connection, those: Any, now: datetime) -> int:
    statement = update(session).where(those, session.c.ended_utc.is_(None)).values(ended_utc=now)
    return int(connection.execute(statement).rowcount)


def _written(roles: Iterable[Role]) -> str:
    found = " ".join(sorted({Role(role).value for role in roles}))
    if not found:
        raise InputRefused("Somebody without a role can do nothing at the desk.")
    return found


def _account(row: Row[Any]) -> Account:
    return Account(
        row.name,
        frozenset(map(Role, row.roles.split())),
        row.password,
        row.one_time,
        row.until_utc,
        row.locked_until_utc,
        row.disabled,
        row.made_utc,
        row.used_utc,
    )


def _session(row: Row[Any]) -> Session:
    return Session(
        row.hash,
        row.subject,
        row.name,
        frozenset(map(Role, row.roles.split())),
        row.address,
        row.must_change,
        row.begun_utc,
        row.seen_utc,
        row.ended_utc,
        tuple((uid, from_us(until)) for uid, until in json.loads(row.opened).items()),
    )
