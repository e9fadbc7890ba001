"""The hospital's own logs, which are told what is on the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from hipnode.settings.destinations import HTTPSettings
from hipnode.settings.parts import Part


class Fed(Part):
    """What every kind of feed has."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")
    timeout_s: float = Field(default=10, gt=0)


class ATNASettings(Fed):
    """XML by syslog over TLS, to an Audit Record Repository (IHE ATNA)."""

    kind: Literal["atna"] = "atna"
    host: str
    port: int = Field(default=6514, ge=1, le=65535)
    ca: Path | None = None  # what its certificate is checked against; none: the system's own
    certificate: Path | None = None  # ours, with its key, where it asks for one
    key: Path | None = None


class AuditEventSettings(Fed, HTTPSettings):
    """FHIR R4 AuditEvent, to the server whose base address is ``url`` (IHE BALP)."""

    kind: Literal["fhir"]


AnyFeed = Annotated[
    Annotated[ATNASettings, Tag("atna")] | Annotated[AuditEventSettings, Tag("fhir")],
    Discriminator(lambda v: v.get("kind", "atna") if isinstance(v, dict) else v.kind),
]
