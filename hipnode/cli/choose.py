"""``hipnode models choice / propose / confirm / decline``: which set reports, by two people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hipnode.cli.audit import opened
from hipnode.cli.node import NO_DESK, ConfigOption
from hipnode.cli.show import plain
from hipnode.domain.choices import ROLLED_BACK

if TYPE_CHECKING:
    from hipnode.domain import AuditEvent, AuditRecord
    from hipnode.domain.choices import Who
    from hipnode.domain.people import Role
    from hipnode.storage import Store

As = Annotated[
    str, typer.Option("--as", help="Your account at the desk; its password is asked for.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, in a few words.")]


def choice(config: ConfigOption = None) -> None:
    """Show which set reports where no rule matches, who chose it, and what is proposed."""
    from hipnode.services.modelsets import ModelSets

    with opened(config) as store:
        worker = store.settings.worker
        known = ModelSets(worker, store.desk.choices.confirmed)
        typer.echo(plain(f"reports: {known.references[known.default]} {known.default[:16]}"))
        typer.echo(plain(f"the file says: {worker.model_set} {known.of_file[:16]}"))
        if known.why_not:
            typer.echo(plain(f"what was chosen does not count: {known.why_not}"))
        for made in store.desk.choices.newest():
            by = f"{made.proposed_by.name} ({made.reason})"
            if made.decided_by:
                by += f", {made.decided_by.name} ({made.decided_reason})"
            when = f"{made.proposed_utc:%Y-%m-%d %H:%M}"
            typer.echo(
                plain(f"{made.id:>4}  {when}  {made.state.value:<9}  {made.reference}: {by}")
            )


def propose(
    name: As,
    model_set: Annotated[str, typer.Argument(help="A set that the settings have in shadow.")] = "",
    reason: Reason = "",
    back: Annotated[
        bool, typer.Option("--roll-back", help="Propose what the settings' file says.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Propose that another set report; it does once another person has confirmed it."""
    from hipnode.domain import AuditEvent
    from hipnode.services.desk.roles import PROPOSING
    from hipnode.services.modelsets import proposal

    if bool(model_set) == back:
        raise typer.BadParameter("name a set, or say --roll-back")
    with opened(config) as store:
        who = _person(store, name, PROPOSING)
        wanted = store.settings.worker.model_set if back else model_set
        made = proposal(store.settings, wanted, who, reason or (ROLLED_BACK if back else ""))
        store.desk.choices.propose(made, _record(AuditEvent.MODELS_PROPOSED, who))
    typer.echo("proposed; another person confirms: hipnode models confirm")


def confirm(name: As, reason: Reason, config: ConfigOption = None) -> None:
    """Confirm the open proposal: an administrator, and another person than who made it."""
    from hipnode.domain import AuditEvent
    from hipnode.domain.choices import ChoiceState
    from hipnode.services.desk.roles import CONFIRMING
    from hipnode.services.modelsets import check

    with opened(config) as store:
        who = _person(store, name, CONFIRMING)
        made = store.desk.choices.proposed()
        check(store.settings, made)
        record = _record(AuditEvent.MODELS_CONFIRMED, who)
        store.desk.choices.decide(made.id, ChoiceState.CONFIRMED, who, reason, record)
    typer.echo(plain(f"{made.reference} reports from now on"))


def decline(name: As, reason: Reason, config: ConfigOption = None) -> None:
    """Decline the open proposal, or take it back."""
    from hipnode.domain import AuditEvent
    from hipnode.domain.choices import ChoiceState
    from hipnode.services.desk.roles import PROPOSING

    with opened(config) as store:
        who = _person(store, name, PROPOSING)
        made = store.desk.choices.proposed()
        record = _record(AuditEvent.MODELS_DECLINED, who)
        store.desk.choices.decide(made.id, ChoiceState.DECLINED, who, reason, record)
    typer.echo("declined")


def _person(store: Store, name: str, roles: frozenset[Role]) -> Who:
    """Ask for the password of an account, and return whose it is.

    Whoever works as the node's user is one account to the system, however many they are.
    """
    from hipnode.domain.choices import Who
    from hipnode.errors import InputRefused, SettingsInvalid

    try:
        from hipnode.services.desk.sign_in import known_by_password
    except ImportError as error:
        raise SettingsInvalid(NO_DESK) from error
    given = typer.prompt(f"Password of {plain(name)}", hide_input=True)
    account = known_by_password(store, name, given)
    if account is None or account.one_time:
        raise InputRefused("The password is wrong, or was never changed at the desk.")
    if not account.roles & roles:
        raise InputRefused("None of this account's roles may do that.")
    return Who(account.name, account.name)


def _record(event: AuditEvent, who: Who) -> AuditRecord:
    from hipnode.domain import AuditRecord

    return AuditRecord(event, actor=who.name, detail={"at": "terminal", "subject": who.subject})
