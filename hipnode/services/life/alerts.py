"""Messages that the node sends by itself: one when a trouble begins, one when it ends.

Every service watches, and one of them looks each time: so a dead housekeeper is told of too. Only
where all services of a node are gone nobody is left to say so: Prometheus, or any other system that
asks from outside, is for that.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Final

from hipnode.errors import HipnodeError
from hipnode.log import Event, get_logger
from hipnode.services.life.look import look
from hipnode.settings import AlertSettings, Settings
from hipnode.storage import Notice, Store

LOOK_S: Final = 15.0
_PATIENCE_S: Final = 15.0
_HELD_S: Final = 2.0
_DATABASE: Final = "database"


class NotTold(HipnodeError):
    """The message could not be handed over."""


class Watch:
    """Looks for troubles, and tells.

    Parameters
    ----------
    name
        The service in which it watches.
    settings
        The node's settings.
    store
        Where troubles and messages are kept.
    """

    def __init__(self, name: str, settings: Settings, store: Store) -> None:
        self._name = name
        self._settings = settings
        self._store = store
        self._alerts = {alert.name: alert for alert in settings.alerts}
        self._away_since: tuple[float, datetime] | None = None
        self._told_away = False
        self._log = get_logger(service=name)

    def look(self) -> None:
        """Look, if it is this service's turn, and send what is to be sent."""
        try:
            if self._store.troubles.take_turn(LOOK_S):
                found = look(self._settings, self._store)["faults"]
                faults = {fault["key"]: fault["what"] for fault in found}
                hold_s = self._settings.health.hold_s
                self._store.troubles.note(faults, self._alerts, hold_s)
                self._send_due()
        except HipnodeError as error:
            self._database_is_away(str(error))
        else:
            self._database_is_back()

    def _send_due(self) -> None:
        for message in self._store.troubles.take_due():
            alert = self._alerts.get(message.alert)
            if alert is None:  # the settings do not name it any more
                self._store.troubles.sent(message)
                continue
            try:
                tell(self._settings, alert, message)
            except NotTold as error:
                if not message.attempts:
                    self._log.error(Event.ALERT_FAILED, destination=alert.name, reason=str(error))
                self._store.troubles.not_sent(message, str(error))
            else:
                self._log.info(Event.ALERT_SENT, destination=alert.name, reason=message.key)
                self._store.troubles.sent(message)

    # --- the database itself: what cannot be kept there, one service remembers ----------------

    def _database_is_away(self, why: str) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic(), datetime.now(UTC)
        lasted_s = time.monotonic() - self._away_since[0]
        if not self._told_away and lasted_s >= self._settings.health.hold_s:
            self._told_away = self._tell_of_database(why, ended=False)

    def _database_is_back(self) -> None:
        if not self._told_away or self._tell_of_database("The database is back.", ended=True):
            self._away_since, self._told_away = None, False

    def _tell_of_database(self, what: str, *, ended: bool) -> bool:
        """Tell of the database, if that is this service's part; tell whether anybody heard."""
        if self._name != "housekeeper" or self._away_since is None:
            return True
        since, now = self._away_since[1], datetime.now(UTC)
        message = Notice(0, "", _DATABASE, what, ended, since, now, 0)
        heard = False
        for alert in self._settings.alerts:
            with suppress(NotTold):
                tell(self._settings, alert, message)
                heard = True
        return heard


@contextmanager
def watching(name: str, settings: Settings, store: Store) -> Iterator[None]:
    """Watch meanwhile, in a thread of its own: a mail server may take its time."""
    watch, over = Watch(name, settings, store), threading.Event()

    def go_on() -> None:
        while not over.wait(LOOK_S / 3):
            watch.look()

    thread = threading.Thread(target=go_on, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_HELD_S)


# --- telling --------------------------------------------------------------------------------------


def tell(settings: Settings, alert: AlertSettings, message: Notice) -> None:
    """Hand a message over.

    Raises
    ------
    NotTold
        Saying why, without the webhook's URL: that may hold a secret.
    """
    try:
        if alert.mail_to:
            _mail(settings, alert, message)
        else:
            _post(settings, alert, message)
    except urllib.error.HTTPError as error:
        raise NotTold(f"the webhook answers {error.code}") from error
    except (OSError, smtplib.SMTPException, ValueError) as error:
        reason = getattr(error, "reason", "") or type(error).__name__
        raise NotTold(f"{'the mail server' if alert.mail_to else 'the webhook'}: {reason}") from (
            error
        )


def _post(settings: Settings, alert: AlertSettings, message: Notice) -> None:
    url = webhook_url(alert)
    document = {
        "node": settings.node.name,
        "ae_title": settings.node.ae_title,
        "state": "ended" if message.ended else "began",
        "key": message.key,
        "what": message.what,
        "since_utc": message.since_utc.isoformat(timespec="seconds"),
        "at_utc": message.at_utc.isoformat(timespec="seconds"),
        "text": _subject(settings, message),  # what chat programs show
    }
    request = urllib.request.Request(  # noqa: S310 - http or https, as checked above
        url,
        data=json.dumps(document).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "hipnode"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=_PATIENCE_S):  # noqa: S310
        pass


def webhook_url(alert: AlertSettings) -> str:
    """Return the webhook's URL, as set or from its file.

    Raises
    ------
    NotTold
        If it is none of http or https.
    """
    url = alert.webhook.get_secret_value()
    if alert.webhook_file:
        url = alert.webhook_file.read_text(encoding="utf-8").strip()
    if not url.startswith(("https://", "http://")):
        raise NotTold("the webhook is no URL of http or https")
    return url


def _mail(settings: Settings, alert: AlertSettings, message: Notice) -> None:
    mail = EmailMessage()
    mail["Subject"] = _subject(settings, message)
    mail["From"] = alert.mail_from
    mail["To"] = ", ".join(alert.mail_to)
    mail["Message-ID"] = make_msgid(domain="hipnode.invalid")
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail.set_content(
        f"{message.what}\n\n"
        f"Since {message.since_utc:%Y-%m-%d %H:%M:%S} UTC"
        + (f", until {message.at_utc:%Y-%m-%d %H:%M:%S} UTC" if message.ended else "")
        + f".\nNode {settings.node.name}, AE title {settings.node.ae_title}.\n\n"
        "`hipnode status` on the node says more; docs/operations.md says what to do.\n"
    )
    with mail_server(alert) as door:
        door.send_message(mail)


def mail_server(alert: AlertSettings) -> smtplib.SMTP:
    """Return a connection to the mail server, over TLS and signed in as the settings say.

    Raises
    ------
    OSError, smtplib.SMTPException
        If there is none.
    """
    context = ssl.create_default_context(cafile=alert.smtp_ca)
    where = alert.smtp_host, alert.smtp_port
    if alert.smtp_tls == "tls":
        door: smtplib.SMTP = smtplib.SMTP_SSL(*where, timeout=_PATIENCE_S, context=context)
    else:
        door = smtplib.SMTP(*where, timeout=_PATIENCE_S)
    if alert.smtp_tls == "starttls":
        door.starttls(context=context)
    if alert.smtp_user and alert.smtp_password_file:
        door.login(alert.smtp_user, alert.smtp_password_file.read_text(encoding="utf-8").strip())
    return door


def _subject(settings: Settings, message: Notice) -> str:
    line = " ".join(message.what.split())
    return f"[{settings.node.name}] {'over' if message.ended else 'trouble'}: {line}"[:200]
