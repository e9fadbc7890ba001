"""What to do about a fault, by the key that `hipnode.answers.status` gives it."""

from __future__ import annotations

from typing import Final

_ADVICE: Final = {
    "service": "Start it: systemctl status hipnode says why it stopped.",
    "starts": "Read the service's log: it says what it waits for.",
    "hangs": "It is ended and started anew by itself. If that comes again, keep the log.",
    "clock": "Set the machine's clock by NTP.",
    "models": "The other models go on. Mend the file of the set in shadow, or take it out.",
    "disk": "Free disk space, or lower retention.images_days. Senders keep what was refused.",
    "quarantine": "Read the reason below. Once it is mended, queue the job again.",
    "waits": "Is a worker running, and is it fast enough? Images wait; nothing is lost.",
    "destination": "Results wait and are sent once it is there. Ask whoever runs it.",
    "audit:unsealed": "Start the housekeeper: it seals the log.",
    "audit:broken": "Keep the machine as it is, and tell the security department.",
    "audit:unverified": "Start the housekeeper, or verify the log from the page Verify.",
    "certificate": "Have a new certificate made, and put it in its place.",
    "further:self-test": "The page Self-test says which step was missed; ask who runs the PACS.",
    "further:quality": "The page Quality says what: a scanner, a protocol, the patients?",
    "further:audit log": "Keep the machine as it is, and tell the security department.",
}
OTHERWISE: Final = "docs/operations.md says what it means and what to do."


def advice(key: str) -> str:
    """Return in one sentence what to do about a fault."""
    kind = key.partition(":")[0]
    return next((_ADVICE[k] for k in (key, kind) if k in _ADVICE), OTHERWISE)


def every() -> tuple[str, ...]:
    """Return all that is ever advised: for whoever translates it."""
    return (*_ADVICE.values(), OTHERWISE)
