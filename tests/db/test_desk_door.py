"""The desk's door: who comes in and who does not, and that nobody else's page can act for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher, profiles

from hipnode.domain import AuditEvent, Outcome
from hipnode.domain.people import Role
from hipnode.errors import InputRefused, SettingsInvalid
from hipnode.services.desk import passwords, sign_in
from hipnode.services.desk.app import COOKIE
from hipnode.settings import load
from hipnode.storage import Asked, AuditFilter
from tests.db.conftest import Bench
from tests.desk import BASE, Guest, settings_of, signed_in
from tests.node import write_settings

Look = Callable[..., Guest]
CHOSEN = "correct horse battery staple"


@pytest.fixture
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passwords hashed as a test can afford: a real one takes a tenth of a second."""
    cheapest = PasswordHasher.from_parameters(profiles.CHEAPEST)
    monkeypatch.setattr(passwords, "_HASHER", cheapest)
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


pytestmark = pytest.mark.usefixtures("cheap_hashes")


@pytest.fixture
def guest(bench: Bench) -> Look:
    """A function that lets somebody with these roles in."""

    def come(*roles: Role, **desk: Any) -> Guest:
        settings = settings_of(bench, **desk) if desk else bench.settings
        return Guest(bench.store, settings, *roles)

    return come


def events(bench: Bench, event: AuditEvent) -> list[Any]:
    found = bench.store.desk.records.page(Asked(AuditFilter(event=event)), limit=100)
    return [entry.record for entry in found.entries]


def add(bench: Bench, name: str, *roles: Role) -> str:
    """Make an account, as the command line does; return its one-time password."""
    password = passwords.one_time()
    bench.store.desk.people.add(name, roles, passwords.hashed(password), actor="root")
    return password


def come_in(guest: Guest, name: str, password: str) -> Any:
    return guest.post("/sign-in", {"name": name, "password": password})


# --- accounts -------------------------------------------------------------------------------------


def test_there_is_no_account_until_one_is_made(bench: Bench, guest: Look) -> None:
    assert bench.store.desk.people.accounts() == []
    for name in ("admin", "root", "hipnode", ""):
        for password in ("admin", "password", "", "hipnode"):
            assert come_in(guest(), name, password).status_code == 401


def test_a_one_time_password_opens_nothing_but_the_choice_of_another(
    bench: Bench, guest: Look
) -> None:
    once = add(bench, "Ada", Role.AUDITOR)
    ada = guest()
    answer = come_in(ada, "ada", once)
    assert (answer.status_code, answer.headers["location"]) == (303, "/password")
    for page in ("/", "/audit", "/studies"):
        assert ada.get(page).headers["location"] == "/password"
    for new, again in (("short", "short"), (CHOSEN, "other"), (once, once), ("ada" * 5,) * 2):
        refused = ada.post("/password", {"old": once, "new": new, "again": again})
        assert refused.status_code == 422
    done = ada.post("/password", {"old": once, "new": CHOSEN, "again": CHOSEN})
    assert done.headers["location"] == "/"
    assert ada.get("/audit").status_code == 200
    assert come_in(guest(), "ada", once).status_code == 401
    assert come_in(guest(), "ADA", CHOSEN).headers["location"] == "/"


def test_a_one_time_password_holds_for_a_day(bench: Bench, guest: Look) -> None:
    once = add(bench, "ada", Role.AUDITOR)
    bench.clock.forward(86401)
    assert come_in(guest(), "ada", once).status_code == 401


def test_five_wrong_passwords_lock_the_account_for_a_quarter_of_an_hour(
    bench: Bench, guest: Look
) -> None:
    once = add(bench, "ada", Role.AUDITOR)
    for _ in range(5):
        assert come_in(guest(), "ada", "wrong").status_code == 401
    assert come_in(guest(), "ada", once).status_code == 401
    assert [r.detail["reason"] for r in events(bench, AuditEvent.SIGN_IN_REFUSED)] == [
        "locked", *["wrong"] * 5,
    ]  # fmt: skip
    bench.clock.forward(901)
    assert come_in(guest(), "ada", once).status_code == 303


