"""The settings: one TOML file, ``HIPNODE_…`` overrides, secrets from files; frozen once read.

Unknown keys are refused and no value is ever corrected silently. ``config/hipnode.toml`` explains
every key; a test holds the two together.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hipnode.domain import Language
from hipnode.errors import SettingsInvalid


def _ae_title(value: str) -> str:
    """PS3.5 6.2, VR AE: 1 to 16 characters, no backslash or control character, not all spaces."""
    value = value.strip()
    if not 1 <= len(value) <= 16 or not value.isascii() or not value.isprintable() or "\\" in value:
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return value


AETitle = Annotated[str, AfterValidator(_ae_title)]
ObjectKind = Literal["sr", "capture", "text", "gsps", "pdf"]
SRClass = Literal["comprehensive-3d", "comprehensive"]


class Part(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Match(Part):
    """Conditions on an image: each given pattern must match (``*`` and ``?``, case ignored)."""

    calling_ae: str = "*"
    station_name: str = "*"
    institution: str = "*"
    modality: str = "*"
    body_part: str = "*"
    study_description: str = "*"
    series_description: str = "*"
    sop_class_uid: str = "*"
    presentation_intent: str = "*"

    def matches(self, facts: dict[str, str]) -> bool:
        """Tell whether every pattern matches ``facts`` (a missing fact counts as empty)."""
        return all(
            pattern == "*" or fnmatchcase(facts.get(name, "").upper(), str(pattern).upper())
            for name, pattern in self.model_dump().items()
        )


class NodeSettings(Part):
    name: str = "hipnode"
    ae_title: AETitle = "HIPNODE"
    data_dir: Path = Path("hipnode-data")
    institution: str = ""
    timezone_offset: str = Field(default="", pattern=r"^([+-]\d{4})?$")
    assumed_character_set: str = ""  # a defined term of PS3.3 C.12.1.1.2


class DatabaseSettings(Part):
    url: SecretStr = SecretStr("")  # empty: SQLite in data_dir
    url_file: Path | None = None


class BucketSettings(Part):
    """An S3-compatible object store for images and results."""

    name: str = ""  # empty: files lie in data_dir alone
    endpoint: str = ""  # empty: Amazon's own
    region: str = "us-east-1"
    prefix: str = ""
    keys_file: Path | None = None


class TLSSettings(Part):
    certificate: Path
    key: Path
    ca: Path | None = None  # required of peers: mutual TLS


class CallerSettings(Part):
    ae_title: AETitle
    addresses: tuple[str, ...] = ()  # IP addresses or networks; empty: any address


class ListenerSettings(Part):
    host: str = "127.0.0.1"
    port: int = Field(default=11112, ge=0, le=65535)  # 0: any free port, printed at start
    accept_any_called_ae: bool = False
    callers: tuple[CallerSettings, ...] = ()
    accept_any_caller: bool = False
    max_associations: int = Field(default=50, ge=1)
    max_pdu_bytes: int = Field(default=131072, ge=4096)
    acse_timeout_s: float = Field(default=30, gt=0)
    dimse_timeout_s: float = Field(default=60, gt=0)
    network_timeout_s: float = Field(default=120, gt=0)
    max_object_bytes: int = Field(default=2 * 1024**3, gt=0)
    max_drained_bytes: int = Field(default=256 * 1024**2, ge=0)
    min_bytes_per_s: float = Field(default=1000, ge=0)  # 0: any pace
    max_connections_per_minute: int = Field(default=3000, ge=0)  # per address; 0: any number
    max_objects_per_minute: int = Field(default=60_000, ge=0)  # per address; 0: any number
    tls: TLSSettings | None = None


class RuleSettings(Part):
    """The first rule that matches decides what happens to an instance."""

    match: Match = Match()
    action: Literal["read", "keep", "discard"] = "read"
    priority: int = Field(default=0, ge=-10, le=10)


class QueueSettings(Part):
    lease_s: float = Field(default=120, ge=1)
    max_attempts: int = Field(default=5, ge=1)
    backoff_first_s: float = Field(default=5, gt=0)
    backoff_cap_s: float = Field(default=900, gt=0)
    ageing_s: float = Field(default=1800, gt=0)  # waiting this long counts as one step of priority
    poll_s: float = Field(default=0.2, gt=0)


class ModelSetRule(Part):
    """Images that match are read with this set; the first such rule decides.

    A set in shadow reads beside it: what it finds is audited, and never reported.
    """

    set: str  # a shipped set, or the path of a model set file
    match: Match = Match()
    shadow: bool = False


class WorkerSettings(Part):
    model_set: str = "default"  # where no rule matches: a shipped set, or a model set file
    model_sets: tuple[ModelSetRule, ...] = (ModelSetRule(set="dxa", match=Match(modality="BMD")),)
    device: Literal["auto", "cpu", "openvino", "cuda"] = "auto"
    processes: int = Field(default=1, ge=1)  # images read side by side
    threads: int = Field(default=0, ge=0)  # per process; 0: the cores shared out
    job_timeout_s: float = Field(default=60, gt=0)
    memory_limit_bytes: int = Field(default=8 * 1024**3, ge=0)  # 0: none
    max_pixels: int = Field(default=100_000_000, gt=0)
    minimum_age_years: float = Field(default=18, ge=0)
    read_implants: bool = False


class ReportSettings(Part):
    quiet_s: float = Field(default=30, ge=0)
    report_on_release: bool = False
    negative: Literal["report", "audit"] = "report"
    abstained: Literal["report", "audit"] = "report"
    failed: Literal["report", "audit"] = "report"
    language: Language = "en"
    outcome_in_list: bool = True  # Series Description and document title say positive, doubt, ...


class Destined(Part):
    """What the settings of every kind of destination have; ``kind`` says which it is."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")
    match: Match = Match()
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
    | Annotated[WebhookSettings, Tag("webhook")],
    Discriminator(lambda v: v.get("kind", "dimse") if isinstance(v, dict) else v.kind),
]


