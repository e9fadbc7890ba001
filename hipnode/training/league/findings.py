"""What the papers found, each asked again: reproduced, refuted, or too few patients to tell.

A finding is a difference of mean areas under the curve between two groups of rows, by the same
patients. It is *reproduced* where its 95 % interval lies on the paper's side of 0, *refuted* where
the interval excludes the difference that the paper prints, and else the power did not suffice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hipnode.training.stats.estimates import Estimate
from hipnode.training.stats.paired import Area, holm, mean_area

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
    printed: float


@dataclass(frozen=True)
class Outcome:
    """What became of it."""

    finding: Finding
    difference: Estimate
    p: float  # adjusted over all findings that could be asked (Holm)

    @property
    def word(self) -> str:
        """``reproduced``, ``refuted`` or ``not enough power``."""
        if self.difference.low > 0:
            return "reproduced"
        return "refuted" if self.difference.high < self.finding.printed else "not enough power"


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
        "Yamamoto 2020, Table 3", "EfficientNet-b3 with covariates is best of the five",
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
        "Gale 2017, 3.1", "the DenseNet is better than the ten-layer network",
        "fracture", ("gale2017-densenet172",), ("gale2017-fcn",), 0.035,
    ),
    Finding(
        "Gale 2017, 3.1", "histogram matching helps", "fracture",
        ("gale2017-densenet172",), ("gale2017-densenet172-without-histograms",), 0.01,
    ),
)  # fmt: skip


def outcomes(areas: Mapping[str, Mapping[str, Area]]) -> list[Outcome]:
    """Return what became of the findings that can be asked.

    Parameters
    ----------
    areas
        By task and row: the mean over seeds of the area under the curve.
    """
    asked: list[tuple[Finding, Area]] = []
    for finding in FINDINGS:
        here = areas.get(finding.task, {})
        if set(finding.better + finding.than) <= here.keys():
            better = mean_area([here[name] for name in finding.better])
            than = mean_area([here[name] for name in finding.than])
            asked.append((finding, better - than))
    adjusted = holm([difference.p for _, difference in asked])
    return [
        Outcome(finding, difference.estimate, p)
        for (finding, difference), p in zip(asked, adjusted, strict=True)
    ]
