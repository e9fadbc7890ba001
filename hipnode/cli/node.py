"""``hipnode serve`` and each service alone."""

from __future__ import annotations

import gc
import getpass
import os
import signal
import sys
import threading
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from hipnode.settings import Settings

NO_DESK: Final = "The desk is an option that is not installed: pip install 'hipnode[desk]'."
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The settings file; default: $HIPNODE_CONFIG."),
]
SupervisedOption = Annotated[
    bool, typer.Option("--supervised", hidden=True, help="Stop when standard input ends.")
]


def serve(config: ConfigOption = None) -> None:
    """Run the whole node: listener, worker, courier, housekeeper; the desk if it has a port."""
    gc.disable()  # as for each service
    from hipnode import cli, log, settings
    from hipnode.answers.status import expected
    from hipnode.services import supervisor

    effective = settings.load(config)
    log.configure(effective.log.level, effective.log.format)
    supervisor.share()
    if failed := supervisor.alone(partial(cli.main, partial(_prepare, effective))):
        sys.exit(failed)
    arguments = ("--config", str(config)) if config else ()
    grace_s = effective.worker.job_timeout_s + 10
    commands = tuple(service.command for service in expected(effective))
    sys.exit(supervisor.serve(commands, arguments, cli.main, grace_s))


def _prepare(effective: Settings) -> None:
    """Bring the database up to date, once, before the services would race to do it."""
    from hipnode.errors import DatabaseDamaged
    from hipnode.storage import Store

    store = Store.open(effective, migrate=True)
    try:
        if found := store.check_database():
            raise DatabaseDamaged(f"The database is damaged ({found[0]}): `hipnode restore`.")
    finally:
        store.close()


def listen(config: ConfigOption = None, supervised: SupervisedOption = False) -> None:
    """Take images in (C-STORE) and queue them."""
    _run("listener", config, supervised)


def work(config: ConfigOption = None, supervised: SupervisedOption = False) -> None:
    """Read queued images and make reports."""
    _run("worker", config, supervised)


def deliver(config: ConfigOption = None, supervised: SupervisedOption = False) -> None:
    """Send reports to their destinations."""
    _run("courier", config, supervised)


def housekeep(config: ConfigOption = None, supervised: SupervisedOption = False) -> None:
    """Expire leases, seal and verify the audit log, retire old files."""
    _run("housekeeper", config, supervised)


def desk(config: ConfigOption = None, supervised: SupervisedOption = False) -> None:
    """Show people in a browser what happens in the node."""
    from hipnode.errors import SettingsInvalid

    try:
        _run("desk", config, supervised)
    except ModuleNotFoundError as error:
        raise SettingsInvalid(NO_DESK) from error


def _run(name: str, config: Path | None, supervised: bool) -> None:
    gc.disable()  # looking again and again through what importing makes took a sixth of the start
    from hipnode import __version__, log, settings
    from hipnode.domain import AuditEvent, AuditRecord
    from hipnode.services.life.heart import alive
    from hipnode.storage import Store

    service = import_module(f"hipnode.services.{name}.service")
    effective = settings.load(config)
    log.configure(effective.log.level, effective.log.format)
    stop = stop_on_signals()
    if supervised:
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    logger = log.get_logger(service=name)
    store = Store.open(effective, migrate=not supervised)
    try:
        detail = {"service": name, "version": __version__, "settings": effective.digest()}
        actor = getpass.getuser()
        store.audit.append(AuditRecord(AuditEvent.SERVICE_STARTED, actor=actor, detail=detail))
        logger.info(log.Event.SERVICE_STARTED, pid=os.getpid(), version=__version__)
        gc.freeze()  # what is there by now stays
        gc.enable()
        with alive(name, effective, store):
            if name == "listener":
                service.serve(effective, store, stop, partial(_announce, effective))
            else:
                service.run(effective, store, stop)
        store.audit.append(AuditRecord(AuditEvent.SERVICE_STOPPED, actor=actor, detail=detail))
        logger.info(log.Event.SERVICE_STOPPED, pid=os.getpid())
        if name == "housekeeper":
            store.audit.seal()  # what the services said last, this one included
    finally:
        store.close()


def _announce(effective: Settings, port: int) -> None:
    where = f"{effective.listener.host}:{port} as {effective.node.ae_title}"
    typer.echo(f"hipnode: listening on {where}")
    sys.stdout.flush()


def stop_on_signals() -> threading.Event:
    """Return what SIGTERM and SIGINT set, however often they come; what is ignored stays so.

    A handler runs in the middle of whatever the main thread does. Setting an event takes a lock,
    and that thread may hold it, in the handler of the signal before, say: it would wait for itself.
    So a thread of its own sets it. Ringing its bell is safe in a handler. Signals that come later
    are ignored: Python lets go of a handler while it ends, and one that came then would kill it.
    """
    stop = threading.Event()
    bell: SimpleQueue[None] = SimpleQueue()

    def stop_when_it_rings() -> None:
        bell.get()
        stop.set()

    threading.Thread(target=stop_when_it_rings, name="signals", daemon=True).start()
    both = (signal.SIGTERM, signal.SIGINT)
    numbers = [number for number in both if signal.getsignal(number) is not signal.SIG_IGN]

    def ring(*_: object) -> None:
        bell.put(None)
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    for number in numbers:
        signal.signal(number, ring)
    if not sys.stdin.isatty():  # there it means that the terminal is gone
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return stop


def _stop_at_end_of_input(stop: threading.Event) -> None:
    """Stop when the supervisor is gone, however it went: its end of our input closes with it."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()
