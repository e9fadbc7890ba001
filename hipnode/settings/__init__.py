"""The settings: one TOML file, ``HIPNODE_…`` overrides, secrets from files; frozen once read.

Unknown keys are refused and no value is ever corrected silently. ``config/reference.toml`` explains
every key; a test holds the two together.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hipnode.errors import SettingsInvalid
from hipnode.settings.desk import DeskSettings, OidcSettings
from hipnode.settings.destinations import (
    AnyDestination,
    DestinationSettings,
    Destined,
    DicomDestined,
    FHIRSettings,
    HL7Settings,
    HTTPSettings,
    StowSettings,
    WebhookSettings,
)
from hipnode.settings.feeds import AnyFeed, ATNASettings, AuditEventSettings
from hipnode.settings.parts import (
    AETitle,
    AlertSettings,
    AuditSettings,
    BucketSettings,
    CallerSettings,
    CovariateSettings,
    DatabaseSettings,
    FeedbackSettings,
    HealthSettings,
    HousekeeperSettings,
    ListenerSettings,
    LogSettings,
    Match,
    ModelSetRule,
    NodeSettings,
    ObjectKind,
    Part,
    QueueSettings,
    ReportSettings,
    RetentionSettings,
    RuleSettings,
    SelfTestSettings,
    SRClass,
    TLSSettings,
    WorkerSettings,
)

__all__ = [
    "AETitle",
    "ATNASettings",
    "AlertSettings",
    "AnyDestination",
    "AnyFeed",
    "AuditEventSettings",
    "AuditSettings",
    "BucketSettings",
    "CallerSettings",
    "CovariateSettings",
    "DatabaseSettings",
    "DeskSettings",
    "DestinationSettings",
    "Destined",
    "DicomDestined",
    "FHIRSettings",
    "FeedbackSettings",
    "HL7Settings",
    "HTTPSettings",
    "HealthSettings",
    "HousekeeperSettings",
    "ListenerSettings",
    "LogSettings",
    "Match",
    "ModelSetRule",
    "NodeSettings",
    "ObjectKind",
    "OidcSettings",
    "Part",
    "QueueSettings",
    "ReportSettings",
    "RetentionSettings",
    "RuleSettings",
    "SRClass",
    "SelfTestSettings",
    "Settings",
    "StowSettings",
    "TLSSettings",
    "WebhookSettings",
    "WorkerSettings",
    "load",
]


class Settings(BaseSettings):
    """Everything that can be set. See ``config/reference.toml``."""

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
    self_test: SelfTestSettings = SelfTestSettings()
    health: HealthSettings = HealthSettings()
    alerts: tuple[AlertSettings, ...] = ()
    feeds: tuple[AnyFeed, ...] = ()
    desk: DeskSettings = DeskSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    covariates: CovariateSettings = CovariateSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _check(self) -> Settings:
        names = [d.name for d in self.destinations]
        if len(names) != len(set(names)):
            raise ValueError("two destinations have the same name")
        told = [a.name for a in self.alerts]
        if len(told) != len(set(told)):
            raise ValueError("two alerts have the same name")
        for key in ("send_to", "seen_at"):
            if (name := getattr(self.self_test, key)) and self.archive(name) is None:
                raise ValueError(f"self_test.{key}: no destination of kind dimse is named {name}")
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

    def archive(self, name: str) -> DestinationSettings | None:
        """Return the destination of kind ``dimse`` that has this name, or None."""
        places = (p for p in self.destinations if isinstance(p, DestinationSettings))
        return next((place for place in places if place.name == name), None)

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

    @property
    def audit_archive_dir(self) -> Path:
        """Where archives of the audit log lie."""
        return self.audit.archive_dir or self.node.data_dir.absolute() / "audit-archive"

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
        except UnicodeDecodeError as error:
            raise SettingsInvalid(f"{path} is not in UTF-8 (byte {error.start})") from error
        except (tomllib.TOMLDecodeError, RecursionError) as error:
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
