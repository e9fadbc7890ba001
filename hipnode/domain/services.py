"""The processes of a node: what each is called, and the command that runs it by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Service:
    """One of them. One that is optional is there where the settings ask for it."""

    name: str
    command: str
    is_optional: bool = False


SERVICES: Final = (
    Service("listener", "listen"),
    Service("worker", "work"),
    Service("courier", "deliver"),
    Service("housekeeper", "housekeep"),
    Service("desk", "desk", is_optional=True),
)
"""In the order of their probes' ports. Commands, supervisor, status, compose, Kubernetes and
systemd go by this table, or are checked against it."""
ALWAYS: Final = tuple(service for service in SERVICES if not service.is_optional)
