"""Which model set reports: two people choose, the settings' file stays the truth."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from hipnode.domain.people import Role
from hipnode.nets import set_digest
from hipnode.nets.bundle.setfile import SHIPPED
from hipnode.services.desk import passwords
from hipnode.services.modelsets import ModelSets
from hipnode.settings import Settings
from hipnode.storage import AuditFilter
from tests.db.conftest import Bench, OpenStore
from tests.desk import Guest
from tests.node import write_settings

SCIENTIST, ADMIN = Role.SCIENTIST, Role.ADMIN


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """A site's own model set: the shipped bundles under another name, so of another digest."""
    folder = tmp_path / "site"
    shutil.copytree(SHIPPED, folder)
    path = folder / "candidate.toml"
    path.write_text((folder / "default.toml").read_text().replace('"default"', '"candidate"', 1))
    return path


def shadowed(candidate: Path, **more: Any) -> dict[str, Any]:
    return {"worker": {"model_sets": [{"set": str(candidate), "shadow": True}], **more}}


def people(bench: Bench) -> tuple[Guest, Guest]:
    """Return a scientist and an administrator at the desk."""
    return (
        Guest(bench.store, bench.settings, SCIENTIST, name="sam"),
        Guest(bench.store, bench.settings, ADMIN, name="ada"),
    )


def decide(guest: Guest, bench: Bench, decision: str = "confirm", reason: str = "looked at") -> Any:
    opened = bench.store.desk.choices.open()
    number = str(opened.id) if opened else "1"
    form = {"number": number, "decision": decision, "reason": reason}
    return guest.post("/models/decide", form)


def promote(bench: Bench, candidate: Path) -> None:
    sam, ada = people(bench)
    form = {"set": str(candidate), "reason": "better on our misses"}
    assert sam.post("/models/propose", form).status_code == 303
    assert decide(ada, bench).status_code == 303


def reporting(bench: Bench) -> str:
    return ModelSets(bench.settings.worker, bench.store.desk.choices.confirmed).default


def test_one_proposes_and_another_confirms(open_store: OpenStore, candidate: Path) -> None:
    bench = open_store(**shadowed(candidate))
    sam, ada = people(bench)
    form = {"set": str(candidate), "reason": "better on our misses"}
    assert sam.post("/models/propose", form).status_code == 303
    assert reporting(bench) == set_digest()  # not yet
    assert "Proposed by sam" in ada.get("/models").text
    assert decide(sam, bench).status_code == 403  # no administrator
    assert sam.post("/models/propose", form).status_code == 422  # one is open
    assert decide(ada, bench, reason=" ").status_code == 422
    assert decide(ada, bench).status_code == 303
    assert reporting(bench) == set_digest(candidate)
    assert "chosen by sam and ada, over what" in ada.get("/models").text
    found = {
        event: bench.store.audit.query(AuditFilter(), actor="test", limit=None)
        for event in ("models_proposed", "models_confirmed")
    }
    for event, entries in found.items():
        (entry,) = [e for e in entries if e.record.event == event]
        assert entry.record.detail["digest"] == set_digest(candidate)
        assert entry.record.detail["reason"]
        assert entry.record.actor == ("sam" if event == "models_proposed" else "ada")


def test_nobody_is_two_people(open_store: OpenStore, candidate: Path) -> None:
    """Neither by having both roles, nor by another account of the same name."""
    bench = open_store(**shadowed(candidate))
    both = Guest(bench.store, bench.settings, SCIENTIST, ADMIN, name="eve")
    form = {"set": str(candidate), "reason": "mine"}
    assert both.post("/models/propose", form).status_code == 303
    assert "Confirm" not in both.get("/models").text
    assert "Nobody confirms their own" in decide(both, bench).text
    again = Guest(bench.store, bench.settings, ADMIN, name="EVE")
    assert decide(again, bench).status_code == 422
    assert reporting(bench) == set_digest()
    assert decide(both, bench, "decline").status_code == 303
    assert bench.store.desk.choices.open() is None


