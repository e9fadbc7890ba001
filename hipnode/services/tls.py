"""DICOM over TLS: the contexts for both directions.

References
----------
PS3.15 B.12, BCP 195 RFC 9325 TLS Secure Transport Connection Profile: TLS 1.2 or newer, forward
secrecy and authenticated encryption only.
"""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from typing import Final

from hipnode.errors import SettingsInvalid
from hipnode.log import Event, get_logger
from hipnode.settings import TLSSettings

_LOOK_S: Final = 5.0
"""How often the files are looked at."""
_TLS12_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"


def server_context(tls: TLSSettings) -> ssl.SSLContext:
    """Return the context to accept connections with; with ``ca``, peers must have a certificate.

    Raises
    ------
    SettingsInvalid
        If a certificate or key cannot be loaded.
    """
    return _context(tls, ssl.PROTOCOL_TLS_SERVER)


def client_context(tls: TLSSettings) -> ssl.SSLContext:
    """Return the context to connect with; the peer's certificate and host name are checked.

    Raises
    ------
    SettingsInvalid
        If a certificate or key cannot be loaded.
    """
    return _context(tls, ssl.PROTOCOL_TLS_CLIENT)


def renewed(tls: TLSSettings, before: ssl.SSLContext) -> ssl.SSLContext:
    """Return a context of the files as they are now; what was there before, if they do not fit."""
    try:
        return client_context(tls)
    except SettingsInvalid:
        return before


class ServerTLS:
    """The context to accept connections with, which follows its files: certificates are renewed.

    Associations that are there go on as they are.

    Parameters
    ----------
    tls
        Which files.

    Attributes
    ----------
    context
        For the next connection.
    wanted
        Set it to have the files read at the next look.

    Raises
    ------
    SettingsInvalid
        If a certificate or key cannot be loaded.
    """

    def __init__(self, tls: TLSSettings) -> None:
        self.context = server_context(tls)
        self.wanted = False
        self._tls = tls
        self._look_at_s = 0.0
        self._dates = self._dated()
        self._log = get_logger(service="listener")

    def look(self) -> None:
        """Read the files if they have changed; what does not fit is told and not taken."""
        if not self.wanted and time.monotonic() < self._look_at_s:
            return
        wanted, self.wanted, self._look_at_s = self.wanted, False, time.monotonic() + _LOOK_S
        dates = self._dated()
        if dates == self._dates and not wanted:
            return
        self._dates = dates
        try:
            self.context = server_context(self._tls)
        except SettingsInvalid as error:
            self._log.error(Event.CERTIFICATE_NOT_TAKEN, reason=str(error))
        else:
            self._log.info(Event.CERTIFICATE_TAKEN)

    def _dated(self) -> list[tuple[int, int]]:
        paths = [path for path in (self._tls.certificate, self._tls.key, self._tls.ca) if path]
        dates = []
        for path in paths:
            with suppress(OSError):
                found = path.stat()
                dates.append((found.st_mtime_ns, found.st_ino))
        return dates


def _context(tls: TLSSettings, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_CIPHERS)
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.ca:
            context.load_verify_locations(tls.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        elif protocol == ssl.PROTOCOL_TLS_CLIENT:
            context.load_default_certs()
    except (OSError, ssl.SSLError) as error:
        raise SettingsInvalid(
            f"tls: {tls.certificate}, {tls.key} or {tls.ca} cannot be used: {error}"
        ) from error
    return context
