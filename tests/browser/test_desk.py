"""Every page of the desk in Chromium, for every role: axe-core finds nothing, nothing leaves."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hipnode.domain import JobKind, Side
from hipnode.domain.people import Role
from hipnode.domain.selftest import SelfTest, matter, matter_of
from hipnode.nets.bundle.setfile import SHIPPED
from hipnode.services.desk.app import COOKIE
from hipnode.services.desk.routes import ROUTES
from hipnode.settings import Settings
from hipnode.storage import Beat, Store, StudyFilter
from tests.browser.conftest import HERE
from tests.db.conftest import Bench, Clock
from tests.desk import HOSTILE, Guest, answering, judged, signed_in, study, trouble
from tests.peers import ROOT, missing, require, run

pytestmark = pytest.mark.timeout(900)  # Chromium opens some ninety pages
ARTEFACTS = ROOT / "artefacts" / "desk"
PAGES = [r for r in ROUTES if r.method == "GET" and r.roles is not None]
_WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("1280", {"open": True}),
    ("320", {"width": 320}),
    ("dark", {"dark": True, "language": "de-DE"}),
)
_FILES = ("captures", "export", "proof")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A node with studies, one of them of a hostile sender, and things that went wrong."""
    shelf = tmp_path_factory.mktemp("sets") / "site"
    shutil.copytree(SHIPPED, shelf)
    candidate = "site/2027-candidate.toml"
    (shelf.parent / candidate).write_text(
        (shelf / "default.toml").read_text().replace('"default"', '"site"', 1)
    )
    settings = Settings.model_validate(
        {
            "node": {"data_dir": tmp_path_factory.mktemp("node")},
            "destinations": [
                {"name": "pacs", "host": "127.0.0.1", "port": 104, "ae_title": "PACS"}
            ],
            "self_test": {"send_to": "pacs"},
            "worker": {"model_sets": [{"set": candidate, "shadow": True}]},
        }
    )
    clock = Clock()
    bench = Bench(Store.open(settings, migrate=True, now=clock), clock, settings)
    for name, p in (("1", 0.97), ("2", 0.02), ("3", 0.4)):
        study(bench, name, p, accession=f"A-{name}", patient_id=f"P-{name}", objects=name == "1")
        clock.forward(3600)
    uid = node_uid(bench, "A-1")
    readers = Guest(bench.store, settings, Role.READER)
    readers.post(f"/studies/{uid}/feedback", {"R-hip_fracture": "disagree", "comment": "a line"})
    for n in range(12):  # of whom somebody has said what is there
        for p, truth in ((0.97, "present" if n else "absent"), (0.04, "absent")):
            judged(bench, f"known-{p}-{n}", p, truth, station="DX1" if n % 4 else "ER")
    while job := bench.claim(JobKind.REPORT):
        bench.report(job)
        bench.deliver()
    hostile = HOSTILE[0]
    study(bench, "4", 0.9, accession=hostile, patient_id=HOSTILE[3], objects=False)
    clock.forward(86400)
    self_tests(bench)
    scientist = Guest(bench.store, settings, Role.SCIENTIST, name="sam")
    with chdir(shelf.parent):
        form = {"set": candidate, "reason": "found 3 of our 5 misses"}
        assert scientist.post("/models/propose", form).status_code == 303
    trouble(bench)
    for name in ("listener", "worker", "courier", "housekeeper"):
        models = {"set": "default", "digest": "8fd74e3a" * 8, "models": {"hip": "cnn 0.5.0"}}
        loaded = (models,) if name == "worker" else ()
        bench.store.services.begin(Beat(name, "node1", 17, "0.1.0", "s" * 64, loaded, ready=True))
    bench.store.audit.seal()
    bench.store.audit.report(actor="housekeeper")
    bench.store.audit.seal()
    with chdir(shelf.parent):  # whence the settings name the candidate
        yield bench
    bench.store.close()


def self_tests(bench: Bench) -> None:
    """Nine days with a self-test each, of which one was missed, and one that is on its way."""
    tests, clock = bench.store.self_tests, bench.clock
    clock.forward(-9 * 86400)
    for number in range(10):
        day = clock.now.date()
        test = tests.ask(day, matter_of(day).word, actor="housekeeper", by_clock=True)
        assert test is not None
        sent = clock.now
        tests.note(test, state="sent", sent_utc=sent, pixels="p" * 64)
        clock.forward(41)
        if number == 6:
            tests.end(test, "the PACS did not route the image back to this node")
        elif number < 9:
            at = {f"{s}_utc": sent + timedelta(seconds=n) for s, n in _STEPS.items()}
            tests.note(test, **at, said=_come_back(bench, test), is_right=True)
            tests.end(test)
        if number < 9:
            tests.withdrawn(test)
            clock.forward(86400 - 41)


