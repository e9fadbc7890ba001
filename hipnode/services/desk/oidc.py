"""Sign-in at the hospital's own provider: OpenID Connect, authorization code with PKCE.

Nothing is kept between the way there and the way back: state, nonce and verifier follow from one
random value in a cookie of the same browser.

References
----------
OpenID Connect Core 1.0, 3.1; RFC 7636 (PKCE); RFC 9207 (the issuer in the answer).
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from typing import Any, Final

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from hipnode.answers.shown import plain
from hipnode.domain import AuditEvent, Outcome
from hipnode.errors import HipnodeError
from hipnode.services.desk.sign_in import begin, form, roles_of, safe_path
from hipnode.services.desk.visit import Answer, NotHere, Seen, Visit
from hipnode.settings import OidcSettings

FLOW: Final = "hipnode-flow"
CALLBACK: Final = "/sign-in/back"
_ALGORITHMS: Final = ["RS256", "PS256", "ES256", "EdDSA"]
_PATIENCE_S: Final = 10.0
_LEEWAY_S: Final = 60
_FAILED: Final = "The sign-in service could not be asked, or did not vouch for you."


class ProviderFailed(HipnodeError):
    """The provider cannot be asked, or what it says cannot be believed."""


def _derived(flow: str, what: str) -> str:
    digest = hashlib.sha256(f"{what}:{flow}".encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _ask(oidc: OidcSettings, url: str) -> dict[str, Any]:
    try:
        found = requests.get(url, timeout=_PATIENCE_S, verify=_verify(oidc))
        found.raise_for_status()
        document: dict[str, Any] = found.json()
    except (requests.RequestException, ValueError) as error:
        raise ProviderFailed(f"the provider does not answer: {type(error).__name__}") from error
    return document


def _verify(oidc: OidcSettings) -> str | bool:
    return str(oidc.ca) if oidc.ca else True


def _found(oidc: OidcSettings) -> dict[str, Any]:
    """Return what the provider says of itself (OpenID Connect Discovery 1.0, 4.3)."""
    known = _ask(oidc, f"{oidc.issuer.rstrip('/')}/.well-known/openid-configuration")
    if known.get("issuer") != oidc.issuer:
        raise ProviderFailed("the provider is another one than the settings name")
    return known


def _client(oidc: OidcSettings, visit: Visit) -> OAuth2Session:
    secret = None
    if oidc.client_secret_file is not None:
        try:
            secret = oidc.client_secret_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ProviderFailed("desk.oidc.client_secret_file cannot be read") from error
    return OAuth2Session(
        client_id=oidc.client_id,
        client_secret=secret,
        token_endpoint_auth_method="client_secret_basic" if secret else "none",
        scope=oidc.scope,
        redirect_uri=visit.base_url + CALLBACK,
        code_challenge_method="S256",
        default_timeout=_PATIENCE_S,
    )


def _settings(visit: Visit) -> OidcSettings:
    oidc = visit.settings.desk.oidc
    if visit.settings.desk.sign_in != "oidc" or oidc is None:
        raise NotHere
    return oidc


def leave(visit: Visit) -> Answer:
    """Send the browser to the provider."""
    oidc = _settings(visit)
    flow = secrets.token_urlsafe(32)
    try:
        url, _ = _client(oidc, visit).create_authorization_url(
            _found(oidc)["authorization_endpoint"],
            state=_derived(flow, "state"),
            nonce=_derived(flow, "nonce"),
            code_verifier=_derived(flow, "verifier"),
        )
    except (ProviderFailed, KeyError) as error:
        return _refused(visit, str(error), 503)
    to = safe_path(visit.query.get("to", "/"))
    return Answer(to=url, cookies={FLOW: f"{flow} {to}"})


def come_back(visit: Visit) -> Answer:
    """Take whom the provider vouches for, and go on to the page that was asked for."""
    oidc = _settings(visit)
    flow, _, to = visit.cookies.get(FLOW, "").partition(" ")
    state = visit.query.get("state", "")
    if not flow or not secrets.compare_digest(state.encode(), _derived(flow, "state").encode()):
        return _refused(visit, "the answer belongs to no question of this browser", 403)
    try:
        claims = _claims(oidc, visit, flow)
    except (ProviderFailed, AuthlibBaseError, JoseError, requests.RequestException) as error:
        return _refused(visit, f"{type(error).__name__}: {error}", 403)
    except (KeyError, TypeError, ValueError) as error:
        return _refused(visit, f"its answer is unlike the standard: {type(error).__name__}", 403)
    groups = claims.get(oidc.roles_claim, [])
    given = [groups] if isinstance(groups, str) else list(groups)
    roles = roles_of(visit.settings.desk, [str(group) for group in given])
    subject = str(claims["sub"])
    name = plain(claims.get(oidc.name_claim) or subject)[:128]
    if not roles:
        return _refused(visit, f"{name} is in no group that has a role here", 403)
    begun = begin(visit, subject, name, roles, "oidc")
    # A page of our own, which goes on by itself: a cookie that is strictly same-site is not sent
    # along where the provider's page leads here.
    return Answer(
        "onward.html",
        {"onward": safe_path(to or "/")},
        session_token=begun.session_token,
        cookies={FLOW: ""},
    )


def _claims(oidc: OidcSettings, visit: Visit, flow: str) -> dict[str, Any]:
    """Return what the provider says of the person, all of it checked."""
    known = _found(oidc)
    if "error" in visit.query:
        raise ProviderFailed(plain(visit.query["error"])[:80])
    if visit.query.get("iss", oidc.issuer) != oidc.issuer:
        raise ProviderFailed("the answer is another provider's")
    tokens = _client(oidc, visit).fetch_token(
        known["token_endpoint"],
        code=visit.query.get("code", ""),
        code_verifier=_derived(flow, "verifier"),
        verify=_verify(oidc),
    )
    keys = KeySet.import_key_set(_ask(oidc, known["jwks_uri"]))  # type: ignore[arg-type]
    claims = dict(jwt.decode(tokens["id_token"], keys, algorithms=_ALGORITHMS).claims)
    registry = jwt.JWTClaimsRegistry(
        leeway=_LEEWAY_S,
        iss={"essential": True, "value": oidc.issuer},
        aud={"essential": True, "value": oidc.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": _derived(flow, "nonce")},
    )
    registry.validate(claims)
    if isinstance(claims["aud"], list) and claims.get("azp", oidc.client_id) != oidc.client_id:
        raise ProviderFailed("the answer is meant for another client")
    if oidc.roles_claim not in claims and "userinfo_endpoint" in known:
        claims = _userinfo(oidc, known["userinfo_endpoint"], tokens["access_token"], claims)
    return claims


def _userinfo(oidc: OidcSettings, url: str, token: str, claims: dict[str, Any]) -> dict[str, Any]:
    """Return the claims with those that the provider only tells when it is asked."""
    headers = {"Authorization": f"Bearer {token}"}
    found = requests.get(url, headers=headers, timeout=_PATIENCE_S, verify=_verify(oidc))
    found.raise_for_status()
    more: dict[str, Any] = found.json()
    if more.get("sub") != claims["sub"]:
        raise ProviderFailed("the provider speaks of somebody else")
    return more | claims


def _refused(visit: Visit, why: str, status: int) -> Answer:
    seen = Seen(outcome=Outcome.REFUSED)
    reason = plain(why)[:200]
    record = visit.record(AuditEvent.SIGN_IN_REFUSED, seen, reason=reason, how="oidc")
    visit.store.audit.append(record)
    answer = form(visit, _FAILED, status)
    return Answer(answer.template, answer.values, status=status, cookies={FLOW: ""})
