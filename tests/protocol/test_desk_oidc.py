"""Sign-in at a real OpenID provider (npm oidc-provider): who comes back, and who does not."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from hipnode.domain import AuditEvent
from hipnode.settings import Settings
from hipnode.storage import Asked, AuditFilter, Store
from tests.desk import BASE, Guest
from tests.peers import ROOT, Process, eventually, missing, require, run

HERE = ROOT / "tests" / "browser"
SECRET = "a secret of the client, only for tests"  # noqa: S105
Begin = Callable[..., Guest]


@pytest.fixture(scope="module", params=["id_token", "userinfo"])
def issuer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A provider that tells groups in the ID token, and one that tells them when asked."""
    node = require("node", "nodejs")
    if not (HERE / "node_modules" / "oidc-provider").is_dir():
        npm = require("npm", "npm")
        done = run([npm, "ci", "--no-audit", "--no-fund", "--prefix", HERE], check=False)
        if done.returncode:
            missing(f"oidc-provider cannot be installed: {done.stderr[-300:]}")
    log = tmp_path_factory.mktemp("provider") / "provider.log"
    env = {"IN_USERINFO": "1"} if request.param == "userinfo" else {}
    command = [node, HERE / "provider.mjs", f"{BASE}/sign-in/back", SECRET]
    process = Process([str(part) for part in command], log, env=env)
    found = eventually(lambda: re.search(r"issuer (\S+)", process.output()), timeout_s=120)
    yield found[1]
    process.kill()


@pytest.fixture
def begin(issuer: str, tmp_path: Path) -> Iterator[Begin]:
    """A function that returns somebody before a desk that knows the provider."""
    stores: list[Store] = []
    secret = tmp_path / "secret"
    secret.write_text(SECRET)

    def begin_(**oidc: Any) -> Guest:
        given = {"issuer": issuer, "client_id": "hipnode", "client_secret_file": str(secret)}
        settings = Settings.model_validate(
            {
                "node": {"data_dir": tmp_path / f"node{len(stores)}"},
                "desk": {
                    "sign_in": "oidc",
                    "roles": {"hip-audit": "auditor"},
                    "oidc": given | oidc,
                },
            }
        )
        stores.append(Store.open(settings, migrate=True))
        return Guest(stores[-1], settings)

    yield begin_
    for store in stores:
        store.close()


def at_the_provider(url: str, person: str) -> str:
    """Sign in as a person does; return the address that the provider sends the browser to."""
    browser = requests.Session()
    answer = browser.get(url, timeout=60)
    for _ in range(4):
        action = re.search(r'action="([^"]+)"', answer.text)
        prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)
        assert action, answer.text[:800]
        assert prompt, answer.text[:800]
        form = {"prompt": prompt[1], "login": person, "password": "anything"}
        answer = browser.post(
            html.unescape(action[1]), data=form, timeout=60, allow_redirects=False
        )
        while answer.is_redirect:
            to = requests.compat.urljoin(answer.url, answer.headers["location"])
            if to.startswith(BASE):
                return str(to)
            answer = browser.get(to, timeout=60, allow_redirects=False)
    raise AssertionError("the provider never sent the browser back")


def leave(guest: Guest) -> str:
    answer = guest.get("/sign-in/go?to=/audit")
    assert answer.status_code == 303
    return str(answer.headers["location"])


def newest(guest: Guest, event: AuditEvent) -> Any:
    found = guest.store.desk.records.page(Asked(AuditFilter(event=event)), limit=1).entries
    return found[0].record


def test_whom_the_provider_vouches_for_comes_in_with_the_roles_of_their_groups(
    begin: Begin,
) -> None:
    eva = begin()
    url = leave(eva)
    asked = parse_qs(urlsplit(url).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["response_type"] == ["code"]
    assert {"state", "nonce", "code_challenge"} <= set(asked)
    back = at_the_provider(url, "eva")
    answer = eva.get(back.removeprefix(BASE))
    assert answer.status_code == 200
    assert 'content="0; url=/audit"' in answer.text
    assert eva.get("/audit").status_code == 200
    assert eva.get("/accounts").status_code == 403
    record = newest(eva, AuditEvent.SIGNED_IN)
    assert record.actor == "Eva Muster"
    assert record.detail["subject"] == "eva"
    assert (record.detail["how"], record.detail["roles"]) == ("oidc", ["auditor"])
    # The same answer a second time is nobody's.
    again = begin()
    assert again.get(back.removeprefix(BASE)).status_code == 403


def test_who_is_in_no_group_with_a_role_does_not_come_in(begin: Begin) -> None:
    guest = begin()
    answer = guest.get(at_the_provider(leave(guest), "max").removeprefix(BASE))
    assert answer.status_code == 403
    assert guest.get("/").status_code == 303
    assert "in no group" in newest(guest, AuditEvent.SIGN_IN_REFUSED).detail["reason"]


def test_an_answer_that_belongs_to_another_browser_lets_nobody_in(begin: Begin) -> None:
    mine, other = begin(), begin()
    leave(other)
    answer = other.get(at_the_provider(leave(mine), "eva").removeprefix(BASE))
    assert answer.status_code == 403
    assert other.get("/").status_code == 303
    reason = newest(other, AuditEvent.SIGN_IN_REFUSED).detail["reason"]
    assert "no question of this browser" in reason


def test_a_code_that_was_used_lets_nobody_in_again(begin: Begin) -> None:
    guest = begin()
    back = at_the_provider(leave(guest), "eva").removeprefix(BASE)
    flow = guest.http.cookies.get("hipnode-flow")
    assert guest.get(back).status_code == 200
    guest.http.cookies.clear()
    guest.http.cookies.set("hipnode-flow", flow or "")
    assert guest.get(back).status_code == 403
    assert guest.get("/").status_code == 303


def test_a_provider_that_is_another_one_or_away_is_said_and_nothing_breaks(
    begin: Begin, issuer: str
) -> None:
    for wrong in (f"{issuer}/other", "http://127.0.0.1:9"):
        guest = begin(issuer=wrong)
        answer = guest.get("/sign-in/go?to=/")
        assert answer.status_code == 503
        assert "did not vouch for you" in answer.text
    assert begin().get("/sign-in/back?error=access_denied&state=x").status_code == 403
    assert begin().post("/sign-in", {"name": "a", "password": "b"}).status_code == 404
