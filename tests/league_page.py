"""``python -m tests.league_page DIR``: a league's file, tables and curves into ``docs``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from hipnode.training.league.page import page
from hipnode.training.league.table import CURVES, DOCUMENT
from tests.peers import ROOT
from tests.systems import systems

HEAD = """# The league: the papers' systems side by side

Made by `make league` ([cli.md](cli.md#hipnode-league)); all figures are those of
[league.json](league.json), and a test holds it. What the phantoms leave to be found:
[phantom.md](phantom.md#a-phantom-that-leaves-room). What they mean:
[models.md](models.md#one-system-against-another).

![ROC curves of each task, and readers as points](league.png)

Curves are of the mean probability over seeds; of risk, of the class *high*.

"""


def whole(document: dict[str, Any]) -> str:
    """Return the page of a league's document."""
    return f"{HEAD}{page(document)}\n{systems(document)}"


def main() -> None:
    """Copy file and curves, and write the page."""
    text = (Path(sys.argv[1]) / DOCUMENT).read_text(encoding="utf-8")
    (ROOT / "docs" / DOCUMENT).write_text(text, encoding="utf-8")
    if (drawn := Path(sys.argv[1]) / CURVES).exists():  # of findings alone
        curves = Image.open(drawn).convert("RGB").quantize(64)
        curves.save(ROOT / "docs" / CURVES, optimize=True)
    (ROOT / "docs" / "league.md").write_text(whole(json.loads(text)), encoding="utf-8")


if __name__ == "__main__":
    main()
