"""What the ways over HTTP have in common: the session, and what an answer means.

References
----------
RFC 9110, 15 (status codes), 10.2.3 (Retry-After).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import requests

from hipnode.errors import DestinationUnreachable, SettingsInvalid
from hipnode.services.courier.ways.way import Answer, Reply
from hipnode.settings import HTTPSettings

_BUSY: Final = frozenset({408, 425, 429, 502, 503, 504})
"""It, or a gateway before it, cannot take anything now."""


def secret(path: Path) -> str:
    """Return what a secret's file says.

    Raises
    ------
    SettingsInvalid
        If it cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} cannot be read: {type(error).__name__}") from error
    if not text:
        raise SettingsInvalid(f"{path} is empty")
    return text


def session(settings: HTTPSettings) -> requests.Session:
    """Return a session that checks the other's certificate and carries the token.

    Raises
    ------
    SettingsInvalid
        If the token's file cannot be read.
    """
    made = requests.Session()
    made.trust_env = False  # no proxy, no password file of whoever runs the node
    if settings.ca is not None:
        made.verify = str(settings.ca)
    if settings.token_file is not None:
        made.headers["Authorization"] = f"Bearer {secret(settings.token_file)}"
    return made


def post(
    made: requests.Session, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float
) -> Reply:
    """Post a body, and return what was answered.

    Raises
    ------
    DestinationUnreachable
        If no answer comes, or who we are is not accepted.
    """
    try:
        answer = made.post(
            url, data=body, headers=dict(headers), timeout=timeout_s, allow_redirects=False
        )
    except (requests.RequestException, OSError) as error:
        raise DestinationUnreachable(f"no answer: {type(error).__name__}") from error
    return Reply(answer_of(answer.status_code), f"HTTP {answer.status_code}")


def answer_of(status: int) -> Answer:
    """Return what a status code means for the delivery.

    Raises
    ------
    DestinationUnreachable
        If it says who we are is not accepted: nothing will be taken before a person mends that.
    """
    if 200 <= status < 300:
        return Answer.TAKEN
    if status in (401, 403, 407):
        raise DestinationUnreachable(f"the destination does not accept who we are (HTTP {status})")
    return Answer.BUSY if status in _BUSY else Answer.REFUSED
