"""A study of thousands of images comes in, and another sender's one beside it."""

from __future__ import annotations

import time
from typing import Final

from hipnode.services.torture.peers import Archive, Modality, image, small_images
from hipnode.services.torture.site import Site, until
from hipnode.services.torture.table import Row

IMAGES: Final = 2000
_MOST_S: Final = 1800.0
_OTHER_S: Final = 300.0


def large_study(site: Site, archive: Archive) -> Row:
    """Send 2,000 small images of one study: its report has them all, and others get theirs."""
    sender, other = Modality(site.port, calling="LARGE"), Modality(site.port, calling="SMALL")
    began_s = time.monotonic()
    taken = sender.send_all(small_images(IMAGES))
    taken_s = time.monotonic() - began_s
    one = image(0)
    other.send(one)
    uid = str(one.StudyInstanceUID)
    beside = bool(until(lambda: archive.objects[uid], _OTHER_S, every_s=0.5))
    beside_s = time.monotonic() - began_s - taken_s
    settled = site.settled(_MOST_S)
    whole_s = time.monotonic() - began_s
    reported = archive.newest_evidence(sender.acknowledged)
    words = (
        f"{taken} taken in {taken_s:.0f} s, {reported} in the newest report after {whole_s:.0f} s; "
        f"another sender's image {f'reported {beside_s:.0f} s after it came' if beside else 'late'}"
    )
    held = (taken == reported == IMAGES) + beside if settled else 0
    lost = site.lost(archive, sender.acknowledged | other.acknowledged, settled=settled)
    return Row("a study of 2,000 images", 2, held, lost + max(taken - reported, 0), 0, None, words)
