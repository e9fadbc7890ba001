"""``CONTRIBUTING.md`` sends people to files and verbs that exist; properties obey the profile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.peers import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!to add|---)(.+?) \| (.+) \|$", PAGE, re.MULTILINE)
VERBS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
WHAT_PEOPLE_ADD = ("model", "command", "setting", "destination", "repair", "audit event")


@pytest.mark.parametrize(("what", "files"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_to_be_touched_is_there(what: str, files: str) -> None:
    named = [name for name in re.findall(r"`([^`]+)`", files) if not name.startswith("make ")]
    assert named, what
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("what", WHAT_PEOPLE_ADD)
def test_what_people_add_has_a_row(what: str) -> None:
    assert any(what in row[0] for row in ROWS)


@pytest.mark.parametrize(
    "page",
    ["CONTRIBUTING.md", "SECURITY.md", "README.md", "docs/install.md", "docs/third-party.md"],
)
def test_every_verb_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    code = re.findall(r"`(make [^`\n]+)`|^\$ (make .+)$", text, re.MULTILINE)
    commands = [(quoted or typed).partition("#")[0] for quoted, typed in code]
    words = [word for command in commands for word in command.split()[1:]]
    assert [word for word in words if re.fullmatch("[a-z-]+", word) and word not in VERBS] == []


def test_pre_commit_runs_tools_that_make_check_runs() -> None:
    config = yaml.safe_load((ROOT / ".ci" / "pre-commit.yaml").read_text(encoding="utf-8"))
    hooks = [hook["entry"].split()[0] for repo in config["repos"] for hook in repo["hooks"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for tool in hooks:
        assert tool == "shellcheck" or f"$(BIN)/{Path(tool).name}" in makefile


def test_no_property_names_its_number_of_examples_past_the_profile() -> None:
    fixed = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if re.search(r"max_examples=\d", path.read_text(encoding="utf-8"))
        and path != Path(__file__)
    ]
    assert fixed == []
