"""The world around a node breaks: files rot, clocks differ, disks fill, the database is locked."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hipnode.services.torture.peers import Archive, Modality, image
from hipnode.services.torture.site import NAMES, SERVICES, Site, until
from hipnode.services.torture.table import Row

_FEW: Final = 3
_DAY_S: Final = 86_400
_OUT_OF_RESOURCES: Final = 0xA700


def rot(site: Site, archive: Archive) -> Row:
    """A bit of each stored image changes before it is read; sent again, all goes on."""
    sender = Modality(site.port)
    site.stop("work")
    ours = [image(number) for number in range(_FEW)]
    before = set(_images(site))
    taken = sum(sender.send(one) == 0 for one in ours)
    changed = sorted(set(_images(site)) - before)
    for path in changed:
        _flip_a_bit(path)
    began_s = time.monotonic()
    site.start("work")
    named = until(lambda: _count(site, "image_damaged") >= len(changed), 90, every_s=0.5)
    named_s = time.monotonic() - began_s
    told = sum(bool(archive.objects[str(one.StudyInstanceUID)]) for one in ours)
    for one in ours:
        sender.send(one)
    done = until(lambda: not archive.lost(sender.acknowledged), 120, every_s=0.5)
    words = "" if not told else f"{told} were reported as they were not"
    if not done:
        words += " not reported after they came again"
    held = taken if named and not told else 0
    lost = site.lost(archive, sender.acknowledged, settled=bool(done))
    return Row(
        "stored images rot", len(changed), held, lost, archive.doubled(), named_s, words.strip()
    )


def clocks(site: Site, archive: Archive) -> Row:
    """A worker's clock is a day behind, a housekeeper's 400 days ahead: all goes on."""
    sender = Modality(site.port)
    with _other_clock(site, "work", -_DAY_S), _other_clock(site, "housekeep", 400 * _DAY_S):
        named_s = site.named("the clock of")
        for number in range(_FEW):
            sender.send(image(number))
        settled = site.settled()
        lost = site.lost(archive, sender.acknowledged, settled=settled)
    kept = all(path.exists() for path in _images(site))
    held = 2 if settled and named_s is not None and kept else 0
    words = "a worker a day behind, a housekeeper 400 days ahead"
    return Row("clocks that differ", 2, held, lost, archive.doubled(), named_s, words)


@contextmanager
def _other_clock(site: Site, service: str, ahead_s: int) -> Iterator[None]:
    folder = site.folder / f"clock-{service}"
    folder.mkdir(exist_ok=True)
    (folder / "clock-ahead-s").write_text(str(ahead_s), "ascii")

    def restart() -> None:
        site.stop(service)
        site.start(service)

    site.env[service] = {"HIPNODE_FAULTS": str(folder)}
    restart()
    try:
        yield
    finally:
        del site.env[service]
        restart()


def frozen(site: Site, archive: Archive) -> Row:
    """Each service but the listener stops dead (SIGSTOP): it is named, and goes on afterwards."""
    sender = Modality(site.port)
    held, worst_s = 0, 0.0
    names = {service: NAMES[service] for service in SERVICES[1:]}
    until(lambda: site.ready(*SERVICES), 120)
    for service in names:
        os.kill(site.pid(service), signal.SIGSTOP)
    try:
        sender.send(image(0))
        began_s = time.monotonic()
        for name in names.values():
            if site.named(f"no {name} is alive") is not None:
                held += 1
                worst_s = time.monotonic() - began_s
    finally:
        for service in names:
            os.kill(site.pid(service), signal.SIGCONT)
    settled = site.settled()
    lost = site.lost(archive, sender.acknowledged, settled=settled)
    return Row("services that hang", len(names), held, lost, archive.doubled(), worst_s)


def broken_database(site: Site, archive: Archive, end_sessions: Callable[[], int] | None) -> Row:
    """The database is locked by another program (SQLite), or ends every session (PostgreSQL)."""
    sender = Modality(site.port)
    tries = 0
    if end_sessions is None:
        database = sqlite3.connect(site.data_dir / "hipnode.db", isolation_level=None, timeout=30)
        database.execute("BEGIN IMMEDIATE")
        false = [sender.send(image(number), 8.0) == 0 for number in range(_FEW)]
        database.execute("ROLLBACK")
        database.close()
        tries, held = len(false), false.count(False)
        words = "locked by another program"
    else:
        until_s = time.monotonic() + 15
        while time.monotonic() < until_s:
            tries += bool(end_sessions())
            sender.send(image(tries))
        words, held = "every session ended, again and again", tries
    for number in range(_FEW):
        one = image(number)
        until(lambda one=one: sender.send(one) == 0, 60, every_s=0.5)  # type: ignore[misc]
    settled = site.settled()
    lost = site.lost(archive, sender.acknowledged, settled=settled)
    row = Row("a database that breaks", tries, held, lost, archive.doubled(), None, words)
    return row if settled else Row(row.attack, tries, 0, lost, row.doubled, None, "still at work")


def two_nodes(site: Site) -> Row:
    """A node with another database, or with none, starts on these files; nothing is moved."""
    before = sorted(_images(site))
    held, worst_s = 0, 0.0
    other = site.folder / "other"
    other.mkdir(exist_ok=True)
    text = site.config.read_text("utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("url = ")]
    for name in ("one", "two"):
        config = other / f"{name}.toml"
        config.write_text(text.replace(line, f'url = "sqlite:///{other / name}.db"'), "utf-8")
        config.chmod(0o600)
        began_s = time.monotonic()
        held += site.refuses(config) and sorted(_images(site)) == before
        worst_s = max(worst_s, time.monotonic() - began_s)
    return Row("two nodes on one store", 2, held, named_s=worst_s, words="refused at the start")


def full_disk(folder: Path, archive: Archive) -> Row:
    """A small disk of its own fills up: nothing is acknowledged until there is room again."""
    name = "a full disk"
    site = Site(folder, archive.port, disk_low_bytes=2_000_000)
    site.data_dir.mkdir(mode=0o700)
    mounted = subprocess.run(  # noqa: S603 - our own words
        ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(site.data_dir)],  # noqa: S607
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        return Row(name, not_tried="no small disk can be made here: that needs root (mount)")
    sender = Modality(site.port)
    try:
        site.start()
        sender.send(image(0))
        site.settled()
        junk = site.data_dir / "junk"
        _fill(junk)
        answers = [sender.send(image(number)) for number in range(_FEW)]
        named_s = site.named("images are refused")
        junk.unlink()
        for number in range(_FEW):
            one = image(number)
            until(lambda one=one: sender.send(one) == 0, 60, every_s=0.5)  # type: ignore[misc]
        settled = site.settled()
        broken = site.broken()
        lost = site.lost(archive, sender.acknowledged, settled=settled)
    finally:
        site.stop()
        subprocess.run(["umount", "-l", site.data_dir], check=False)  # noqa: S603, S607
    held = sum(status != 0 for status in answers) if settled and not broken else 0
    said = {hex(status) if status else "no answer" for status in answers}
    words = f"answered {', '.join(sorted(said))}{broken and '; ' + broken}"
    return Row(name, len(answers), held, lost, archive.doubled(), named_s, words)


def damaged_database(site: Site) -> Row:
    """A page of SQLite's file is overwritten while nothing runs: it is named, nothing is taken."""
    path = site.data_dir / "hipnode.db"
    whole = {there: there.read_bytes() for there in path.parent.glob("hipnode.db*")}
    database = sqlite3.connect(path)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (size,) = database.execute("PRAGMA page_size").fetchone()
    (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'job'").fetchone()
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size + 8)
        file.write(os.urandom(size - 8))
    sender = Modality(site.port)
    began_s = time.monotonic()
    try:
        with site.store() as store:
            named = bool(store.check_database())
        named_s = time.monotonic() - began_s
        site.start("listen")
        refused = sender.send(image(0)) != 0
    finally:
        site.stop("listen")
        for left in path.parent.glob("hipnode.db*"):
            left.unlink()
        for there, content in whole.items():
            there.write_bytes(content)
    return Row("a damaged database", 2, named + refused, named_s=named_s)


def restart(site: Site) -> None:
    """Start whatever does not run."""
    site.stop()
    site.start(*SERVICES)


def _images(site: Site) -> list[Path]:
    return [path for path in (site.data_dir / "images").rglob("*.dcm") if path.is_file()]


def _count(site: Site, event: str) -> int:
    with site.store() as store:
        return sum(n for (name, _), n in store.vitals().events.items() if name == event)


def _flip_a_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-200, os.SEEK_END)
        byte = file.read(1)
        file.seek(-200, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            return
