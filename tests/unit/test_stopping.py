"""A service stops when it is told to, however often and whenever it is told."""

from __future__ import annotations

import subprocess
import sys

STORM = """
import signal, threading
from hipnode.cli.node import stop_on_signals

stop = stop_on_signals()
main = threading.get_ident()

def storm():
    for _ in range(20_000):
        signal.pthread_kill(main, signal.SIGTERM)

thread = threading.Thread(target=storm, daemon=True)
thread.start()
while thread.is_alive():
    stop.wait(0.0001)
assert stop.wait(60)
for number in (signal.SIGTERM, signal.SIGINT):
    assert signal.getsignal(number) is signal.SIG_IGN
"""


def test_signals_that_come_upon_each_other_do_not_keep_a_service_from_stopping() -> None:
    """One that came while the one before was being handled made a service hang, rarely.

    One that came while Python ended, where it has let go of handlers, ended a service with -15.
    """
    subprocess.run([sys.executable, "-c", STORM], timeout=120, check=True)
