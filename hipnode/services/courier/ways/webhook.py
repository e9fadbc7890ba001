"""A signed webhook: what a study came to, as JSON, to a web address of the site.

What is signed is the identifier, the time and the body, so that nobody can make a message up,
change one, or send an old one again. The identifier stays the same when one is sent twice.

References
----------
Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature); RFC 2104 (HMAC).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

from hipnode.services.courier.ways.way import MessageWay, Reply
from hipnode.services.courier.ways.web import post, secret, session
from hipnode.settings import WebhookSettings


def signature(key: str, identifier: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``: version 1, HMAC with SHA-256, in base64."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    made = hmac.new(key.encode(), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(made).decode()}"


class Webhook(MessageWay):
    """POST to one address.

    Parameters
    ----------
    destination
        Its settings.
    _ae_title
        Of no use here.
    """

    def __init__(self, destination: WebhookSettings, _ae_title: str) -> None:
        self._url, self._timeout_s = destination.url, destination.timeout_s
        self._key = secret(destination.secret_file)
        self._session = session(destination)

    def send(self, path: Path) -> Reply:
        """Post what is in ``path``.

        Raises
        ------
        DestinationUnreachable
            If no answer comes.
        """
        body = path.read_bytes()
        identifier, now = str(json.loads(body)["id"]), int(time.time())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": identifier,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._key, identifier, now, body),
        }
        return post(self._session, self._url, body, headers, self._timeout_s)

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()
