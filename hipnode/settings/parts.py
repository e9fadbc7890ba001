"""The tables of the settings file, one class each."""

from __future__ import annotations

from fnmatch import fnmatchcase
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from hipnode.domain import COVARIATES, Language


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
    max_associations_share: float = Field(
        default=0.8, gt=0, le=1
    )  # of one caller; of an address, half of the rest too
    max_pdu_bytes: int = Field(default=131072, ge=4096)
    acse_timeout_s: float = Field(default=30, gt=0)
    dimse_timeout_s: float = Field(default=60, gt=0)
    network_timeout_s: float = Field(default=120, gt=0)
    max_object_bytes: int = Field(default=2 * 1024**3, gt=0)
    max_drained_bytes: int = Field(default=256 * 1024**2, ge=0)
    max_header_bytes: int = Field(default=256 * 1024**2, gt=0)
    max_header_elements: int = Field(default=100_000, gt=0)
    max_header_depth: int = Field(default=32, gt=0)
    max_header_s: float = Field(default=5, gt=0)
    min_bytes_per_s: float = Field(default=1000, ge=0)  # 0: any pace
    max_connections_per_minute: int = Field(default=3000, ge=0)  # per address; 0: any number
    max_objects_per_minute: int = Field(default=60_000, ge=0)  # per address; 0: any number
    tls: TLSSettings | None = None


class FeedbackSettings(Part):
    """Where final reports come in by themselves, and in which codes objects say who was right."""

    agree_codes: tuple[str, ...] = ("DCM:122775",)  # in SR and KOS, as scheme:value
    disagree_codes: tuple[str, ...] = ("DCM:122776",)
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)  # 0: nowhere
    senders: tuple[str, ...] = ()  # IP addresses or networks; empty: nobody
    character_set: str = "8859/1"  # of messages that do not say (MSH-18)
    max_message_bytes: int = Field(default=1024**2, ge=1024)
    timeout_s: float = Field(default=600, gt=0)  # of silence, after which a connection ends
    tls: TLSSettings | None = None

    @field_validator("senders")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ip_network(each, strict=False)
        return value


class CovariateSettings(Part):
    """What is known about patients and stands in no header, as it comes by HL7 and FHIR."""

    codes: dict[str, str] = {}  # scheme:value -> name of a covariate
    max_age_days: float = Field(default=365, gt=0)

    @field_validator("codes")
    @classmethod
    def _are_known(cls, value: dict[str, str]) -> dict[str, str]:
        for code, name in value.items():
            if name not in COVARIATES or not COVARIATES[name].told:
                known = ", ".join(name for name, row in COVARIATES.items() if row.told)
                raise ValueError(f"{name} is none of {known}")
            if not all(code.rpartition(":")[::2]):
                raise ValueError(f"{code!r} is not scheme:value")
        return value


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


class RetentionSettings(Part):
    images_days: float = Field(default=14, ge=0)
    results_days: float = Field(default=90, ge=0)
    quarantine_days: float = Field(default=30, ge=0)
    quarantine_bytes: int = Field(default=10 * 1024**3, ge=0)
    disk_low_bytes: int = Field(default=5 * 1024**3, ge=0)


class AuditSettings(Part):
    """Who keeps the audit log's key and its heads."""

    key_file: Path | None = None  # default: audit.key in data_dir
    archive_dir: Path | None = None  # default: audit-archive in data_dir
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


class SelfTestSettings(Part):
    """A phantom a day goes to the PACS, and its report must come back there."""

    send_to: str = ""  # a destination of kind "dimse", by name; empty: no self-test
    seen_at: str = ""  # likewise: where reports go, and are looked for; empty: send_to
    calling_ae_title: AETitle = "HIPNODE-TEST"  # routes leave out what our own title sends
    patient_id: str = Field(default="HIPNODE-SELFTEST", min_length=1, max_length=64)
    hour_utc: int = Field(default=5, ge=0, le=23)
    within_s: float = Field(default=1800, gt=0)
    expect: Literal["right", "read"] = "right"  # "read": whatever the models make of it


class HealthSettings(Part):
    """Where each service answers probes and Prometheus."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65531)  # 0: nowhere; else the first of five
    hold_s: float = Field(default=60, ge=0)
    clock_off_s: float = Field(default=5, gt=0)


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
