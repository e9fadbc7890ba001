"""The settings of the desk: where it answers, and who may come in."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from hipnode.domain.people import Role
from hipnode.settings.parts import Part, TLSSettings

_LOCAL = ("localhost", "127.0.0.1", "::1")


class OidcSettings(Part):
    """The hospital's own sign-in: OpenID Connect, authorization code with PKCE."""

    issuer: str = Field(pattern=r"^https?://[^\s?#]+$")
    client_id: str
    client_secret_file: Path | None = None  # none: a public client
    scope: str = "openid profile"
    name_claim: str = "name"
    roles_claim: str = "groups"
    ca: Path | None = None  # what the provider's certificate is checked against

    @field_validator("issuer")
    @classmethod
    def _check_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "https" and parts.hostname not in _LOCAL:
            raise ValueError("an issuer that is not on this machine has an https URL")
        return value


class DeskSettings(Part):
    """The page for those who answer for the node."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)  # 0: it is no service of `serve`
    public_url: str = Field(default="", pattern=r"^(https?://[^\s/?#]+)?$")
    sign_in: Literal["accounts", "oidc", "proxy"] = "accounts"
    roles: dict[str, Role] = Field(default={})
    user_header: str = "X-Forwarded-User"
    groups_header: str = "X-Forwarded-Groups"
    trusted_proxies: tuple[str, ...] = ()
    idle_s: float = Field(default=900, gt=0)
    longest_s: float = Field(default=36000, gt=0)
    language: Literal["", "en", "de"] = ""
    timezone: str = "UTC"
    tls: TLSSettings | None = None
    oidc: OidcSettings | None = None

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ip_network(each, strict=False)
        return value

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {value} here") from error
        return value

    @model_validator(mode="after")
    def _check(self) -> DeskSettings:
        if self.sign_in == "oidc" and self.oidc is None:
            raise ValueError("sign_in is oidc, and there is no table desk.oidc")
        if self.sign_in == "proxy" and not self.trusted_proxies:
            raise ValueError("sign_in is proxy, and trusted_proxies is empty")
        if self.sign_in != "accounts" and not self.roles:
            raise ValueError("desk.roles is empty: nobody would have a role")
        if not (self.is_local or self.tls or self.trusted_proxies):
            raise ValueError(
                "without desk.tls or trusted_proxies the desk answers this machine alone:"
                " passwords and patients' data would cross the network in the clear"
            )
        return self

    @property
    def is_local(self) -> bool:
        """Tell whether only this machine can reach the desk."""
        if self.host in _LOCAL:
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False
