"""Fixtures that every folder of tests shares. Servers start at first use and end with the run."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import hypothesis
import pytest

from tests.examples import FEW, PROFILE

if TYPE_CHECKING:  # at run time only where a test asks for one: `make fast` needs none of them
    from tests.archive import Orthanc
    from tests.bucket import MotoBucket
    from tests.crew import Crew
    from tests.peers import Process
    from tests.postgres import Postgres
    from tests.swift import Swift

os.environ["HIPNODE_STRICT"] = "1"  # also for the services that tests start

hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("default"))
hypothesis.settings.register_profile("fast", max_examples=FEW, deadline=None)
hypothesis.settings.load_profile(PROFILE)

# Tests that wait for servers go first: the short ones then fill what is idle at the end.
FOLDERS: Final = ("soak", "browser", "protocol", "db", "fuzz", "unit", "property", "docs")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, and keep those together that share something of their module's."""
    items.sort(key=_place)
    for item in items:
        if _shares_with_its_module(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave what is imported out of each search for garbage: a tenth of the tests' time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave slow modules unread where only the fast ones run: they import PyTorch."""
    if PROFILE != "fast" or collection_path.suffix != ".py":
        return None
    marked = re.search(
        r"^pytestmark = .*\bslow\b", collection_path.read_text("utf-8"), re.MULTILINE
    )
    return True if marked else None


def _place(item: pytest.Item) -> tuple[int, bool]:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    known = FOLDERS.index(folder) if folder in FOLDERS else FOLDERS.index("db")
    return known, next(item.iter_markers("slow"), None) is None


def _shares_with_its_module(item: pytest.Item) -> bool:
    if next(item.iter_markers("xdist_group"), None):
        return False
    used = getattr(item, "_fixtureinfo", None)
    fixtures = used.name2fixturedefs.values() if used else ()
    return any(fixture[-1].scope == "module" for fixture in fixtures)


@pytest.fixture(scope="session")
def _orthanc_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    from tests.archive import Orthanc

    server = Orthanc(tmp_path_factory.mktemp("orthanc"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def orthanc(_orthanc_server: Orthanc) -> Orthanc:
    """The session's Orthanc, running and empty; a test may stop it and start it again."""
    _orthanc_server.start()
    _orthanc_server.clear()
    return _orthanc_server


@pytest.fixture
def new_orthanc(tmp_path: Path) -> Iterator[Callable[..., Orthanc]]:
    """A function that starts a further Orthanc, with settings of its own as keywords."""
    from tests.archive import Orthanc

    servers: list[Orthanc] = []

    def start(**options: Any) -> Orthanc:
        servers.append(Orthanc(tmp_path / f"orthanc-{len(servers)}", **options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[Postgres]:
    from tests.postgres import Postgres

    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(_postgres_server: Postgres) -> Postgres:
    """The session's PostgreSQL server, running; a test may stop it and start it again."""
    _postgres_server.start()
    return _postgres_server


@pytest.fixture
def empty_postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database, for tests of the migrations."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.start()
    postgres.drop(name)


@pytest.fixture(scope="session")
def _migrated_template(_postgres_server: Postgres) -> str:
    """The name of a database with hipnode's tables: migrated once, cloned for each test."""
    from hipnode.storage.database import migrate
    from hipnode.storage.database.engine import open_database

    name = _postgres_server.create()
    database = open_database(_postgres_server.url(name))
    migrate.upgrade(database)
    database.close()
    return name


@pytest.fixture
def postgres_url(postgres: Postgres, _migrated_template: str) -> Iterator[str]:
    """The URL of a database of this test's own that has hipnode's tables."""
    name = postgres.create(template=_migrated_template)
    yield postgres.url(name)
    postgres.start()
    postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each database engine in turn: empty for the embedded SQLite, or PostgreSQL's URL."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def new_crew(tmp_path: Path, orthanc: Orthanc) -> Iterator[Callable[..., Crew]]:
    """A function that makes a crew for a database: it reports to the session's Orthanc.

    Further keywords are options of the destination, which is asked for commitment by default.
    """
    from tests.crew import Crew
    from tests.node import destination

    made: list[Crew] = []

    def make(
        url: str = "", *, lease_s: float = 4, bucket: MotoBucket | None = None, **options: Any
    ) -> Crew:
        wanted = {"objects": ["sr", "text"], "storage_commitment": True, "commitment_timeout_s": 4}
        crew = Crew(
            tmp_path / "node",
            url,
            destinations=[destination(orthanc, **{**wanted, **options})],
            queue={
                "lease_s": lease_s,
                "max_attempts": 1000,
                "backoff_first_s": 0.1,
                "backoff_cap_s": 0.5,
            },
            report={"quiet_s": 0.5, "report_on_release": True},
            bucket=bucket.tables if bucket else {},
        )
        made.append(crew)
        orthanc.set_modality("hipnode", crew.node.ae_title, crew.node.host, crew.node.port)
        return crew

    yield make
    for crew in made:
        crew.end()


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[MotoBucket]:
    """An empty S3-compatible bucket."""
    from tests.bucket import MotoBucket

    made = MotoBucket(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """OpenStack Swift, a real object store."""
    from tests.swift import Swift

    server = Swift(tmp_path_factory.mktemp("swift"))
    yield server
    server.stop()


class StoreSCP:
    """dcmtk's ``storescp``: takes what it is sent into `folder`."""

    def __init__(self, process: Process, ae_title: str, port: int, folder: Path) -> None:
        self.process = process
        self.ae_title = ae_title
        self.host = "127.0.0.1"
        self.port = port
        self.folder = folder

    def received(self) -> list[Path]:
        """Return the files it has taken so far, oldest first."""
        return sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[Callable[..., StoreSCP]]:
    """A function that starts dcmtk's ``storescp``; its options are given as arguments."""
    from tests.peers import Process, require, start_on_free_ports

    program = require("storescp", "dcmtk")
    started: list[StoreSCP] = []

    def start(*options: str, ae_title: str = "STORESCP", port: int = 0) -> StoreSCP:
        folder = tmp_path / f"storescp-{len(started)}"
        folder.mkdir()

        def launch(port: int) -> StoreSCP:
            command = [program, "-v", "-aet", ae_title, "-od", str(folder), *options, str(port)]
            process = Process(command, tmp_path / f"{folder.name}.log")
            process.wait_listening(port)
            return StoreSCP(process, ae_title, port, folder)

        started.append(launch(port) if port else start_on_free_ports(launch, 1))
        return started[-1]

    yield start
    for peer in started:
        peer.process.stop()
