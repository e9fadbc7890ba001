"""A throw-away PostgreSQL cluster from Debian's packages, on a Unix socket and on loopback."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from tests.peers import Process, require, run, start_on_free_ports

_PACKAGE = "postgresql"
_SETTINGS = {
    "fsync": "off",  # a killed process loses nothing by that, only a machine without power does
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


class Postgres:
    """One server; `stop` and `start` keep its data and its ports.

    Parameters
    ----------
    address
        A second address to listen on, from whose network anybody is let in; "" for loopback only.
    standby_of
        A running server to follow as its hot standby; None for a server of its own.
    """

    def __init__(self, address: str = "", standby_of: Postgres | None = None) -> None:
        self.address = address
        self.initdb = require("initdb", _PACKAGE)
        self.program = require("postgres", _PACKAGE)
        self.account = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        # Not under pytest's own folder, which only its owner may enter; short, for the socket.
        self.folder = Path(tempfile.mkdtemp(prefix="hipnode-pg-"))
        self.port = 0
        self.process: Process | None = None
        self._names = itertools.count(1)
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.account, self.account)
        self._make(standby_of)
        if address:
            with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")

    def _make(self, standby_of: Postgres | None) -> None:
        data = self.folder / "data"
        if standby_of is None:
            command = [self.initdb, "-D", data, "-U", "hipnode", "-A", "trust"]
            command += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        else:
            command = [require("pg_basebackup", _PACKAGE), "-D", data, "--write-recovery-conf"]
            command += ["--checkpoint", "fast", "--no-sync", "-d", standby_of.dsn("postgres")]
        if os.geteuid() == 0:
            command = ["runuser", "-u", self.account, "--", *command]
        run(command, cwd=self.folder)

    def wait_for_standby(self) -> None:
        """Have every commit wait for a standby from now on, so that none is lost with this one."""
        self._execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._execute("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Make a standby the server that is written to."""
        self._execute("SELECT pg_promote()")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    def start(self) -> None:
        """Start the server, on the same port as before if there was one."""
        if self.running:
            return
        if self.port:
            self._launch(self.port)
        else:
            start_on_free_ports(self._launch, 1)

    def _launch(self, port: int) -> None:
        command: list[str | Path] = [self.program, "-D", self.folder / "data", "-p", str(port)]
        listen = ",".join(filter(None, ("127.0.0.1", self.address)))
        command += ["-h", listen, "-k", self.folder]
        for name, value in _SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        log = self.folder / "postgres.log"
        user = self.account if os.geteuid() == 0 else None
        process = Process(command, log, user=user, cwd=self.folder)
        process.wait_listening(port)
        self.process, self.port = process, port
        self._wait_ready()

    def _wait_ready(self) -> None:
        for _ in range(200):
            try:
                psycopg.connect(self.dsn("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:  # "the database system is starting up"
                run(["sleep", "0.05"])
            else:
                return
        raise TimeoutError("PostgreSQL does not accept connections")

    def stop(self) -> None:
        """Stop it as ``pg_ctl stop -m fast`` does: sessions are cut, data is written."""
        if self.process:
            self.process.stop(number=signal.SIGINT)

    def kill(self) -> None:
        """``kill -9`` the server and its back ends; the next start recovers."""
        if self.process:
            self.process.kill()

    def remove(self) -> None:
        """Stop it and delete everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- databases ----------------------------------------------------------------------------

    def dsn(self, database: str) -> str:
        """Return libpq's connection string over the Unix socket."""
        return f"host={self.folder} port={self.port} user=hipnode dbname={database}"

    def url(self, database: str) -> str:
        """Return SQLAlchemy's URL over the Unix socket."""
        return f"postgresql+psycopg://hipnode@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str) -> str:
        """Return SQLAlchemy's URL over loopback TCP."""
        return f"postgresql+psycopg://hipnode@{self.address or '127.0.0.1'}:{self.port}/{database}"

    def create(self, template: str = "template0") -> str:
        """Create a database as a copy of ``template`` and return its name."""
        name = f"test_{next(self._names)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop(self, database: str) -> None:
        """Drop a database, cutting off whoever is still connected."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
