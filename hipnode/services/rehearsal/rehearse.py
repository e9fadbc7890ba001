"""Everything is tried in the order in which a node needs it; nothing is changed by that."""

from __future__ import annotations

import errno
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hipnode.answers.status import EXPIRES, expected
from hipnode.errors import HipnodeError, SettingsInvalid
from hipnode.nets import load_model_set
from hipnode.pulse import SILENT_S
from hipnode.services.life.alerts import mail_server, webhook_url
from hipnode.services.life.certificates import certificates
from hipnode.services.rehearsal.destinations import destinations
from hipnode.services.rehearsal.found import Found
from hipnode.services.tls import client_context, server_context
from hipnode.settings import AlertSettings, Settings, TLSSettings
from hipnode.storage import Store

_PATIENCE_S: Final = 10.0


def rehearse(settings: Settings) -> Iterator[Found]:
    """Yield what came of each thing, as soon as it was tried."""
    runs: set[str] = set()
    yield from _storage(settings, runs)
    yield from _models(settings)
    yield from _tls(settings)
    yield from _ports(settings, runs)
    yield from _callers(settings)
    yield from destinations(settings)
    for alert in settings.alerts:
        yield _alert(alert)


def _storage(settings: Settings, runs: set[str]) -> Iterator[Found]:
    """Open database and folder; note which services run here."""
    what = "database and data_dir"
    url = settings.database_url
    path = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
    if path is not None and not path.exists():  # to look would make it
        yield Found("advice", what, f"{path} is not there yet: the first start makes it")
        return
    try:
        store = Store.open(settings)
    except HipnodeError as error:
        if "(none)" in str(error):
            yield Found("advice", what, "the database is empty: the first start makes its tables")
        else:
            yield Found("FAULT", what, str(error))
        return
    try:
        host = socket.gethostname()
        here = [s for s in store.services.all() if s.beat.host == host and s.silent_s <= SILENT_S]
        runs.update(state.beat.name for state in here)
        yield Found("ok", what, f"running here: {', '.join(sorted(runs)) or 'nothing'}")
        free, low = store.files.free_bytes(), settings.retention.disk_low_bytes
        if free < low:
            says = f"{free} bytes free, less than retention.disk_low_bytes: images are refused"
            yield Found("FAULT", "disk", says)
    except HipnodeError as error:
        yield Found("FAULT", what, str(error))
    finally:
        store.close()


def _models(settings: Settings) -> Iterator[Found]:
    """Load every set as a worker does: digests, networks, and the golden answers of each bundle."""
    worker = settings.worker
    named = [("worker.model_set", worker.model_set, False)] + [
        (f"worker.model_sets.{n}.set", rule.set, rule.shadow)
        for n, rule in enumerate(worker.model_sets)
    ]
    for key, reference, shadow in named:
        what = f"{key} = {reference}" + (" (shadow)" if shadow else "")
        try:
            loaded = load_model_set(reference, worker.device, worker.threads or 1)
        except HipnodeError as error:
            end = "; images are taken and reported without it" if shadow else ""
            yield Found("FAULT", what, f"{error}{end}")
        else:
            models = ", ".join(
                f"{model.spec.name} {model.spec.version}" for model in loaded.models.values()
            )
            yield Found("ok", what, f"{loaded.digest[:12]}: {models}")


def _tls(settings: Settings) -> Iterator[Found]:
    tables: list[tuple[str, TLSSettings | None, Callable[[TLSSettings], ssl.SSLContext]]]
    tables = [
        ("listener.tls", settings.listener.tls, server_context),
        ("feedback.tls", settings.feedback.tls, server_context),
    ]
    tables += [
        (f"destinations.{place.name}.tls", getattr(place, "tls", None), client_context)
        for place in settings.destinations
    ]
    for what, tls, context in tables:
        if tls is not None:
            try:
                context(tls)
            except SettingsInvalid as error:
                yield Found("FAULT", what, str(error))
            else:
                yield Found("ok", what, "certificate and key belong together")
    now = datetime.now(UTC)
    for certificate in certificates(settings):
        ends = certificate.expires_utc
        if ends is None:
            yield Found("FAULT", certificate.name, certificate.why)
        elif ends <= now:
            yield Found("FAULT", certificate.name, f"expired on {ends:%Y-%m-%d}")
        else:
            soon = ends - now < max(EXPIRES, timedelta(days=60))
            says = f"ends on {ends:%Y-%m-%d}, in {(ends - now).days} days"
            yield Found("advice" if soon else "ok", certificate.name, says)


def _ports(settings: Settings, runs: set[str]) -> Iterator[Found]:
    """Bind each port that a service would, all at once: two may be the same by mistake.

    One that this node has already is as it should be.
    """
    listener, health, feedback = settings.listener, settings.health, settings.feedback
    wanted = [("listener.port", "listener", listener.host, listener.port)]
    if feedback.port:
        wanted.append(("feedback.port", "listener", feedback.host, feedback.port))
    if health.port:
        wanted += [
            ("health.port", service.name, health.host, health.port + n)
            for n, service in enumerate(expected(settings))
        ]
    if settings.desk.port:
        wanted.append(("desk.port", "desk", settings.desk.host, settings.desk.port))
    with ExitStack() as bound:
        for key, name, host, port in wanted:
            what = f"{key} ({host}:{port})"
            try:
                bound.enter_context(socket.create_server((host, port)))
                yield Found("ok", what, "can be bound")
            except OSError as error:
                if error.errno == errno.EADDRINUSE and name in runs:
                    yield Found("ok", what, f"this node's {name} has it")
                else:
                    says = error.strerror or type(error).__name__
                    yield Found("FAULT", what, f"cannot be bound: {says}")
    if feedback.port and not feedback.senders:
        says = "none is named: no final report will be taken from anybody"
        yield Found("advice", "feedback.senders", says)
    if listener.host in {"127.0.0.1", "localhost", "::1"}:
        says = "only this machine can reach it; 0.0.0.0 listens on every network"
        yield Found("advice", "listener.host", says)


def _callers(settings: Settings) -> Iterator[Found]:
    listener = settings.listener
    if listener.accept_any_caller:
        says = "anybody who can reach the port may send"
        yield Found("advice", "listener.accept_any_caller", says)
    elif not listener.callers:
        says = "none is named: every association will be refused, and no image taken"
        yield Found("FAULT", "listener.callers", says)
    else:
        titles = ", ".join(caller.ae_title for caller in listener.callers)
        yield Found("ok", "listener.callers", titles)


def _alert(alert: AlertSettings) -> Found:
    """Reach the mail server, or the webhook's; no message is sent."""
    what = f"alerts.{alert.name}"
    try:
        if alert.mail_to:
            with mail_server(alert) as door:
                code, _ = door.noop()
            return Found("ok", what, f"the mail server answers ({code})")
        parts = urlsplit(webhook_url(alert))  # its path may hold a secret
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), _PATIENCE_S):
            return Found("ok", what, "the webhook's server can be reached")
    except (OSError, smtplib.SMTPException, ValueError, HipnodeError) as error:
        return Found("FAULT", what, f"nobody would be told: {type(error).__name__}")
