"""``docs/architecture.md`` shows the house that the import contracts hold, and that is there."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tests.peers import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
_PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS: list[dict[str, Any]] = _PYPROJECT["tool"]["importlinter"]["contracts"]
FLOORS, *ROOMS = [contract for contract in CONTRACTS if contract["type"] == "layers"]
FORBIDDEN = [contract for contract in CONTRACTS if contract["type"] == "forbidden"]
_EVERYBODY = {"__init__", "__main__"}


def _rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with ``heading``."""
    _, found, rest = PAGE.partition(f"| {heading} |")
    assert found, f"docs/architecture.md has no table that begins with '{heading}'"
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _names(cell: str) -> list[str]:
    """Return the names in a cell, less what stands in brackets after them."""
    return re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", cell))


def _layers(contract: dict[str, Any]) -> list[set[str]]:
    """Return a contract's layers, the lowest first."""
    return [set(layer.split(" | ")) for layer in reversed(contract["layers"])]


def _there(folder: str) -> set[str]:
    """Return the modules and packages in a folder."""
    found = (ROOT / folder).iterdir()
    return {p.stem for p in found if p.suffix == ".py" or (p / "__init__.py").exists()}


def test_the_floors_are_those_of_the_contract_and_of_the_folder() -> None:
    rows = sorted(_rows("floor"), key=lambda row: int(row[0]))
    assert [set(_names(row[1])) for row in rows] == _layers(FLOORS)
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    assert {name for row in rows for name in _names(row[1])} == _there("hipnode") - _EVERYBODY


def test_whatever_a_floor_names_in_brackets_is_a_room_of_it() -> None:
    for room, inner in re.findall(r"`(\w+)` \(((?:`\w+`(?:, )?)+)\)", PAGE.partition("## The")[2]):
        assert set(re.findall(r"`(\w+)`", inner)) <= _there(f"hipnode/{room}"), room


@pytest.mark.parametrize("contract", ROOMS, ids=lambda contract: contract["name"])
def test_the_rooms_are_those_of_the_contract_lowest_first(contract: dict[str, Any]) -> None:
    (container,) = contract["containers"]
    package = container.removeprefix("hipnode.")
    (named,) = (_names(row[1]) for row in _rows("package") if _names(row[0]) == [package])
    for layer in _layers(contract):
        assert set(named[: len(layer)]) == layer
        named = named[len(layer) :]
    assert named == []


def test_every_door_is_a_contract_and_every_contract_a_door() -> None:
    doors = {name: set(_names(row[1])) for row in _rows("library") for name in _names(row[0])}
    kept_out = {name for contract in FORBIDDEN for name in contract["forbidden_modules"]}
    rooms = {name for name in kept_out if name.startswith("hipnode.")}
    assert all(f"`{name.removeprefix('hipnode.')}`" in PAGE for name in rooms)
    assert all(f"`{name}`" in PAGE for name in kept_out - rooms)
    assert set(doors) <= kept_out
    for contract in FORBIDDEN:
        outside = {name.removeprefix("hipnode.") for name in contract["source_modules"]}
        for library in doors.keys() & set(contract["forbidden_modules"]):
            assert doors[library].isdisjoint(outside), library
