"""DICOM over TLS: the contexts for both directions.

References
----------
PS3.15 B.12, BCP 195 RFC 9325 TLS Secure Transport Connection Profile: TLS 1.2 or newer, forward
secrecy and authenticated encryption only.
"""

from __future__ import annotations

import ssl
from typing import Final

from hipnode.errors import SettingsInvalid
from hipnode.settings import TLSSettings

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