class RetentionSettings(Part):
    images_days: float = Field(default=14, ge=0)
    results_days: float = Field(default=90, ge=0)
    quarantine_days: float = Field(default=30, ge=0)
    quarantine_bytes: int = Field(default=10 * 1024**3, ge=0)
    disk_low_bytes: int = Field(default=5 * 1024**3, ge=0)


class AuditSettings(Part):
    """Who keeps the audit log's key and its heads."""

    key_file: Path | None = None  # default: audit.key in data_dir
    head_files: tuple[Path, ...] = ()  # heads are appended to each
    head_syslog: str = Field(default="", pattern=r"^(/.+|(udp|tcp|tls)://[^/:]+:\d+)?$")
    head_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    head_every_s: float = Field(default=60, gt=0)
    max_unsealed_s: float = Field(default=60, gt=0)


class HousekeeperSettings(Part):
    sweep_s: float = Field(default=30, gt=0)
    seal_s: float = Field(default=1, gt=0)
    verify_hour_utc: int = Field(default=3, ge=0, le=23)
    scrub_days: float = Field(default=30, ge=0)  # 0: never


class HealthSettings(Part):
    """Where each service answers probes and Prometheus."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65532)  # 0: nowhere; else the first of four
    hold_s: float = Field(default=60, ge=0)


class AlertSettings(Part):
    """Who is told when a trouble begins and when it ends: a webhook, or people by e-mail."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")
    webhook: SecretStr = SecretStr("")  # its URL, which may hold a secret
    webhook_file: Path | None = None
    mail_to: tuple[str, ...] = ()
    mail_from: str = ""
    smtp_host: str = "localhost"
    smtp_port: int = Field(default=25, ge=1, le=65535)
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    smtp_ca: Path | None = None
    smtp_user: str = ""
    smtp_password_file: Path | None = None

    @model_validator(mode="after")
    def _check(self) -> AlertSettings:
        url = self.webhook.get_secret_value()
        if bool(url) + bool(self.webhook_file) + bool(self.mail_to) != 1:
            raise ValueError("an alert has one of webhook, webhook_file and mail_to")
        if url and not url.startswith(("https://", "http://")):
            raise ValueError("webhook is no URL of http or https")
        if self.mail_to and not self.mail_from:
            raise ValueError("mail_from is missing")
        return self


