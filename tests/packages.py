"""Which packages an install of hipnode brings, as the metadata of what is installed here tells."""

from __future__ import annotations

from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def brought_by(requirement: str) -> dict[str, Distribution]:
    """Return every package that pip would install for ``requirement``, by its canonical name.

    The requirement itself is the first of them. All have to be installed here.
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(requirement)]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        package = found.setdefault(name, distribution(name))
        for extra in {"", *wanted.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                needs = [Requirement(line) for line in package.requires or ()]
                waiting += [r for r in needs if not r.marker or r.marker.evaluate({"extra": extra})]
    return found
