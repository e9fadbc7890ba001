"""The courier's process: one sender for each destination, so that none waits for another."""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import Final

from hipnode.domain import JobKind
from hipnode.services.courier.commitments import Committer
from hipnode.services.courier.deliveries import Deliveries
from hipnode.services.courier.feeds import Feed
from hipnode.services.selftest.run import Runner
from hipnode.settings import DestinationSettings, Settings
from hipnode.storage import Store, dispatcher_for

_LOOK_S: Final = 0.5


def run(settings: Settings, store: Store, stop: threading.Event) -> None:
    """Deliver results until ``stop`` is set; an object that is on its way is finished first.

    Parameters
    ----------
    settings
        The node's settings.
    store
        Where results and jobs are.
    stop
        Set it to stop.

    Raises
    ------
    SettingsInvalid
        If a destination's certificate cannot be used.
    """
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it quotes what peers send
    senders = {
        destination.name: Deliveries(destination, settings.node.ae_title, store)
        for destination in settings.destinations
    }
    owner = f"{socket.gethostname()}:{os.getpid()}"
    dispatcher = dispatcher_for(store)
    threads = [
        threading.Thread(
            target=dispatcher.run,
            args=((JobKind.DELIVER,), sender.handle, stop, owner),
            kwargs={"destination": name},
            name=f"courier-{name}",
        )
        for name, sender in senders.items()
    ]
    asking = [d for d in settings.destinations if isinstance(d, DestinationSettings) and d.commits]
    store.commitments.waive([place.name for place in asking])
    threads += [
        threading.Thread(
            target=Committer(place, settings.node.ae_title, store).run,
            args=(stop,),
            name=f"commitment-{place.name}",
        )
        for place in asking
    ]
    threads += [
        threading.Thread(
            target=Feed(feed, settings, store).run, args=(stop,), name=f"feed-{feed.name}"
        )
        for feed in settings.feeds
    ]
    if settings.self_test.send_to:
        runner = Runner(settings, store)
        threads.append(threading.Thread(target=runner.run, args=(stop,), name="self-test"))
    for thread in threads:
        thread.start()
    store.pulse.ready = True
    while not stop.wait(_LOOK_S):
        store.pulse.went_round()
        for sender in senders.values():
            sender.release_when_idle()
    store.pulse.forget()
    for thread in threads:
        thread.join()
    for sender in senders.values():
        sender.close()
