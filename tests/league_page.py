"""``python -m tests.league_page DIR``: a league's file and tables into ``docs``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hipnode.training.league.table import DOCUMENT, page
from tests.peers import ROOT

HEAD = """# The league: the papers' systems side by side

Made by `make league` ([cli.md](cli.md#hipnode-league)); all figures are those of
[league.json](league.json), and a test holds it. What the phantoms leave to be found:
[phantom.md](phantom.md#a-phantom-that-leaves-room). Rows and findings that are missing have not
been played.

"""


def main() -> None:
    """Copy the file, and write the page."""
    text = (Path(sys.argv[1]) / DOCUMENT).read_text(encoding="utf-8")
    (ROOT / "docs" / DOCUMENT).write_text(text, encoding="utf-8")
    (ROOT / "docs" / "league.md").write_text(HEAD + page(json.loads(text)), encoding="utf-8")


if __name__ == "__main__":
    main()
