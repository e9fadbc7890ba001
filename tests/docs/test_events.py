"""Events of the audit log: each declared with its keys, and the page's table made of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hipnode.domain import AuditEvent, AuditRecord
from hipnode.domain.audit import undeclared
from hipnode.domain.events import DECLARED
from tests.docs import events
from tests.peers import ROOT

ADDED = """
import json, sys
from pathlib import Path
from typer.testing import CliRunner
from hipnode import settings
from hipnode.answers.hospital import Source, told
from hipnode.cli import app
from hipnode.domain import AuditEvent, AuditRecord
from hipnode.storage import Store

folder = Path(sys.argv[1])
config = folder / "hipnode.toml"
config.write_text(f'[node]\\ndata_dir = "{folder}/data"\\n')
store = Store.open(settings.load(config), migrate=True)
record = AuditRecord(
    AuditEvent.MOON_SEEN, study_instance_uid="1.2", accession_number="A1", detail={"phase": "full"}
)
store.audit.append(record)
try:
    store.audit.append(AuditRecord(AuditEvent.MOON_SEEN, detail={"colour": "blue"}))
except TypeError as error:
    assert "colour" in str(error)
else:
    raise AssertionError("a key that nobody declared")
store.audit.seal()
store.close()
for command in ("list", "export", "days", "verify", "story A1 --all"):
    name, *rest = command.split()
    done = CliRunner().invoke(app, ["audit", name, *rest, "--config", str(config)])
    assert done.exit_code == 0, done.output
    assert name == "verify" or "moon" in done.output, done.output
assert told("1", None, record, Source("A", "B", "", "h")) is None
print("seen")
"""


def test_every_event_is_declared() -> None:
    assert list(DECLARED) == list(AuditEvent)
    for what, keys in DECLARED.values():
        assert what
        assert all(name.islower() for name in keys)


def test_a_key_or_a_type_that_is_not_declared_is_named() -> None:
    right = AuditRecord(AuditEvent.JOB_CLAIMED, detail={"kind": "read", "attempt": 1})
    assert undeclared(right) == []
    wrong = AuditRecord(AuditEvent.JOB_CLAIMED, detail={"kind": "read", "attempt": "1", "who": ""})
    assert undeclared(wrong) == ["job_claimed: attempt is str", "job_claimed: who"]


def test_the_table_has_not_drifted() -> None:
    page = events.PAGE.read_text(encoding="utf-8")
    assert events.events() in page, "run: python -m tests.docs.events"


@pytest.mark.parametrize("row", ["hipnode/domain/events.py"])
def test_an_event_takes_one_file_beside_where_it_happens(tmp_path: Path, row: str) -> None:
    """It is written, listed, exported, counted, verified and told without any other line."""
    house = tmp_path / "hipnode"
    house.mkdir()
    for part in (ROOT / "hipnode").iterdir():
        if part.name == "domain":
            shutil.copytree(part, house / "domain", ignore=shutil.ignore_patterns("__pycache__"))
        elif part.name != "__pycache__":
            (house / part.name).symlink_to(part)
    file = tmp_path / row
    text = file.read_text(encoding="utf-8")
    first, declared = "class AuditEvent(StrEnum):\n", "tuple[str, Keys]]] = {\n"
    assert first in text
    assert declared in text
    docstring = text.partition(first)[2].partition("\n")[0]
    text = text.replace(docstring, f'{docstring}\n    MOON_SEEN = "moon_seen"', 1)
    text = text.replace(declared, f'{declared}    E.MOON_SEEN: ("a moon", {{"phase": str}}),\n', 1)
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", ADDED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HIPNODE_STRICT": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("seen\n"), done.stdout + done.stderr
