"""The ways out: what each kind of destination needs to be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
)

from hipnode.domain import Language
from hipnode.settings.parts import AETitle, Match, ObjectKind, Part, SRClass, TLSSettings


class Destined(Part):
    """What the settings of every kind of destination have; ``kind`` says which it is."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")
    match: Match = Match()
    language: Language | None = None  # of what people read; none: that of the reports
    timeout_s: float = Field(default=30, gt=0)

    @property
    def peer(self) -> str:
        """Who takes what is sent, as the audit log names it."""
        return self.name

    @property
    def where(self) -> str:
        """Where it is, for people."""
        return str(getattr(self, "url", "") or f"{self.peer} at {self.host}:{self.port}")  # type: ignore[attr-defined]

    @property
    def made_for(self) -> tuple[str, ...]:
        """The kinds of object that it gets."""
        return ()

    @property
    def sr_classes(self) -> tuple[SRClass, ...]:
        """The SOP Classes in which an SR may be sent, the best first."""
        return ()

    @property
    def commits(self) -> bool:
        """Whether it is asked for its storage commitment."""
        return False


class DicomDestined(Destined):
    """What the destinations of DICOM objects have."""

    objects: tuple[ObjectKind, ...] = ("sr", "capture", "text")
    sr_sop_classes: tuple[SRClass, ...] = ("comprehensive-3d", "comprehensive")

    @property
    def made_for(self) -> tuple[str, ...]:
        return self.objects

    @property
    def sr_classes(self) -> tuple[SRClass, ...]:
        return self.sr_sop_classes


class DestinationSettings(DicomDestined):
    """Sent by C-STORE."""

    kind: Literal["dimse"] = "dimse"
    host: str
    port: int = Field(ge=1, le=65535)
    ae_title: AETitle
    calling_ae_title: AETitle | None = None  # default: the node's own
    storage_commitment: bool = False
    commitment_timeout_s: float = Field(default=3600, gt=0)
    tls: TLSSettings | None = None

    @property
    def peer(self) -> str:
        return self.ae_title

    @property
    def commits(self) -> bool:
        return self.storage_commitment


class HTTPSettings(Part):
    """A web address; secrets come from files."""

    url: str = Field(pattern=r"^https?://[^\s]+$")
    ca: Path | None = None  # what its certificate is checked against; none: the system's own
    token_file: Path | None = None  # sent as a bearer token


class StowSettings(DicomDestined, HTTPSettings):
    """Sent by STOW-RS: ``url`` is that of the DICOMweb service."""

    kind: Literal["stow"]


class HL7Settings(Destined):
    """Sent as ORU^R01 over MLLP."""

    kind: Literal["hl7"]
    host: str
    port: int = Field(ge=1, le=65535)
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: Literal["P", "T", "D"] = "P"  # production, training, debugging
    tls: TLSSettings | None = None

    @property
    def made_for(self) -> tuple[str, ...]:
        return ("oru",)


class FHIRSettings(Destined, HTTPSettings):
    """Sent as a transaction to the FHIR R4 server whose base address is ``url``."""

    kind: Literal["fhir"]

    @property
    def made_for(self) -> tuple[str, ...]:
        return ("fhir",)


class WebhookSettings(Destined, HTTPSettings):
    """Sent as signed JSON to ``url``."""

    kind: Literal["webhook"]
    secret_file: Path  # signs what is sent

    @property
    def made_for(self) -> tuple[str, ...]:
        return ("notice",)


AnyDestination = Annotated[
    Annotated[DestinationSettings, Tag("dimse")]
    | Annotated[StowSettings, Tag("stow")]
    | Annotated[HL7Settings, Tag("hl7")]
    | Annotated[FHIRSettings, Tag("fhir")]
    | Annotated[WebhookSettings, Tag("webhook")],
    Discriminator(lambda v: v.get("kind", "dimse") if isinstance(v, dict) else v.kind),
]
