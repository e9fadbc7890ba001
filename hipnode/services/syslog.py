"""Messages for syslog, as bytes.

References
----------
RFC 5424 6 (format), RFC 5425 4.3 and RFC 6587 3.4.1 (a message with its length before it).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime


def message(priority: int, at_utc: datetime, host: str, kind: str, text: bytes) -> bytes:
    """Return a message of hipnode's.

    Parameters
    ----------
    priority
        Eight times the facility, and the severity.
    at_utc
        When it happened.
    host
        This machine's name.
    kind
        MSGID: what sort of message it is.
    text
        What it says; UTF-8 where it begins with its mark.
    """
    moment = at_utc.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    head = f"<{priority}>1 {moment} {host or '-'} hipnode {os.getpid()} {kind} - "
    return head.encode("ascii", "replace") + text


def framed(made: bytes) -> bytes:
    """Return a message as it goes over a stream: its length before it."""
    return b"%d %s" % (len(made), made)
