"""The table of events in ``docs/audit.md``, made from what is declared.

``python -m tests.docs.events`` writes it into the page; a test fails when it has drifted.
"""

from __future__ import annotations

import re
from typing import Final

from hipnode.domain.events import DECLARED, Keys
from tests.docs.conformance import table
from tests.peers import ROOT

PAGE: Final = ROOT / "docs" / "audit.md"
_BLOCK = re.compile(r"(<!-- table: events -->\n).*?(<!-- end -->)", re.DOTALL)
_COMMON: Final = ("at", "page", "route", "address", "subject", "roles", "session")
"""Of each event at the desk: named once, above the table."""


def events() -> str:
    """Return each event with what happened and the keys of its detail."""
    rows = [(f"`{event}`", what, _keys(keys)) for event, (what, keys) in DECLARED.items()]
    return table(("event", "what happened", "`detail`"), rows)


def _keys(keys: Keys) -> str:
    at_desk = set(_COMMON) <= set(keys)
    named = [f"`{name}`" for name in keys if not (at_desk and name in _COMMON)]
    return ", ".join((["*desk*"] if at_desk else []) + named)


def filled(page: str) -> str:
    """Return the page with the table made anew."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{events()}\n{m[2]}", page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