class LogSettings(Part):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(BaseSettings):
    """Everything that can be set. See ``config/hipnode.toml``."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="HIPNODE_", env_nested_delimiter="__"
    )

    node: NodeSettings = NodeSettings()
    database: DatabaseSettings = DatabaseSettings()
    bucket: BucketSettings = BucketSettings()
    listener: ListenerSettings = ListenerSettings()
    rules: tuple[RuleSettings, ...] = ()
    queue: QueueSettings = QueueSettings()
    worker: WorkerSettings = WorkerSettings()
    report: ReportSettings = ReportSettings()
    destinations: tuple[AnyDestination, ...] = ()
    retention: RetentionSettings = RetentionSettings()
    audit: AuditSettings = AuditSettings()
    housekeeper: HousekeeperSettings = HousekeeperSettings()
    health: HealthSettings = HealthSettings()
    alerts: tuple[AlertSettings, ...] = ()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _check(self) -> Settings:
        names = [d.name for d in self.destinations]
        if len(names) != len(set(names)):
            raise ValueError("two destinations have the same name")
        told = [a.name for a in self.alerts]
        if len(told) != len(set(told)):
            raise ValueError("two alerts have the same name")
        if self.database.url.get_secret_value() and self.database.url_file:
            raise ValueError("database.url and database.url_file are both set")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment outranks the file (whose tables arrive as init arguments)."""
        return env_settings, init_settings

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL: as set, from the secret's file, or SQLite under ``data_dir``.

        Raises
        ------
        SettingsInvalid
            If the file is not there, or is empty: no other database is taken instead.
        """
        if self.database.url_file:
            return _secret("database.url_file", self.database.url_file)
        set_url = self.database.url.get_secret_value()
        return set_url or f"sqlite:///{self.node.data_dir.absolute() / 'hipnode.db'}"

    @property
    def audit_key_file(self) -> Path:
        """Where the audit log's key lies."""
        return self.audit.key_file or self.node.data_dir.absolute() / "audit.key"

    def masked(self) -> dict[str, Any]:
        """Return the effective settings with secrets masked, ready for JSON."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """Return the sha256 of the effective settings: the audit log tells when they changed."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def _secret(key: str, path: Path) -> str:
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise SettingsInvalid(f"{key}: {path} cannot be read: {why}") from error
    if not found:
        raise SettingsInvalid(f"{key}: {path} is empty")
    return found


class _FileAlone(Settings):
    """Settings that the environment cannot change."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file and nothing else."""
        return (init_settings,)


def load(path: Path | None = None, *, environment: bool = True) -> Settings:
    """Read the settings.

    Parameters
    ----------
    path
        The TOML file; None reads ``$HIPNODE_CONFIG``, and without that uses the defaults.
    environment
        Whether ``HIPNODE_…`` variables are looked at. A demo does not: they are the site's.

    Raises
    ------
    SettingsInvalid
        With one line per wrong key, naming the key and what is wrong with it.
    """
    if path is None and environment and "HIPNODE_CONFIG" in os.environ:
        path = Path(os.environ["HIPNODE_CONFIG"])
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsInvalid(f"{path} cannot be read: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise SettingsInvalid(f"{path} is not valid TOML: {error}") from error
    try:
        return (Settings if environment else _FileAlone)(**table)
    except ValidationError as error:
        text = path.read_text(encoding="utf-8") if path else ""
        lines = [
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: "
            + (_unknown(item["loc"], text) if item["type"] == "extra_forbidden" else item["msg"])
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsInvalid("\n".join([f"{path or 'settings'} is not usable:", *lines])) from None


def _unknown(where: tuple[int | str, ...], text: str) -> str:
    """Return what to say of a key that there is none of: its line, and the key that it may mean."""
    key = str(where[-1])
    line = next(
        (n for n, line in enumerate(text.splitlines(), 1) if re.match(rf"\s*\[*{key}\b", line)), 0
    )
    meant = get_close_matches(key, _keys(where[:-1]), n=1)
    return "there is no such key" + (
        (f" (line {line})" if line else "") + (f"; did you mean {meant[0]}?" if meant else "")
    )


def _keys(where: tuple[int | str, ...]) -> list[str]:
    """Return the keys of a table of the settings."""
    part: type[BaseModel] = Settings
    for step in where:
        if isinstance(step, str) and step in part.model_fields:
            inner = _parts(part.model_fields[step].annotation)
            part = inner[0] if inner else part
    return list(part.model_fields)


def _parts(annotation: Any) -> list[type[BaseModel]]:
    """Return the tables that an annotation names: ``Part | None``, ``tuple[Part, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for argument in get_args(annotation) for part in _parts(argument)]
