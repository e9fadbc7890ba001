"""Services are killed at random while images flow; every image is accounted for afterwards."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hipnode.services.torture.peers import Archive, Modality
from hipnode.services.torture.site import SERVICES, Site, until
from hipnode.services.torture.table import Row

_READER: Final = "a reading process"
_ALL: Final = "all at once"
_SESSIONS: Final = "all database sessions"
_BETWEEN_S: Final = (0.2, 4.0)
_IN_ITS_START: Final = 0.25
"""How often a service is killed whether it is ready or not; else once it does its work."""
_READY_S: Final = 120.0


@dataclass(frozen=True)
class Limits:
    """How long to go on: until so many kills, or a moment of `time.monotonic`."""

    kills: int
    until_s: float


def kills(
    site: Site,
    archive: Archive,
    limits: Limits,
    chance: random.Random,
    progress: Callable[[str], None],
    end_sessions: Callable[[], int] | None = None,
) -> Row:
    """Kill, while two modalities send; then wait until everything is done, and count.

    Parameters
    ----------
    site, archive
        A node that runs, and where it delivers to.
    limits
        How long.
    chance
        Who is next, and when.
    progress
        Called with a line now and then.
    end_sessions
        Cuts everybody off from the database; None where it has no sessions.
    """
    senders = [Modality(site.port, 2.0, f"MODALITY{number}", archive) for number in (1, 2)]
    for sender in senders:
        sender.start()
    killed = _kill(site, limits, chance, progress, end_sessions)
    for sender in senders:
        sender.stopping.set()
    while any(sender.is_alive() for sender in senders):
        site.tend()
        time.sleep(0.1)
    studies = set().union(*(sender.acknowledged for sender in senders))
    settled = site.settled(300)
    broken = site.broken()
    lost, doubled = site.lost(archive, studies, settled=settled), archive.doubled()
    number = sum(killed.values())
    who = ", ".join(f"{name} {count}" for name, count in killed.most_common() if count)
    words = (
        f"{len(studies)} images in {sum(s.tries for s in senders)} tries; {who}; audit log "
        f"{broken or 'unbroken'}{'' if settled else '; still at work'}"
    )
    held = number if settled and not broken and not lost and not doubled else 0
    return Row("random kills while images flow", number, held, lost, doubled, None, words)


def _kill(
    site: Site,
    limits: Limits,
    chance: random.Random,
    progress: Callable[[str], None],
    end_sessions: Callable[[], int] | None,
) -> Counter[str]:
    killed: Counter[str] = Counter()
    victims = [*SERVICES, _READER, _ALL] + ([_SESSIONS] if end_sessions else [])
    weights = [4.0] * len(SERVICES) + [3.0, 1.0] + ([3.0] if end_sessions else [])
    while sum(killed.values()) < limits.kills and time.monotonic() < limits.until_s:
        (victim,) = chance.choices(victims, weights)
        if chance.random() > _IN_ITS_START:
            needed = {_ALL: SERVICES, _READER: ("work",), _SESSIONS: ()}.get(victim, (victim,))
            until(lambda names=needed: site.ready(*names), _READY_S, every_s=0.3)  # type: ignore[misc]
        if victim == _SESSIONS and end_sessions:
            killed[victim] += bool(end_sessions())
        elif victim == _READER:
            killed[victim] += site.kill_reader()
        else:
            for service in SERVICES if victim == _ALL else (victim,):
                site.kill(service)
            killed[victim] += 1
        go_on_s = time.monotonic() + chance.uniform(*_BETWEEN_S)
        while time.monotonic() < go_on_s:
            site.tend()
            time.sleep(0.05)
        if sum(killed.values()) % 25 == 0:
            progress(f"{sum(killed.values())} kills")
    return killed
