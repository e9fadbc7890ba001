"""``docs/cli.md`` has a section for every command, naming each of its arguments and options."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
import typer

from hipnode.cli import app
from tests.peers import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child, sub_command in children.items():
        if not sub_command.hidden:
            yield from _commands(sub_command, f"{name} {child}")


COMMANDS = dict(_commands(typer.main.get_command(app), "hipnode"))


def _section(name: str) -> str:
    found = re.search(rf"^## `{name}`$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_a_section_with_all_its_options(name: str) -> None:
    section = _section(name)
    assert section.strip(), f"docs/cli.md has no section '## `{name}`'"
    for parameter in COMMANDS[name].params:
        if getattr(parameter, "hidden", False):
            continue
        names = parameter.opts if parameter.param_type_name == "option" else [parameter.name]
        wanted = max((str(option) for option in names), key=len)
        if parameter.param_type_name == "argument":
            wanted = wanted.upper()
        assert wanted in section, f"docs/cli.md: {name} lacks {wanted}"


def test_no_section_is_about_a_command_that_is_gone() -> None:
    assert set(re.findall(r"^## `(hipnode[^`]*)`$", PAGE, re.MULTILINE)) == set(COMMANDS)
