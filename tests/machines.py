"""Machines for the tests of more than one: network namespaces that can be cut off.

Where namespaces cannot be made (they need root), each machine is a loopback address of its own, and
to cut it off is to stop its processes. ``HIPNODE_NAMESPACES=0`` asks for that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.node import HIPNODE
from tests.peers import Process

_IP: Final = "/usr/sbin/ip"


def _ip(*arguments: str, check: bool = True) -> bool:
    done = subprocess.run([_IP, *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.returncode == 0


class Network:
    """A switch with machines on it; the tests' own machine is one of them.

    Parameters
    ----------
    namespaces
        Whether to make network namespaces where that is possible.
    """

    def __init__(self, *, namespaces: bool = True) -> None:
        number = os.getpid() % 250
        self.bridge = f"hn{number}br"
        self.prefix = f"10.199.{number}"
        wanted = namespaces and os.environ.get("HIPNODE_NAMESPACES") != "0"
        self.real = wanted and self._make()
        self.address = f"{self.prefix}.1" if self.real else "127.0.0.1"
        self.machines: list[Machine] = []

    def _make(self) -> bool:
        if os.geteuid() or not Path(_IP).exists():
            return False
        if not _ip("link", "add", self.bridge, "type", "bridge", check=False):
            return False
        _ip("addr", "add", f"{self.prefix}.1/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        return True

    def machine(self, name: str) -> Machine:
        """Add a machine."""
        self.machines.append(Machine(self, name, len(self.machines) + 10))
        return self.machines[-1]

    def close(self) -> None:
        """End every process on every machine, and take everything away."""
        for machine in self.machines:
            machine.remove()
        if self.real:
            _ip("link", "del", self.bridge, check=False)


class Machine:
    """One machine: an address, and processes that know no other network."""

    def __init__(self, network: Network, name: str, number: int) -> None:
        self.name = name
        self.real = network.real
        self.address = f"{network.prefix}.{number}" if self.real else f"127.0.0.{number}"
        self.process: Process | None = None
        self._namespace = f"{network.bridge}-{name}"
        self._link = f"{network.bridge}{number}"
        if self.real:
            _ip("netns", "add", self._namespace)
            _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0",
                "netns", self._namespace)  # fmt: skip
            _ip("link", "set", self._link, "master", network.bridge, "up")
            inside = ("-n", self._namespace)
            _ip(*inside, "addr", "add", f"{self.address}/24", "dev", "eth0")
            _ip(*inside, "link", "set", "eth0", "up")
            _ip(*inside, "link", "set", "lo", "up")

    def start(self, command: str, config: Path) -> Process:
        """Start one of hipnode's services on it."""
        prefix: Sequence[str] = (_IP, "netns", "exec", self._namespace) if self.real else ()
        self.faults = config.parent / f"{self.name}-faults"
        self.faults.mkdir(exist_ok=True)
        environment = {
            "HIPNODE_LISTENER__HOST": self.address,
            "HIPNODE_FAULTS": str(self.faults),
            "OMP_NUM_THREADS": "1",
        }
        log = config.parent / f"{self.name}.log"
        self.process = Process([*prefix, *HIPNODE, command, "--config", str(config)], log,
                               env=environment)  # fmt: skip
        return self.process

    @property
    def log(self) -> str:
        """What its service has written."""
        return self.process.output() if self.process else ""

    def cut(self) -> None:
        """Take it off the network: nothing arrives, nothing leaves, nobody is told."""
        if self.real:
            _ip("link", "set", self._link, "down")
        else:
            self.freeze()

    def mend(self) -> None:
        """Put it back."""
        if self.real:
            _ip("link", "set", self._link, "up")
        else:
            self.thaw()

    def freeze(self) -> None:
        """Stop the clock of all its processes, as a paused virtual machine does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for pid in self.process.family() if self.process else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def remove(self) -> None:
        """End its processes, and take it away."""
        if self.process:
            self.thaw()
            self.process.kill()
        if self.real:
            _ip("netns", "del", self._namespace, check=False)
            _ip("link", "del", self._link, check=False)