def test_a_right_password_begins_the_count_anew(bench: Bench, guest: Look) -> None:
    once = add(bench, "ada", Role.AUDITOR)
    for _ in range(3):
        for _ in range(4):
            come_in(guest(), "ada", "wrong")
        assert come_in(guest(), "ada", once).status_code == 303


def test_a_closed_account_lets_nobody_in_and_shows_out_who_is(bench: Bench, guest: Look) -> None:
    once = add(bench, "ada", Role.READER)
    ada, admin = guest(), guest(Role.ADMIN)
    come_in(ada, "ada", once)
    answer = admin.post("/accounts/change", {"name": "ada", "disabled": "yes"})
    assert answer.headers["location"] == "/accounts"
    assert ada.get("/").headers["location"].startswith("/sign-in")
    assert come_in(guest(), "ada", once).status_code == 401
    record = events(bench, AuditEvent.ACCOUNT_CHANGED)[0]
    assert (record.actor, record.detail["account"], record.detail["disabled"]) == (
        "admin", "ada", True,
    )  # fmt: skip
    add(bench, "admin", Role.ADMIN)
    own = admin.post("/accounts/change", {"name": "admin", "disabled": "yes"})
    assert own.status_code == 422


def test_an_account_needs_a_role_and_a_name_of_its_own(bench: Bench) -> None:
    add(bench, "ada", Role.READER)
    with pytest.raises(InputRefused):
        add(bench, "ADA", Role.READER)
    with pytest.raises(InputRefused):
        add(bench, "bob")


def test_no_password_is_kept_and_none_is_on_the_log(bench: Bench, guest: Look) -> None:
    once = add(bench, "ada", Role.READER)
    come_in(guest(), "ada", once)
    come_in(guest(), "ada", "a wrong one")
    (account,) = bench.store.desk.people.accounts()
    assert account.password.startswith("$argon2id$")
    assert once not in account.password
    for record in events(bench, AuditEvent.SIGNED_IN) + events(bench, AuditEvent.SIGN_IN_REFUSED):
        assert once not in str(record)
        assert "a wrong one" not in str(record)


# --- sessions -------------------------------------------------------------------------------------


def test_a_session_ends_when_nobody_uses_it_and_after_a_day_of_work(
    bench: Bench, guest: Look
) -> None:
    somebody = guest(Role.OPERATOR)
    for _ in range(3):
        bench.clock.forward(890)
        assert somebody.get("/").status_code == 200
    bench.clock.forward(901)
    assert somebody.get("/").status_code == 303
    other = guest(Role.OPERATOR)
    for _ in range(40):
        bench.clock.forward(890)
        other.get("/")
    bench.clock.forward(890)
    assert other.get("/").status_code == 303


def test_a_page_that_refreshes_itself_keeps_no_session_alive(bench: Bench, guest: Look) -> None:
    somebody = guest(Role.OPERATOR)
    for _ in range(4):
        bench.clock.forward(300)
        answer = somebody.get("/?live=1")
    assert answer.status_code == 303


def test_who_signs_out_is_out_and_so_is_whom_an_admin_shows_out(bench: Bench, guest: Look) -> None:
    reader, admin = guest(Role.READER), guest(Role.ADMIN)
    answer = reader.post("/sign-out")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    reader.http.cookies.set(COOKIE, reader.token)
    assert reader.get("/").status_code == 303
    other = guest(Role.READER)
    hashes = re.findall(r'name="session" value="(\w+)"', admin.get("/accounts").text)
    mine = next(h for h in hashes if sign_in.token_hash(other.token).startswith(h))
    admin.post("/accounts/end", {"session": mine})
    assert other.get("/").status_code == 303
    assert admin.get("/").status_code == 200
    admin.post("/accounts/end", {"session": ""})
    assert admin.get("/").status_code == 200


