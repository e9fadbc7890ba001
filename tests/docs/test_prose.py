"""The documents: their links lead somewhere, and nothing in the tree is left for later."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.peers import ROOT

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return [path for path in paths if path.is_file()]


TRACKED = _tracked()
PAGES = [path for path in TRACKED if path.suffix == ".md"]


def _anchors(page: Path) -> set[str]:
    """Return the anchors that the usual renderers give a page's headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue  # outside this repository: not checked here
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize(
    "folder", [ROOT / "docs", ROOT / "docs" / "decisions"], ids=lambda f: f.name
)
def test_every_page_of_docs_is_in_the_index_of_its_folder(folder: Path) -> None:
    index = (folder / "README.md").read_text(encoding="utf-8")
    targets = {(folder / t.partition("#")[0]).resolve() for t in _LINK.findall(index)}
    pages = [page for page in PAGES if page.parent == folder and page.name != "README.md"]
    assert [page.name for page in pages if page not in targets] == []


_FOR_LATER = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b")
_MACHINE_PATH = re.compile(
    "|".join([r"/wo" + r"rk/", r"/fa" + r"rm/", r"/ro" + r"ot/", r"/home/" + r"\w+/"])
)
_OWN_TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".service", ".json", ".cfg", ".ini", ""}


def _own_text() -> list[Path]:
    return [
        path
        for path in TRACKED
        if path.suffix in _OWN_TEXT and path.name not in {"package-lock.json", "LICENSE"}
    ]


@pytest.mark.parametrize("pattern", [_FOR_LATER, _MACHINE_PATH], ids=["later", "machine path"])
def test_nothing_is_left_for_later_and_no_machine_is_named(pattern: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in _own_text()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found
