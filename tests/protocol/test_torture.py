"""``hipnode torture``, a short one: it leaves nothing, and says and signs what it has seen."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hipnode.services.torture.run import ATTACKS
from hipnode.services.torture.table import Row
from tests.peers import require, run

HIPNODE = [sys.executable, "-m", "hipnode", "torture"]


def tortured(out: Path, *arguments: str) -> dict[str, Any]:
    command = [*HIPNODE, "--out", out, "--minutes", "10", "--json", *arguments]
    found: dict[str, Any] = json.loads(run(command, timeout_s=280).stdout)
    return found


@pytest.mark.slow
def test_a_short_one_holds_and_is_signed(tmp_path: Path) -> None:
    openssl = require("openssl", "openssl")
    key, public, out = tmp_path / "key.pem", tmp_path / "public.pem", tmp_path / "out"
    run([openssl, "genpkey", "-algorithm", "ed25519", "-out", key])
    run([openssl, "pkey", "-in", key, "-pubout", "-out", public])
    wanted = ("kills", "two-nodes")
    only = [word for name in wanted for word in ("--only", name)]
    found = tortured(out, "--kills", "2", "--sign", str(key), *only)
    assert found["well"]
    kills, nodes = found["attacks"]
    assert (kills["tried"], kills["held"], kills["lost"], kills["doubled"]) == (2, 2, 0, 0)
    assert (nodes["tried"], nodes["held"]) == (2, 2)
    assert json.loads((out / "torture.json").read_bytes()) == found
    checked = [openssl, "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public]
    run([*checked, "-in", out / "torture.json", "-sigfile", out / "torture.json.sig"])
    assert sorted(path.name for path in out.iterdir()) == ["torture.json", "torture.json.sig"]


@pytest.mark.slow
def test_a_database_that_is_somebodys_is_refused(postgres_url: str, tmp_path: Path) -> None:
    command = [*HIPNODE, "--out", tmp_path / "out", "--database", postgres_url]
    done = run(command, check=False)
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_attack_that_there_is_not_is_refused(tmp_path: Path) -> None:
    done = run([*HIPNODE, "--out", tmp_path / "out", "--only", "magic"], check=False)
    assert done.returncode == 1
    assert all(name in done.stderr for name in ATTACKS)


@pytest.mark.parametrize(
    "row", [Row("x", 3, 2), Row("x", 3, 3, lost=1), Row("x", 3, 3, doubled=1)], ids=str
)
def test_what_did_not_hold_is_not_well(row: Row) -> None:
    assert not row.is_well
    assert Row("x", 3, 3).is_well