def test_the_database_holds_no_token(bench: Bench, guest: Look) -> None:
    somebody = guest(Role.READER)
    assert somebody.token not in str(bench.store.desk.people.sessions())
    assert bench.store.desk.people.session(somebody.token) is None


def test_a_cookie_of_somebody_else_or_none_is_nobody(bench: Bench, guest: Look) -> None:
    stranger = guest()
    for token in ("", "x", "' OR 1=1 --", "\x00", "a" * 5000):
        stranger.http.cookies.clear()
        answer = stranger.get("/", cookie=f"{COOKIE}={token}")
        assert answer.status_code in {303, 400}


# --- what the browser is told ---------------------------------------------------------------------


def test_every_answer_tells_the_browser_to_be_careful(bench: Bench, guest: Look) -> None:
    somebody = guest(*Role)
    for path in ("/", "/studies", "/audit/export.csv", "/nothing", "/sign-in", "/studies/1.2.3"):
        headers = somebody.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script" not in policy
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_the_cookie_is_strict_and_over_tls_it_is_secure(bench: Bench, guest: Look) -> None:
    once = add(bench, "ada", Role.READER)
    plain = come_in(guest(), "ada", once).headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=strict" in plain
    behind = guest(public_url="https://desk.example", trusted_proxies=["127.0.0.1"])
    origin = {"host": "desk.example", "origin": "https://desk.example"}
    form = {"name": "ada", "password": once}
    answer = behind.http.post("/sign-in", data=form, headers=origin)
    assert answer.headers["set-cookie"].startswith(f"__Host-{COOKIE}=")
    assert "Secure" in answer.headers["set-cookie"]
    assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": BASE, "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_a_form_of_another_page_does_nothing(
    bench: Bench, guest: Look, headers: dict[str, str]
) -> None:
    somebody = guest(Role.OPERATOR)
    answer = somebody.http.post("/sign-out", headers=headers)
    assert answer.status_code == 403
    assert somebody.get("/").status_code == 200


def test_another_name_for_this_machine_is_not_the_desk(bench: Bench, guest: Look) -> None:
    somebody = guest(Role.OPERATOR)
    assert somebody.get("/", host="evil.example").status_code == 403
    assert somebody.get("/", host="localhost:8043").status_code == 200
    named = guest(Role.OPERATOR, public_url="http://desk.example")
    assert named.get("/").status_code == 403
    assert named.get("/", host="desk.example").status_code == 200


def test_a_form_that_is_too_long_is_not_read(bench: Bench, guest: Look) -> None:
    assert guest().post("/sign-in", {"name": "a" * 100_000}).status_code == 413


def test_what_no_database_takes_is_no_fault_of_the_desk(bench: Bench, guest: Look) -> None:
    somebody = guest(*Role)
    for path in (
        "/studies?accession=%00&patient=%00",
        "/audit?actor=%00&words=%00&study=%00&object=%00&ae=%00",
        "/studies/%00",
        "/studies?since=0001-01-01&until=9999-12-31",
        "/studies?since=9999-12-31&until=0001-01-01",
        "/studies?before=99999999999999999999999_x",
        "/audit?before=-99999999999999999999999_1",
        "/audit?before=1_99999999999999999999999",
        "/audit/records/99999999999999999999999",
        "/faults/requeue?job=99999999999999999999999",
        "/studies?accession=" + "x" * 5000,
        "/audit?words=%ff%fe",
    ):
        assert somebody.get(path).status_code in {200, 404, 422}, path
    many = somebody.http.post("/glass", content="a=1&" * 200, headers={"origin": BASE})
    assert many.status_code == 422
    for job in ("-1", "1e9", "9" * 30, "\u0661"):
        done = somebody.post("/glass", {"job": job, "reason": "because I must"})
        assert done.status_code == 422
        assert somebody.post("/faults/requeue", {"job": job}).status_code in {303, 404}