def _come_back(bench: Bench, test: SelfTest) -> str:
    """Have its image come back and be read; return what is read."""
    bench.receive(test.sop_uid, test.study_uid, content=str(test.id))
    held = bench.take(JobKind.READ)
    digest = bench.store.lookups.instance(held.instance_id or 0).digest
    made = bench.store.self_tests.made(test.sop_uid)
    assert made is not None
    assert bench.store.self_tests.recognise(made, digest, "p" * 64)
    bench.read(held)
    bench.report()
    bench.deliver()
    shows = matter(test.matter)
    found = "implant" if shows.label == "implant" else "fracture_definite"
    return ", ".join(
        f"{side.value}: {found if side is shows.side else 'none_seen'}"
        for side in (Side.RIGHT, Side.LEFT)
    )


_STEPS = {"came": 1.2, "read": 4.9, "delivered": 36.1, "seen": 40.2}
Open = Callable[[list[dict[str, Any]]], dict[str, Any]]


@pytest.fixture(scope="module")
def opened(driver: str, node: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """A function that opens pages in Chromium and returns what was seen of each."""
    chromium = require("chromium-headless-shell", "chromium-headless-shell")
    axe = HERE / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        missing("axe-core is not installed: npm ci in tests/browser")
    folder = tmp_path_factory.mktemp("look")
    shutil.rmtree(ARTEFACTS, ignore_errors=True)
    ARTEFACTS.mkdir(parents=True)
    with answering(node.store, node.settings) as base:

        def look(cases: list[dict[str, Any]]) -> dict[str, Any]:
            jobs, results = folder / "jobs.json", folder / "results.json"
            given = {"chromium": chromium, "axe": str(axe), "base": base, "cases": cases}
            jobs.write_text(json.dumps(given), encoding="utf-8")
            run([driver, HERE / "look_desk.mjs", jobs, results], timeout_s=600)
            return dict(json.loads(results.read_text(encoding="utf-8")))

        yield look


def cookie(node: Bench, *roles: Role, name: str = "") -> dict[str, str]:
    return {"name": COOKIE, "value": signed_in(node.store, roles, name or "-".join(roles))}


def node_uid(node: Bench, accession: str) -> str:
    lines, _ = node.store.desk.studies.page(StudyFilter(accession))
    return lines[0].facts.study_instance_uid


def address(node: Bench, path: str) -> str:
    uid = node_uid(node, "A-1")
    made = path.format(uid=uid, number=1, form="csv")
    return f"{made}?job=all" if path == "/faults/requeue" else made


def wrong(found: dict[str, Any]) -> list[str]:
    """Return what is wrong with a page."""
    seen = [*found["violations"], *found["elsewhere"], *found["console"]]
    seen += ["wider than the window"] if found["overflow"] > 0 else []
    return seen + (["a script"] if found["scripts"] else [])


def test_each_page_is_accessible_and_asks_nobody_else(node: Bench, opened: Open) -> None:
    everybody = cookie(node, *Role, name="ada")
    cases = []
    for route in PAGES:
        if any(word in route.path for word in _FILES):
            continue
        for way, more in _WAYS:
            name = f"{route.path.strip('/').replace('/', '-') or 'glance'}-{way}"
            shot = str(ARTEFACTS / f"{name.replace('{uid}', 'story').replace('{number}', '1')}.png")
            path = address(node, route.path)
            case = {"name": name, "path": path, "cookie": everybody, "shot": shot}
            cases.append({**case, **more})
    paper = {"cookie": everybody, "print": True, "scripts": False}
    for name, path in (("statement-print", "/verify/statement"), ("verify-print", "/verify")):
        cases.append({"name": name, "path": path, "shot": str(ARTEFACTS / f"{name}.png"), **paper})
    cases.append({"name": "sign-in", "path": "/sign-in", "shot": str(ARTEFACTS / "sign-in.png")})
    hostile = {"name": "hostile", "path": "/studies?outcome=positive", "cookie": everybody}
    cases.append(hostile)
    seen = opened(cases)
    assert {name: found["status"] for name, found in seen.items() if found["status"] != 200} == {}
    assert {name: wrong(found) for name, found in seen.items() if wrong(found)} == {}
    assert HOSTILE[0] in seen["hostile"]["text"]  # shown as what it is


def test_each_role_gets_its_pages_and_no_other(node: Bench, opened: Open) -> None:
    cases = []
    allowed: dict[str, bool] = {}
    for role in Role:
        mine = cookie(node, role)
        for route in PAGES:
            if any(word in route.path for word in _FILES):
                continue
            name = f"{role} {route.path}"
            glass = "{uid}" in route.path and role is Role.OPERATOR
            allowed[name] = route.allows(frozenset({role})) and not glass
            path = address(node, route.path)
            cases.append({"name": name, "path": path, "cookie": mine, "scripts": False})
    for name, found in opened(cases).items():
        assert found["status"] == (200 if allowed[name] else 403), name
        assert found["elsewhere"] == []
        refused = [line for line in found["console"] if "403" not in line]
        assert refused == [], name


def test_the_pictures_of_the_page_are_in_the_documents() -> None:
    text = (ROOT / "docs" / "desk.md").read_text(encoding="utf-8")
    names = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(names) >= 6
    for name in names:
        path = ROOT / "docs" / name
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert Path(path).stat().st_size < 300_000
