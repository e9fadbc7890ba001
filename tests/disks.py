"""Disks that a test fills or makes read-only: file systems in memory, mounted for one test.

Root mounts them as it is. Anybody else may in a user namespace, so there the test runs once more,
in a pytest of its own that has one.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec

from tests.peers import ROOT, missing, require, run

P = ParamSpec("P")

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_RDONLY, _REMOUNT, _BIND, _DETACH = 1, 32, 4096, 2  # <sys/mount.h>
_INSIDE: Final = "HIPNODE_TESTS_MAY_MOUNT"
_NAMESPACE: Final = ("--user", "--mount", "--map-current-user", "--keep-caps")


class SmallDisk:
    """A file system in memory.

    Parameters
    ----------
    folder
        Where it is mounted; it is created.
    megabytes
        What it takes.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir()
        self._mount(b"tmpfs", 0, f"size={megabytes}m")

    def resize(self, megabytes: int) -> None:
        """Have it take more, or less."""
        self._mount(b"tmpfs", _REMOUNT, f"size={megabytes}m")

    def read_only(self, wanted: bool) -> None:
        """Let nobody write to it, or let them again."""
        self._mount(None, _REMOUNT | _BIND | (_RDONLY if wanted else 0))

    def _mount(self, kind: bytes | None, flags: int, options: str = "") -> None:
        where = os.fsencode(self.folder)
        if _LIBC.mount(kind, where, kind, ctypes.c_ulong(flags), options.encode() or None):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self.folder))

    def close(self) -> None:
        """Take it away, whoever still uses it."""
        _LIBC.umount2(os.fsencode(self.folder), _DETACH)


@functools.cache
def _may_mount() -> bool:
    """Tell whether this process may mount; it mounts an empty folder for a moment."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            SmallDisk(Path(folder, "tried"), 1).close()
        except OSError:
            return False
    return True


def on_a_small_disk(test: Callable[P, None]) -> Callable[P, None]:
    """Have a test run where it may mount: in this process, or in one that has a namespace.

    Where neither is allowed, it is skipped (CI: it fails).
    """

    @functools.wraps(test)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        if _INSIDE in os.environ or _may_mount():
            test(*args, **kwargs)
            return
        unshare = [require("unshare", "util-linux"), *_NAMESPACE]
        if run([*unshare, "true"], check=False).returncode:
            missing("neither mounts nor user namespaces are allowed here")
        name = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].partition("@")[0]  # its group
        command = [*unshare, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
        run(command, env={_INSIDE: "1"}, cwd=ROOT, timeout_s=600)

    return wrapped
