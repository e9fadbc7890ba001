"""The ways to a destination, one file each, behind one small interface."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from hipnode.services.courier.ways.way import Answer, Reply, Way
from hipnode.settings import AnyDestination

_KINDS: Final = {
    "dimse": ("hipnode.services.courier.ways.dimse", "Link"),
    "stow": ("hipnode.services.courier.ways.stow", "Stow"),
    "hl7": ("hipnode.services.courier.ways.mllp", "Mllp"),
    "fhir": ("hipnode.services.courier.ways.fhir", "FHIR"),
    "webhook": ("hipnode.services.courier.ways.webhook", "Webhook"),
}
"""By the kind of the settings. What a site does not use is never imported."""


def way_to(destination: AnyDestination, ae_title: str) -> Way:
    """Return the way to a destination.

    Parameters
    ----------
    destination
        Its settings.
    ae_title
        The node's own AE title.

    Raises
    ------
    SettingsInvalid
        If a certificate or a secret cannot be read.
    """
    module, name = _KINDS[destination.kind]
    made: Way = getattr(import_module(module), name)(destination, ae_title)
    return made


__all__ = ["Answer", "Reply", "Way", "way_to"]
