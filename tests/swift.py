"""OpenStack Swift with its S3 interface: a real object store, from Debian's packages.

One machine's worth of it: proxy, account, container and object server on loopback, one copy of
each object, in a folder.
"""

from __future__ import annotations

from pathlib import Path

from tests.bucket import Bucket
from tests.peers import Process, require, run, start_on_free_ports

ACCESS_KEY, SECRET_KEY = "hospital:node", "testing"
_SERVERS = ("account", "container", "object", "proxy")
_SERVER = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
_PROXY = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{nobody}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_hospital_node = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""


class Swift:
    """A running Swift; `stop` and `start` keep its data and its ports.

    Parameters
    ----------
    folder
        An empty one, for all that it keeps.
    """

    def __init__(self, folder: Path) -> None:
        for name in _SERVERS:
            require(f"swift-{name}-server", f"swift-{name}")
        self._folder = folder
        self._ports: tuple[int, ...] = ()
        self._running: list[Process] = []
        (folder / "devices" / "disk").mkdir(parents=True)
        (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
        start_on_free_ports(self._first, len(_SERVERS) + 1)

    @property
    def endpoint(self) -> str:
        """Where it speaks S3."""
        return f"http://127.0.0.1:{self._ports[3]}"

    def bucket(self, folder: Path) -> Bucket:
        """Return an empty bucket; what there was goes."""
        return Bucket(folder, self.endpoint, ACCESS_KEY, SECRET_KEY)

    def _first(self, *ports: int) -> None:
        self._ports = ports
        for name, port in zip(_SERVERS, ports, strict=False):
            text = (_PROXY if name == "proxy" else _SERVER).format(
                name=name, port=port, folder=self._folder, nobody=ports[-1]
            )
            (self._folder / f"{name}.conf").write_text(text)
            if name != "proxy":
                self._make_ring(name, port)
        self.start()

    def _make_ring(self, name: str, port: int) -> None:
        builder = self._folder / f"{name}.builder"
        builder.unlink(missing_ok=True)
        ring: list[str | Path] = ["swift-ring-builder", builder]
        run([*ring, "create", "4", "1", "0"])
        run([*ring, "add", f"r1z1-127.0.0.1:{port}/disk", "1"])
        run([*ring, "rebalance"])

    def start(self) -> None:
        """Start all four servers and wait for them."""
        self._running = [
            Process(
                [f"swift-{name}-server", self._folder / f"{name}.conf"],
                self._folder / f"{name}.log",
            )
            for name in _SERVERS
        ]
        try:
            for process, port in zip(self._running, self._ports, strict=False):
                process.wait_listening(port)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all four servers at once."""
        for process in self._running:
            process.kill()
        self._running = []