def test_rolling_back_is_a_button_for_each(open_store: OpenStore, candidate: Path) -> None:
    bench = open_store(**shadowed(candidate))
    promote(bench, candidate)
    sam, ada = people(bench)
    page = sam.get("/models").text
    assert "Roll back to default" in page
    assert (
        sam.post("/models/propose", {"set": "default", "reason": "Rolled back"}).status_code == 303
    )
    assert 'value="Rolled back"' in ada.get("/models").text
    assert decide(ada, bench, reason="Rolled back").status_code == 303
    assert reporting(bench) == set_digest()
    assert "as the settings" in ada.get("/models").text


@pytest.mark.parametrize("edit", ["another set in the file", "out of the file", "its file changed"])
def test_the_file_stays_the_truth(open_store: OpenStore, candidate: Path, edit: str) -> None:
    bench = open_store(**shadowed(candidate))
    promote(bench, candidate)
    changed = bench.settings
    if edit == "another set in the file":
        other = candidate.with_name("other.toml")
        other.write_text(candidate.read_text().replace('"candidate"', '"other"'))
        changed = _with(changed, shadowed(candidate, model_set=str(other)))
        expected = set_digest(other)
    elif edit == "out of the file":
        changed = _with(changed, {"worker": {}})
        expected = set_digest()
    else:
        candidate.write_text(candidate.read_text().replace('"candidate"', '"changed"'))
        expected = set_digest()
    sets = ModelSets(changed.worker, bench.store.desk.choices.confirmed)
    assert sets.default == expected
    assert sets.why_not
    page = Guest(bench.store, changed, ADMIN).get("/models").text
    assert "What two people had chosen does not count" in page


def _with(settings: Settings, tables: dict[str, Any]) -> Settings:
    return settings.model_validate(settings.model_dump() | tables)


def test_what_has_changed_since_cannot_be_confirmed(open_store: OpenStore, candidate: Path) -> None:
    bench = open_store(**shadowed(candidate))
    sam, ada = people(bench)
    sam.post("/models/propose", {"set": str(candidate), "reason": "better"})
    candidate.write_text(candidate.read_text().replace('"candidate"', '"changed"'))
    assert "cannot be confirmed" in decide(ada, bench).text
    assert decide(ada, bench, "decline").status_code == 303
    for other in ("/etc/passwd", "dxa"):  # a set for densitometry reads no radiograph
        assert (
            "no such model set in shadow"
            in sam.post("/models/propose", {"set": other, "reason": "x"}).text
        )


def test_a_running_listener_follows_within_seconds(
    open_store: OpenStore, candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hipnode.services.modelsets._LOOK_S", 0.0)
    bench = open_store(**shadowed(candidate))
    sets = ModelSets(bench.settings.worker, bench.store.desk.choices.confirmed)
    assert sets.choose({}).reported == set_digest()
    promote(bench, candidate)
    chosen = sets.choose({})
    assert chosen.reported == set_digest(candidate)
    assert chosen.shadows == ()


def test_at_the_terminal_two_passwords_are_asked_for(
    tmp_path: Path, candidate: Path, open_store: OpenStore, database_url: str
) -> None:
    bench = open_store(**shadowed(candidate))
    for name, role in (("sam", SCIENTIST), ("ada", ADMIN)):
        bench.store.desk.people.add(name, [role], passwords.hashed(f"{name} knows it"), actor="t")
        bench.store.desk.people.set_password(name, passwords.hashed(f"{name} knows it"), keep="")
    config = write_settings(
        tmp_path / "hipnode.toml",
        {
            "node": {"data_dir": tmp_path / "data"},
            "database": {"url": database_url},
            "worker": {"model_sets": [{"set": str(candidate), "shadow": True}]},
        },
    )

    def cli(*words: str, typed: str = "") -> Any:
        from typer.testing import CliRunner

        from hipnode.cli import app

        arguments = ["models", *words, "--config", str(config)]
        return CliRunner().invoke(app, arguments, input=f"{typed}\n")

    mine = ("propose", str(candidate), "--as", "sam", "--reason", "better")
    assert cli(*mine, typed="wrong").exit_code == 1
    assert cli(*mine, typed="sam knows it").exit_code == 0
    own = ("confirm", "--as", "sam", "--reason", "me too")
    assert cli(*own, typed="sam knows it").exit_code == 1
    said = cli("confirm", "--as", "ada", "--reason", "looked at", typed="ada knows it")
    assert "reports from now on" in said.output
    assert f"reports: {candidate}" in cli("choice").output
    assert "sign_in_refused" in bench.events()
