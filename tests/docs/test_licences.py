"""What a plain ``pip install hipnode`` brings may be passed on by those who install it."""

from __future__ import annotations

import re
from importlib.metadata import Distribution
from typing import Final

from tests.packages import brought_by
from tests.peers import ROOT

# Permissive, or (LGPL, MPL) asking only that changes to the package itself be passed on.
ACCEPTED: Final = re.compile(
    r"\b(MIT|MIT-0|MIT-CMU|BSD|0BSD|3-Clause BSD|Apache|ISC|PSF|Zlib|CC0|HPND|Unlicense|"
    r"Python Software Foundation|Dual License|MPL|Mozilla Public License|LGPL|Lesser)\b",
    re.IGNORECASE,
)
REFUSED: Final = re.compile(r"(?<!L)(?<!Lesser )\b(A?GPL|General Public License)", re.IGNORECASE)


def _licence(package: Distribution) -> str:
    """Return what a package says of its licence; where it says nothing, how the text begins."""
    meta = package.metadata
    said = [meta.get("License-Expression") or "", (meta.get("License") or "").partition("\n")[0]]
    classifiers = meta.get_all("Classifier") or []
    said += [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License ::")]
    if not any(said):
        texts = [f for f in package.files or () if re.match("(?i)licen[cs]e|copying", f.name)]
        said += [text.read_text(encoding="utf-8")[:300] for text in texts]
    return " / ".join(filter(None, said))


LICENCES: Final = {
    name: _licence(package) for name, package in brought_by("hipnode").items() if name != "hipnode"
}


def test_a_plain_install_brings_what_it_is_known_to_bring() -> None:
    assert len(LICENCES) > 30
    assert "torch" not in LICENCES


def test_every_package_may_be_passed_on() -> None:
    doubtful = {
        name: said
        for name, said in LICENCES.items()
        if REFUSED.search(said) or not ACCEPTED.search(said)
    }
    assert not doubtful


def test_our_own_licence_is_the_one_that_the_package_names() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
