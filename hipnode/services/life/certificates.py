"""The certificates that the settings name, and when they end."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from hipnode.answers.status import Certificate
from hipnode.settings import Settings


def certificates(settings: Settings) -> list[Certificate]:
    """Return each certificate of the settings that a peer is shown or is checked against."""
    tables = {
        "listener.tls": settings.listener.tls,
        "feedback.tls": settings.feedback.tls,
        "desk.tls": settings.desk.tls,
    } | {
        f"destinations.{place.name}.tls": getattr(place, "tls", None)
        for place in settings.destinations
    }
    return [
        _read(f"{name}.{key}", path)
        for name, tls in tables.items()
        if tls is not None
        for key, path in (("certificate", tls.certificate), ("ca", tls.ca))
        if path is not None
    ]


def _read(name: str, path: Path) -> Certificate:
    """Return the certificate of a file that ends first: a chain holds with all of its parts."""
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        return Certificate(name, None, f"{path} cannot be read: {error.strerror}")
    except ValueError:
        return Certificate(name, None, f"{path} holds no certificate")
    return Certificate(name, min(one.not_valid_after_utc for one in chain))