@pytest.mark.parametrize(
    ("wanted", "to"),
    [
        ("/audit?event=image_read", "/audit?event=image_read"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("evil", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_signing_in_leads_to_a_page_of_the_desk_only(wanted: str, to: str) -> None:
    assert sign_in.safe_path(wanted) == to


def test_a_link_from_elsewhere_asks_again_from_a_page_of_our_own(bench: Bench, guest: Look) -> None:
    """A strict cookie is held back where another page leads here, and comes with the next one."""
    stranger = guest()
    answer = stranger.get("/audit?event=x%22y", **{"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/audit?event=x%22y"' in answer.text


# --- a proxy --------------------------------------------------------------------------------------

PROXY: dict[str, Any] = {
    "sign_in": "proxy",
    "trusted_proxies": ["127.0.0.0/8"],
    "roles": {"hip-audit": "auditor", "hip-read": "reader"},
}


def test_a_trusted_proxy_says_who_asks(bench: Bench, guest: Look) -> None:
    somebody = guest(**PROXY)
    person = {"x-forwarded-user": "eva", "x-forwarded-groups": "staff, hip-audit"}
    forwarded = {"x-forwarded-for": "6.6.6.6, 10.1.2.3"}
    assert somebody.get("/audit", **person, **forwarded).status_code == 200
    record = events(bench, AuditEvent.AUDIT_QUERIED)[0]
    assert (record.actor, record.detail["address"]) == ("eva", "10.1.2.3")
    assert events(bench, AuditEvent.SIGNED_IN)[0].actor == "eva"
    assert somebody.get("/accounts", **person).status_code == 403
    assert somebody.get("/", **{"x-forwarded-user": "eva"}).status_code == 403
    assert somebody.get("/").status_code == 403
    assert come_in(somebody, "a", "b").status_code == 404


def test_nobody_but_the_proxy_is_believed(bench: Bench, guest: Look) -> None:
    elsewhere = guest(**PROXY | {"trusted_proxies": ["10.9.9.9"]})
    person = {"x-forwarded-user": "eva", "x-forwarded-groups": "hip-audit"}
    assert elsewhere.get("/audit", **person).status_code == 403
    plain = guest()
    assert plain.get("/audit", **person).status_code == 303


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "desk",
    [
        {"host": "0.0.0.0"},  # noqa: S104
        {"host": "::"},
        {"sign_in": "proxy", "roles": {"a": "auditor"}},
        {"sign_in": "oidc", "roles": {"a": "auditor"}},
        {"sign_in": "proxy", "trusted_proxies": ["10.0.0.1"]},
        {"trusted_proxies": ["nowhere"]},
        {"timezone": "Mars/Olympus"},
        {"roles": {"a": "emperor"}},
        {"public_url": "https://desk.example/path"},
        {"sign_in": "oidc", "oidc": {"issuer": "http://idp.example", "client_id": "x"}},
    ],
)
def test_settings_that_would_open_the_door_to_anybody_are_refused(
    tmp_path: Any, desk: dict[str, Any]
) -> None:
    path = write_settings(tmp_path / "h.toml", {"desk": desk})
    with pytest.raises(SettingsInvalid):
        load(path, environment=False)


def test_the_outcome_of_each_attempt_is_on_the_log(bench: Bench, guest: Look) -> None:
    once = add(bench, "ada", Role.READER)
    come_in(guest(), "ada", "x")
    come_in(guest(), "nobody", "x")
    come_in(guest(), "ada", once)
    refused = events(bench, AuditEvent.SIGN_IN_REFUSED)
    assert [r.detail["name"] for r in refused] == ["nobody", "ada"]
    assert {r.outcome for r in refused} == {Outcome.REFUSED}
    assert events(bench, AuditEvent.SIGNED_IN)[0].detail["how"] == "account"
    assert signed_in(bench.store, [Role.READER], "x")
