"""``hipnode compare``: two bundles on the same images, and whether they differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hipnode.domain import Role
from hipnode.errors import InputRefused
from hipnode.nets import load_bundle
from hipnode.training.judge.evaluate import evaluate
from hipnode.training.judge.figures import Figure
from hipnode.training.league.cells import predictions
from hipnode.training.samples.manifest import Manifests
from hipnode.training.stats.paired import macro_area
from hipnode.training.stats.statistics import compare_paired


def compare(
    one: Path, other: Path, manifest: Manifests, out: Path, *, split: str = "test",
    views: tuple[str, ...] = ("frontal",),
) -> list[Figure]:  # fmt: skip
    """Evaluate two bundles of the same labels, and compare them patient by patient.

    Parameters
    ----------
    one, other
        The bundles.
    manifest, split, views
        As for `evaluate`.
    out
        A folder: a report of each, in ``one`` and ``other``.

    Returns
    -------
    list of Figure
        The area under the curve of each and their difference (DeLong, patients as units), its p,
        both accuracies, and McNemar's exact p.

    Raises
    ------
    InputRefused
        If they answer other questions or name other classes, if they find hips and name no class,
        if they took other images of the manifest, or all of these are of one class.
    """
    specs = [load_bundle(bundle, threads=1).spec for bundle in (one, other)]
    labels = specs[0].labels
    if any(spec.role is Role.LOCALISER for spec in specs):
        raise InputRefused("a localiser names no class: there is nothing to compare it by")
    if specs[0].role is not specs[1].role:
        roles = " and ".join(spec.role.value for spec in specs)
        raise InputRefused(f"{one} and {other} are of two roles, {roles}: they cannot be compared")
    if labels != specs[1].labels:
        raise InputRefused(f"{one} and {other} name other classes: they cannot be compared")
    found = []
    for bundle, name in ((one, "one"), (other, "other")):
        evaluate(bundle, manifest, out / name, split=split, views=views)
        found.append(predictions(out / name, labels))
    (actual, p, whose), (again, q, also) = found
    if whose != also or not np.array_equal(actual, again):
        raise InputRefused(f"{one} and {other} took other images of the manifest")
    a, b = macro_area(actual, p, whose), macro_area(actual, q, whose)
    difference = b - a
    rights = [scores.argmax(1) == actual for scores in (p, q)]
    return [
        Figure.of("AUC, one", a.estimate),
        Figure.of("AUC, other", b.estimate),
        Figure.of("AUC, other less one", difference.estimate),
        Figure("p of the difference (DeLong)", difference.p),
        Figure("accuracy, one", float(rights[0].mean())),
        Figure("accuracy, other", float(rights[1].mean())),
        Figure("p of the accuracies (McNemar)", compare_paired(rights[0], rights[1])),
    ]
