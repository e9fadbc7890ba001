"""``hipnode self-test``: a phantom goes to the PACS now, and its report must come back."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hipnode.cli.node import ConfigOption
from hipnode.cli.show import plain

if TYPE_CHECKING:
    from hipnode.domain.selftest import SelfTest
    from hipnode.storage import Store

_LOOK_S: Final = 1.0
_STEPS: Final = (
    ("sent_utc", "sent to the PACS"),
    ("came_utc", "came back from the PACS"),
    ("read_utc", "read"),
    ("delivered_utc", "report delivered"),
    ("seen_utc", "report seen in the PACS by C-FIND"),
    ("withdrawn_utc", "image taken back by a rejection note"),
)


def self_test(
    config: ConfigOption = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Only show the newest; start none.")
    ] = False,
) -> None:
    """Test the whole way now: PACS, route, reading, report, PACS; the running node does it."""
    from hipnode import settings
    from hipnode.domain.selftest import SelfTestState, matter_of
    from hipnode.errors import SettingsInvalid
    from hipnode.storage import Store

    effective = settings.load(config)
    store = Store.open(effective)
    try:
        if listing:
            for test in store.self_tests.newest(30):
                typer.echo(plain(_line(test)))
            return
        if not effective.self_test.send_to:
            raise SettingsInvalid("self_test.send_to is empty: name the destination to test.")
        day = store.now().date()
        asked = store.self_tests.ask(day, matter_of(day).word, actor=getpass.getuser())
        if asked is None:
            raise typer.Exit(1)
        typer.echo(f"self-test {asked.accession_number}: {asked.matter}")
        ended = _followed(store, asked.id, effective.self_test.within_s)
        if ended.state is not SelfTestState.PASSED:
            raise typer.Exit(1)
    finally:
        store.close()


def _followed(store: Store, number: int, within_s: float) -> SelfTest:
    """Say of each step when it was reached, until the end."""
    said: set[str] = set()
    until_s = time.monotonic() + within_s + 600
    while True:
        test = next(each for each in store.self_tests.newest(1000) if each.id == number)
        for name, words in _STEPS:
            moment = getattr(test, name)
            if moment and name not in said:
                said.add(name)
                more = f": {test.said}" if name == "read_utc" else ""
                typer.echo(plain(f"{moment:%H:%M:%S} UTC  {words}{more}"))
        if test.ended_utc and (test.withdrawn_utc or test.not_withdrawn or not test.sent_utc):
            break
        if time.monotonic() > until_s:
            break
        time.sleep(_LOOK_S)
    typer.echo(plain(f"{test.state.value}{f': {test.why}' if test.why else ''}"))
    if test.not_withdrawn:
        typer.echo(plain(f"the image has not been taken back: {test.not_withdrawn}"))
    return test


def _line(test: SelfTest) -> str:
    said = f": {test.why}" if test.why else ""
    return f"{test.asked_utc:%Y-%m-%d %H:%M} UTC  {test.matter:<18} {test.state.value}{said}"
