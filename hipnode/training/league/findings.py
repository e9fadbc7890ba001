"""What the papers found, each asked again: reproduced, refuted, or too few patients to tell.

A finding is a difference of mean areas under the curve between two groups of rows, by the same
patients. It is *reproduced* where the difference is the paper's way round and its p, adjusted over
all findings, is below 0.05; *refuted* where its 95 % interval excludes the difference that the
paper prints (0 where it prints none); and else the power did not suffice. Interval and p are over
other patients and other seeds; of fewer than three seeds nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hipnode.training.stats.estimates import Estimate
from hipnode.training.stats.paired import Area, holm, mean_area, trained_again
from hipnode.training.stats.statistics import compare_paired

SEEDS: Final = 3
_SURE: Final = 0.05
_NETS: Final = ("resnet18", "resnet34", "googlenet", "efficientnet-b3", "efficientnet-b4")
_Y: Final = tuple(f"yamamoto2020-{name}" for name in _NETS)


@dataclass(frozen=True)
class Finding:
    """A claim: rows ``better`` against rows ``than``, and by how much in the paper."""

    paper: str
    claim: str
    task: str
    better: tuple[str, ...]
    than: tuple[str, ...]
    printed: float | None = None


@dataclass(frozen=True)
class Row:
    """What a row showed: an area of each seed, and which hips (n,) the seeds together name right.

    ``right`` is of the mean of their probabilities.
    """

    seeds: Sequence[Area]
    right: NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """What became of it. Each p is adjusted over all findings that it was asked of (Holm)."""

    finding: Finding
    difference: Estimate
    p: float
    accuracy: float | None  # how much more is named right; None where several rows are on a side
    p_accuracy: float | None  # McNemar's, exact, of these networks: of other seeds it says nothing
    few_seeds: bool  # fewer than `SEEDS` of some row

    @property
    def word(self) -> str:
        """``reproduced``, ``refuted`` or ``not enough power``."""
        if self.few_seeds:
            return "not enough power"
        if self.difference.value > 0 and self.p < _SURE:
            return "reproduced"
        below = self.difference.high < (self.finding.printed or 0)
        return "refuted" if below else "not enough power"


def _others(name: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(one for one in names if one != name)


_DXA: Final = tuple(
    f"dxa2023-{name}" for name in ("vgg16-moco", "resnet50-moco", "resnet50-dino", "vit-s-moco")
)
FINDINGS: Final = (
    Finding(
        "Yamamoto 2020, Table 4", "clinical covariates help, over all five networks",
        "osteoporosis", tuple(f"{name}-clinical" for name in _Y), _Y, 0.023,
    ),
    *(
        Finding(
            "Yamamoto 2020, Table 4", f"clinical covariates help {name}",
            "osteoporosis", (f"yamamoto2020-{name}-clinical",), (f"yamamoto2020-{name}",), printed,
        )
        for name, printed in zip(_NETS, (0.0101, 0.0016, 0.0266, 0.0285, 0.0496), strict=True)
    ),
    Finding(
        "Yamamoto 2020, Table 3", "EfficientNet-b3 with covariates is better than the others' mean",
        "osteoporosis", ("yamamoto2020-efficientnet-b3-clinical",),
        tuple(f"{name}-clinical" for name in _others("yamamoto2020-efficientnet-b3", _Y)), 0.012,
    ),
    Finding(
        "DXA 2023, Table 1", "ViT-S by DINO is better than the other pre-trained networks",
        "risk", ("dxa2023-vit-s-dino",), _DXA, 0.163,
    ),
    Finding(
        "DXA 2023, Table 1", "clinical data help ViT-S by DINO", "risk",
        ("dxa2023-vit-s-dino-clinical",), ("dxa2023-vit-s-dino",), 0.023,
    ),
    Finding(
        "DXA 2023, Table 1", "the image and clinical data are better than clinical data alone",
        "risk", ("dxa2023-vit-s-dino-clinical",), ("dxa2023-clinical",), 0.095,
    ),
    Finding(
        "DXA 2023, Discussion", "class-specific reweighting helps ResNet50 by MoCo",
        "risk", ("dxa2023-resnet50-moco",), ("dxa2023-resnet50-moco-unbalanced",), 0.113,
    ),
    Finding(
        "DXA 2023, Discussion", "learning without labels first helps ViT-S",
        "risk", ("dxa2023-vit-s-dino",), ("dxa2023-vit-s-from-scratch",),
    ),
    *(
        Finding(
            "ours; DXA 2023 did not ask", f"what {called} learned by {how} helps a frozen network",
            "risk", (f"dxa2023-{name}-{how.lower()}",), (f"dxa2023-{name}-untrained",),
        )
        for called, name, how in (
            ("ViT-S", "vit-s", "DINO"),
            ("ResNet50", "resnet50", "MoCo"),
            ("VGG16", "vgg16", "MoCo"),
        )
    ),
    Finding(
        "Jang 2022, abstract", "the non-local block helps",
        "osteoporosis", ("jang2022-vgg16",), ("jang2022-vgg16-without-non-local",),
    ),
    Finding(
        "Gale 2017, 3.1", "the DenseNet is better than the ten-layer network",
        "fracture", ("gale2017-densenet172",), ("gale2017-fcn",), 0.035,
    ),
    Finding(
        "Gale 2017, 3.1", "a second loss, on where the fracture is, helps",
        "fracture", ("gale2017-densenet172",), ("gale2017-densenet172-without-second-loss",),
    ),
    *(
        Finding(
            "Gale 2017, 3.1", f"{claim} help",
            "fracture", ("gale2017-densenet172",), (f"gale2017-densenet172-without-{what}",), 0.01,
        )
        for claim, what in (
            ("matched histograms", "histograms"), ("small translations", "translations"),
            ("small rotations", "rotations"), ("small shears", "shears"),
        )
    ),
)  # fmt: skip


def outcomes(rows: Mapping[str, Mapping[str, Row]]) -> list[Outcome]:
    """Return what became of the findings that can be asked.

    Parameters
    ----------
    rows
        By task and name.
    """
    asked = [one for one in FINDINGS if {*one.better, *one.than} <= rows.get(one.task, {}).keys()]
    sides = [
        ([rows[one.task][name] for name in one.better], [rows[one.task][name] for name in one.than])
        for one in asked
    ]
    differences = [_mean(better) - _mean(than) for better, than in sides]
    adjusted = holm([difference.p for difference in differences])
    pairs = {at: (a[0], b[0]) for at, (a, b) in enumerate(sides) if len(a) == len(b) == 1}
    exact = holm([compare_paired(one.right, other.right) for one, other in pairs.values()])
    named = dict(zip(pairs, exact, strict=True))
    gained = {at: float(one.right.mean() - two.right.mean()) for at, (one, two) in pairs.items()}
    return [
        Outcome(
            finding, differences[at].estimate, adjusted[at], gained.get(at), named.get(at),
            any(len(row.seeds) < SEEDS for row in (*sides[at][0], *sides[at][1])),
        )
        for at, finding in enumerate(asked)
    ]  # fmt: skip


def _mean(rows: Sequence[Row]) -> Area:
    return mean_area([trained_again(row.seeds) for row in rows])
