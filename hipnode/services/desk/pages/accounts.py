"""Accounts and sessions: who may come in, who is in, and who is shown out."""

from __future__ import annotations

from hipnode.domain import AuditEvent
from hipnode.errors import InputRefused
from hipnode.services.desk.visit import Answer, Seen, Visit


def accounts(visit: Visit) -> Answer:
    """Show accounts and sessions."""
    people = visit.store.desk.people
    values = {
        "accounts": people.accounts() if visit.settings.desk.sign_in == "accounts" else [],
        "way": visit.settings.desk.sign_in,
        "roles": sorted(visit.settings.desk.roles.items()),
        "sessions": people.sessions(),
    }
    return Answer("accounts.html", values)


def change(visit: Visit) -> Answer:
    """Close an account, or open it again; its sessions end."""
    name, wanted = visit.form.get("name", ""), visit.form.get("disabled", "")
    if name.lower() == visit.who.subject:
        raise InputRefused("Nobody closes their own account.")
    people = visit.store.desk.people
    people.change(name, actor=visit.who.name, disabled=wanted == "yes")
    return Answer(to="/accounts")


def end(visit: Visit) -> Answer:
    """End a session."""
    prefix = visit.form.get("session", "")
    record = visit.record(AuditEvent.SIGNED_OUT, Seen(detail={"ended": prefix[:16]}))
    visit.store.desk.people.end(prefix, record)
    return Answer(to="/accounts")
