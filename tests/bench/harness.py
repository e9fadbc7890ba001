"""One small harness: contestants take turns, in another order each round; medians and ratios.

A figure alone says as much about the machine's other work as about what was measured. So every
measurement runs next to what it is compared with, in the same minute, and a ratio is the median of
the ratios of each round. Nothing here is a test: a target that is missed is printed.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Measure = Callable[[], float]
"""One round of one contestant: what it reached, in the table's unit."""


@dataclass(frozen=True)
class Target:
    """What the issue asks for: a ratio to another contestant, or a bare figure."""

    against: str = ""  # a contestant; "" for the figure itself
    at_least: float | None = None
    at_most: float | None = None

    def verdict(self, value: float) -> str:
        """Return the bound, and whether it is met."""
        if self.at_least is not None:
            met, bound = value >= self.at_least, f">= {self.at_least:g}"
        else:
            met, bound = value <= (self.at_most or 0), f"<= {self.at_most:g}"
        return f"{bound} {'met' if met else 'NOT MET'}"


@dataclass
class Table:
    """One measurement of ours with its references.

    Attributes
    ----------
    title
        What is measured.
    unit
        Of every value.
    ours
        The contestant that the ratios are of.
    targets
        What ours is to reach.
    values
        By contestant, one value a round.
    notes
        What a reader of the figures must know.
    """

    title: str
    unit: str
    ours: str = "hipnode"
    targets: Sequence[Target] = ()
    values: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def run(self, contestants: Mapping[str, Measure], rounds: int) -> Table:
        """Let each contestant measure itself once a round, in random order."""
        for number in range(rounds):
            for name in random.sample(list(contestants), len(contestants)):
                say(f"  {self.title}: round {number + 1}/{rounds}, {name}", end="\r")
                self.values.setdefault(name, []).append(contestants[name]())
        say(" " * 100, end="\r")
        return self

    def median(self, name: str) -> float:
        """Return the median of a contestant's rounds."""
        return statistics.median(self.values[name])

    def ratio(self, against: str) -> float:
        """Return the median over the rounds of ours / another."""
        pairs = zip(self.values[self.ours], self.values[against], strict=True)
        return statistics.median(ours / other for ours, other in pairs)

    def lines(self) -> list[str]:
        """Return the table as Markdown."""
        rows = [
            f"### {self.title}",
            "",
            f"| | {self.unit} | range | {self.ours} / this |",
            "|---|---|---|---|",
        ]
        for name, values in self.values.items():
            span = f"{number(min(values))}..{number(max(values))}"
            ratio = "1" if name == self.ours else f"{self.ratio(name):.2f}"
            rows.append(f"| {name} | {number(self.median(name))} | {span} | {ratio} |")
        rows.append("")
        rows += [f"- {line}" for line in [*self.verdicts(), *self.notes]]
        return [*rows, ""]

    def verdicts(self) -> list[str]:
        """Return one line for each target that could be judged."""
        said = []
        for target in self.targets:
            if target.against and target.against not in self.values:
                said.append(f"{target.against}: not measured here")
                continue
            value = self.ratio(target.against) if target.against else self.median(self.ours)
            what = f"{self.ours} / {target.against}" if target.against else self.ours
            said.append(f"{what} = {number(value)}, target {target.verdict(value)}")
        return said

    def document(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {
            "title": self.title,
            "unit": self.unit,
            "ours": self.ours,
            "values": self.values,
            "medians": {name: self.median(name) for name in self.values},
            "ratios": {name: self.ratio(name) for name in self.values if name != self.ours},
            "verdicts": self.verdicts(),
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Run:
    """How much of it to do, and where.

    Attributes
    ----------
    rounds
        Of each table.
    scale
        1 takes minutes; a fraction makes everything smaller, for a quick look.
    folder
        An empty folder on the disk that is to be measured.
    full
        Whether to include what takes very long (ten million rows of the audit log).
    """

    rounds: int
    scale: float
    folder: Path
    full: bool = False

    def size(self, whole: int, least: int = 1) -> int:
        """Return a count scaled down."""
        return max(least, round(whole * self.scale))

    def new_folder(self, name: str) -> Path:
        """Return an empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))


def rate(workers: int, count: int, one: Callable[[], Any]) -> float:
    """Return how often a second ``one`` is done by all workers together, ``count`` times in all."""
    share = max(1, count // workers)

    def work() -> None:
        for _ in range(share):
            one()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    start_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return share * workers / (time.perf_counter() - start_s)


def number(value: float) -> str:
    """Return a value with three significant digits, and no exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def say(text: str, end: str = "\n") -> None:
    """Print at once; what is overwritten again only on a terminal."""
    if end == "\n" or sys.stdout.isatty():
        sys.stdout.write(text + end)
        sys.stdout.flush()


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in cpu.splitlines() if "model name" in line]
    return {
        "date_utc": datetime.now(UTC).isoformat(timespec="minutes"),
        "cores": os.cpu_count(),
        "processor": models[0] if models else platform.processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def sweep(folder: Path) -> None:
    """Remove what runs have left whose process is gone: a `kill -9` leaves its folder behind."""
    for left in folder.glob("run-*-*"):
        pid = left.name.split("-")[1]
        if not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)


def keep(tables: Sequence[Table], about: Mapping[str, Any], path: Path) -> None:
    """Write the tables as JSON, beside what was measured before by other names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": about, "tables": [table.document() for table in tables]}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
