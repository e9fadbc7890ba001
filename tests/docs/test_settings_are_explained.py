"""``config/reference.toml`` is the settings' manual: complete, loadable, and true about defaults.

``config/hipnode.toml`` is what a hospital edits: short, and saying the same.
"""

from __future__ import annotations

import re
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from hipnode.settings import Settings, load
from tests.peers import ROOT

FILE = ROOT / "config" / "reference.toml"
SHORT = ROOT / "config" / "hipnode.toml"
TEXT = FILE.read_text(encoding="utf-8")
_EXAMPLE = re.compile(r"^# (\[+[\w.]+\]+|\w+ = \S.*)$", re.MULTILINE)


def _parts(annotation: Any) -> list[type[BaseModel]]:
    """Return the tables that an annotation speaks of: plain, optional, an array, one of several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (tuple, types.UnionType, Union, Annotated):
        return [part for arg in get_args(annotation) for part in _parts(arg)]
    return []


def _keys(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        parts = _parts(field.annotation)
        for part in parts:
            yield from _keys(part, (*prefix, name))
        if not parts:
            yield (*prefix, name)


def _live_lines() -> Iterator[tuple[str, str, str]]:
    """Yield table, key and line of every setting that is not commented out."""
    table = ""
    for line in (TEXT + SHORT.read_text(encoding="utf-8")).splitlines():
        if header := re.match(r"\[+([\w.]+)\]+", line):
            table = header[1]
        elif key := re.match(r"(\w+) *=", line):
            yield table, key[1], line


@pytest.mark.parametrize("file", [FILE, SHORT], ids=lambda file: file.name)
def test_a_file_holds_the_defaults_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    monkeypatch.delenv("HIPNODE_CONFIG", raising=False)
    assert load(file) == Settings()


def test_what_a_hospital_edits_is_short() -> None:
    assert len(SHORT.read_text(encoding="utf-8").splitlines()) <= 70


@pytest.mark.parametrize("file", [FILE, SHORT], ids=lambda file: file.name)
def test_its_examples_load_too(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "examples.toml"
    path.write_text(_EXAMPLE.sub(r"\1", file.read_text(encoding="utf-8")), encoding="utf-8")
    loaded = load(path)
    assert loaded.destinations
    assert loaded.listener.callers
    assert loaded.listener.tls
    assert loaded.rules


@pytest.mark.parametrize("key", sorted(set(_keys(Settings))), ids=".".join)
def test_every_setting_is_in_the_file(key: tuple[str, ...]) -> None:
    tables: list[Any] = [tomllib.loads(_EXAMPLE.sub(r"\1", TEXT))]
    for name in key[:-1]:
        found = [table.get(name, {}) for table in tables]
        tables = [t for f in found for t in (f if isinstance(f, list) else [f])]
    in_prose = re.search(rf"^# .*`{key[-1]}`", TEXT, re.MULTILINE)
    explained = any(key[-1] in table for table in tables) or in_prose
    assert explained, f"{FILE.name} does not explain {'.'.join(key)}"


@pytest.mark.parametrize(
    ("table", "key", "line"), list(_live_lines()), ids=lambda value: str(value)[:30]
)
def test_every_live_setting_has_a_word_of_explanation(table: str, key: str, line: str) -> None:
    comment = line.partition("#")[2].strip()
    assert len(comment.split()) >= 3, f"[{table}] {key} is not explained"
