"""``python -m tests.league_served DIR``: the best bundle of each row of a league, in a node's set.

Each reads a phantom as the worker would; what it says must stand in an SR that dciodvfy passes.
The league's hips for osteoporosis are drawn as scans are: to a network of theirs a pelvis is unlike
what it knows, and a node says so in place of an answer. Here that check is left out for these.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hipnode.cli.conform import dciodvfy
from hipnode.domain import TASKS, Role
from hipnode.nets import LoadedModel, ModelSet, load_bundle, load_model_set
from hipnode.phantom import load_recipe
from hipnode.phantom.dicom import write_dicom
from hipnode.phantom.dxa import render_dxa
from hipnode.reporting import read_back
from tests.protocol.test_served import report, served, values_of, with_model
from tests.protocol.test_validators import clean
from tests.senders import SAMPLES

_FIGURES: Final = ("AUC, positive", "AUC, average", "mean Jaccard", "accuracy")
"""What decides which of a row's seeds is best: the first of these that it has."""
_ANSWERS: Final = {row.role for row in TASKS.values()}
"""Roles that an SR names; a gate or a localiser is seen to serve where hips are read."""


def best(league: Path) -> Iterator[tuple[str, Path]]:
    """Yield each row's name, and the bundle of its best seed."""
    rows: dict[str, list[tuple[float, Path]]] = {}
    for cell in league.glob("*/*/seed-*/cell.json"):
        found: dict[str, Any] = json.loads(cell.read_text(encoding="utf-8"))
        value = next(v for one in _FIGURES if (v := found["figures"].get(one)) is not None)
        bundle = (league / found["report"]).parent / "bundle"
        rows.setdefault(found["system"], []).append((value, bundle))
    for name, seeds in sorted(rows.items()):
        yield name, max(seeds)[1]


def node_set(shipped: ModelSet, made: LoadedModel) -> ModelSet:
    """Return the shipped set with this model in its place."""
    role = made.spec.role
    if role in _ANSWERS:
        return with_model(shipped, made, lambda: shipped.models.get(role, made))
    return replace(shipped, models=MappingProxyType({**shipped.models, role: made}))


def main() -> None:
    """Serve each, print a line, and end with status 1 where one of them is not served."""
    shipped, failed = load_model_set(), 0
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        scan = write_dicom(render_dxa(load_recipe("dxa"), 200, 0), at / "scan.dcm")
        for name, bundle in best(Path(sys.argv[1])):
            made = load_bundle(bundle, threads=1)
            if made.spec.role is Role.OSTEOPOROSIS:
                made = replace(made, typical=None)
            path = scan if made.spec.role == "risk" else SAMPLES[-1]
            _, _, reading = served(node_set(shipped, made), path)
            sr = report(path, reading, at / "sr.dcm")
            named = f"bundle sha256 {made.spec.digest}" in values_of(sr)
            said = named if made.spec.role in _ANSWERS else bool(reading.hips)
            valid = clean(dciodvfy([at / "sr.dcm"])) == 1 and bool(read_back(at / "sr.dcm"))
            failed += not (said and valid)
            sys.stdout.write(f"{name}: {'in a valid SR' if said and valid else 'NOT served'}\n")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
