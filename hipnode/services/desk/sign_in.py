"""Who comes in: by a session, by a local account, or because a proxy vouches for them."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from hipnode.answers.shown import plain
from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.domain.people import Role
from hipnode.services.desk import passwords
from hipnode.services.desk.visit import Answer, NotHere, Person, Seen, Visit
from hipnode.settings import DeskSettings
from hipnode.storage import DeskAccount, Session, Store

FAILED: Final = "Name or password is wrong, or the account is locked."


def token_hash(token: str) -> str:
    """Return what is kept of a session's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def by_session(store: Store, settings: DeskSettings, token: str, *, used: bool) -> Person | None:
    """Return who has this token, unless the session has ended."""
    if not token:
        return None
    people = store.desk.people
    found = people.session(token_hash(token))
    if found is None or found.ended_utc is not None:
        return None
    now = store.now()
    idle, longest = timedelta(seconds=settings.idle_s), timedelta(seconds=settings.longest_s)
    if now - found.seen_utc > idle or now - found.begun_utc > longest:
        return None
    if used:
        people.touch(found)
    return Person(found.subject, found.name, found.roles, found)


def by_proxy(
    store: Store,
    settings: DeskSettings,
    headers: Mapping[str, str],
    address: str,
    known: dict[str, float],
) -> Person | None:
    """Return whom the proxy vouches for; the caller has seen that it is the proxy who asks.

    ``known`` is whom it has vouched for so far, each with the time of the last request: who was
    away for longer than a session lasts signs in anew.
    """
    subject = headers.get(settings.user_header.lower(), "").strip()
    groups = headers.get(settings.groups_header.lower(), "")
    roles = roles_of(settings, groups.replace(";", ",").split(","))
    if not subject:
        return None
    person = Person(subject, plain(subject)[:128], roles)
    now_s = time.monotonic()
    last_s = known.get(subject)
    if last_s is None or now_s - last_s > settings.idle_s:
        detail = {"subject": subject, "roles": sorted(roles), "address": address, "how": "proxy"}
        store.audit.append(AuditRecord(AuditEvent.SIGNED_IN, actor=person.name, detail=detail))
    known[subject] = now_s
    return person


def is_trusted(settings: DeskSettings, peer: str) -> bool:
    """Tell whether an address is a trusted proxy's."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in ip_network(net, strict=False) for net in settings.trusted_proxies)


def roles_of(settings: DeskSettings, groups: list[str]) -> frozenset[Role]:
    """Return the roles that the settings give to these groups."""
    known = (settings.roles.get(group.strip()) for group in groups)
    return frozenset(role for role in known if role is not None)


def safe_path(wanted: str) -> str:
    """Return where to go after signing in: a page of the desk, never another place."""
    parts = urlsplit(wanted)
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    if parts.scheme or parts.netloc or not is_ours or not wanted.isprintable():
        return "/"
    return wanted


# --- pages ----------------------------------------------------------------------------------------


def form(visit: Visit, why: str = "", status: int = 200) -> Answer:
    """Show how to sign in."""
    to = safe_path(visit.query.get("to") or visit.form.get("to") or "/")
    values = {"why": why, "to": to, "way": visit.settings.desk.sign_in}
    return Answer("sign_in.html", values, status=status)


def sign_in(visit: Visit) -> Answer:
    """Sign in with a local account."""
    if visit.settings.desk.sign_in != "accounts":
        raise NotHere
    name = visit.form.get("name", "").strip().lower()[:128]
    account, why = _tried(visit.store, name, visit.form.get("password", ""))
    if account is None:
        refused = visit.record(
            AuditEvent.SIGN_IN_REFUSED, Seen(outcome=Outcome.REFUSED), name=plain(name), reason=why
        )
        visit.store.audit.append(refused)
        return form(visit, FAILED, 401)
    return begin(visit, account.name, account.name, account.roles, "account", account.one_time)


def known_by_password(store: Store, name: str, given: str) -> DeskAccount | None:
    """Return the account that a password opens, or None; a wrong one counts, and is audited."""
    name = name.strip().lower()[:128]
    account, why = _tried(store, name, given)
    if account is None:
        detail = {"name": plain(name), "reason": why, "at": "terminal"}
        refused = AuditRecord(AuditEvent.SIGN_IN_REFUSED, Outcome.REFUSED, detail=detail)
        store.audit.append(refused)
    else:
        store.desk.people.succeed(account.name)
    return account


def _tried(store: Store, name: str, given: str) -> tuple[DeskAccount | None, str]:
    """Return the account that a password opens; or None, and why."""
    people = store.desk.people
    account = people.account(name)
    may = people.attempt(name)
    right = passwords.is_right(given, account.password if account else None)
    until = account.until_utc if account else None
    expired = until is not None and until < store.now()
    if account is None or not may or not right or expired or account.disabled:
        why = "locked" if not may else "disabled" if account and account.disabled else "wrong"
        return None, why
    return account, ""


def begin(
    visit: Visit,
    subject: str,
    name: str,
    roles: frozenset[Role],
    how: str,
    must_change: bool = False,
) -> Answer:
    """Begin a session; its token goes to the browser, and only its hash is kept."""
    token = secrets.token_urlsafe(32)
    session = Session(
        hash=token_hash(token),
        subject=subject,
        name=name,
        roles=roles,
        address=visit.address,
        must_change=must_change,
        begun_utc=visit.now,
        seen_utc=visit.now,
    )
    detail = {
        "subject": subject,
        "roles": sorted(roles),
        "address": visit.address,
        "session": session.hash[:16],
        "how": how,
    }
    record = AuditRecord(AuditEvent.SIGNED_IN, actor=name, detail=detail)
    visit.store.desk.people.begin(session, record, local=how == "account")
    to = "/password" if must_change else safe_path(visit.form.get("to") or "/")
    return Answer(to=to, session_token=token)


def sign_out(visit: Visit) -> Answer:
    """End the session."""
    if visit.person is not None and visit.person.session is not None:
        record = visit.record(AuditEvent.SIGNED_OUT)
        visit.store.desk.people.end(visit.person.session.hash, record)
    return Answer(to="/sign-in", session_token="")


def password_form(visit: Visit, why: str = "", status: int = 200) -> Answer:
    """Show how to change one's password."""
    session = visit.who.session
    if visit.settings.desk.sign_in != "accounts" or session is None:
        raise NotHere
    return Answer("password.html", {"why": why, "must": session.must_change}, status=status)


def change_password(visit: Visit) -> Answer:
    """Change one's password."""
    session, people = visit.who.session, visit.store.desk.people
    account = people.account(visit.who.subject)
    if visit.settings.desk.sign_in != "accounts" or session is None or account is None:
        raise NotHere
    old, new = visit.form.get("old", ""), visit.form.get("new", "")
    if not people.attempt(account.name) or not passwords.is_right(old, account.password):
        return password_form(visit, FAILED, 422)
    people.succeed(account.name)
    why = passwords.why_not(new, account.name)
    if old == new:
        why = "The new password is the old one."
    if new != visit.form.get("again", ""):
        why = "The new password was not typed the same twice."
    if why:
        return password_form(visit, why, 422)
    people.set_password(account.name, passwords.hashed(new), keep=session.hash)
    return Answer(to="/")


def language(visit: Visit) -> Answer:
    """Take the other language."""
    to = visit.parts["to"]
    if to not in {"en", "de"}:
        raise NotHere
    return Answer(to="/", cookies={"hipnode-language": to})
