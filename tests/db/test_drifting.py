"""What is read changes: the page shows it, a fault says so outside the page, and ends with it."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from hipnode.answers.shift import DISTANCE
from hipnode.cli import app
from hipnode.domain import JobKind, Side
from hipnode.domain.opinions import Feedback, Opinion, OpinionSource
from hipnode.domain.people import Role
from hipnode.services import drifting
from hipnode.services.housekeeper.service import Housekeeper
from hipnode.validation.labels import Words, read_labels
from tests import factory
from tests.db.conftest import START, Bench, OpenStore
from tests.desk import Guest
from tests.node import write_settings

_IMAGES = 12  # a day


def days(
    bench: Bench,
    number: int,
    brightness: float,
    generator: np.random.Generator,
    distance: float | None = None,
) -> None:
    """Have so many days of images read, as bright, and as far from those of training, as that."""
    for _ in range(number):
        for _ in range(_IMAGES):
            name = str(int(generator.integers(1 << 40)))
            bench.receive(factory.uid(name, "1"), factory.uid(name), content=name)
            held = bench.take(JobKind.READ)
            far = None if distance is None else float(generator.normal(distance, 0.5))
            hips = [
                factory.hip(Side.RIGHT, 0.05, distance=far),
                factory.hip(Side.LEFT, 0.02, distance=far),
            ]
            made = factory.reading(hips, name, model_set_digest=held.model_set)
            seen = {"brightness": float(generator.normal(brightness, 0.03)), "contrast": 0.2}
            bench.store.ledger.finish_read(held, replace(made, measured=seen))
        bench.clock.forward(timedelta(days=1).total_seconds())


def faults(bench: Bench) -> list[str]:
    return [fault for fault in bench.store.faults() if fault.startswith("quality")]


def test_a_brighter_scanner_is_a_fault_that_ends_with_it(bench: Bench) -> None:
    generator = np.random.default_rng(5)
    keeper = Housekeeper(bench.settings, bench.store)
    days(bench, 25, 0.40, generator)
    bench.clock.forward(timedelta(days=45).total_seconds())
    days(bench, 8, 0.40, generator)
    keeper.watch_drift()
    assert faults(bench) == []
    days(bench, 8, 0.46, generator)
    keeper.watch_drift()
    (fault,) = faults(bench)
    assert "brightness" in fault
    assert "contrast" not in fault
    found = drifting.watched(bench.store, bench.clock.now).shifts["brightness"]
    assert found is not None
    assert found.is_outside
    page = Guest(bench.store, bench.settings, Role.SCIENTIST).get("/quality").text
    assert page.count("✕ alarm") == 1
    lasted = 0
    for _ in range(8):
        days(bench, 1, 0.40, generator)
        keeper.watch_drift()
        found = drifting.watched(bench.store, bench.clock.now).shifts["brightness"]
        assert found is not None
        if not found.is_alarm and found.lasts:  # not over, if it would not have begun
            lasted += 1
            assert len(faults(bench)) == 1
            page = Guest(bench.store, bench.settings, Role.SCIENTIST).get("/quality").text
            assert page.count("✕ alarm") == 1
    assert lasted
    assert faults(bench) == []


def test_images_unlike_those_of_training_are_a_fault(bench: Bench) -> None:
    """Whoever sends them is as bright as ever; records without a distance say nothing of it."""
    generator = np.random.default_rng(6)
    keeper = Housekeeper(bench.settings, bench.store)
    days(bench, 18, 0.40, generator)  # as an earlier release wrote them
    bench.clock.forward(timedelta(days=45).total_seconds())
    days(bench, 6, 0.40, generator, distance=6.0)
    assert drifting.watched(bench.store, bench.clock.now).shifts[DISTANCE] is None
    bench.clock.forward(timedelta(days=80).total_seconds())
    days(bench, 18, 0.40, generator, distance=4.0)
    bench.clock.forward(timedelta(days=50).total_seconds())
    days(bench, 8, 0.40, generator, distance=4.0)
    keeper.watch_drift()
    assert faults(bench) == []
    days(bench, 8, 0.40, generator, distance=6.0)
    keeper.watch_drift()
    (fault,) = faults(bench)
    assert DISTANCE in fault
    assert "brightness" not in fault
    page = Guest(bench.store, bench.settings, Role.SCIENTIST).get("/quality").text
    assert page.count("✕ alarm") == 1
    assert DISTANCE in page


def test_misses_are_labels_that_validate_takes(open_store: OpenStore, tmp_path: Path) -> None:
    bench = open_store()
    for uid in ("1.2.3", "1.2.4"):
        bench.receive(f"{uid}.1", uid)
    for uid, side, said, truth in (
        ("1.2.3", "R", "absent", "present"), ("1.2.3", "L", "present", "present"),
        ("1.2.4", "?", "absent", "present"),
    ):  # fmt: skip
        given = Feedback(
            study_instance_uid=uid, side=side, task="hip_fracture", opinion=Opinion.DISAGREE,
            said=said, truth=truth, model="m", model_version="1", model_digest="d",
            source=OpinionSource.CSV, given_by="ris", given_utc=START, comment="=1",
        )  # fmt: skip
        bench.store.desk.opinions.add([given], [])
    url = bench.settings.database.url.get_secret_value()
    tables = {"node": {"data_dir": tmp_path / "data"}, "database": {"url": url}}
    config = write_settings(tmp_path / "hipnode.toml", tables)
    out = tmp_path / "misses.csv"
    done = CliRunner().invoke(app, ["feedback", "misses", "--out", str(out), "-c", str(config)])
    assert done.exit_code == 0, done.output
    row, _ = csv.DictReader(StringIO(out.read_text()))
    assert (row["sop_instance_uid"], row["side"], row["kind"]) == ("1.2.3.1", "R", "false negative")
    assert not row["comment"].startswith("=")
    labels, unused = read_labels(out, Words())
    assert unused == []
    assert [(label.value, dict(label.sides)) for label in labels] == [
        ("1.2.3.1", {Side.RIGHT: True}), ("1.2.4.1", {}),
    ]  # fmt: skip
