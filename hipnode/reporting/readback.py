"""Reading hipnode's own measurement reports back, with highdicom's reader.

References
----------
PS3.16 TID 1500, TID 1410.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np

from hipnode import codes
from hipnode.domain import Side


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement group: a hip, its box as (x0, y0, x1, y1), what was answered and how sure."""

    side: Side
    box: tuple[float, float, float, float]
    finding: str
    presence: str
    percent: float
    classes_percent: dict[str, float]
    source_sop_instance_uid: str


def read_back(source: Path | bytes) -> list[Measured]:
    """Return the measurement groups of a TID 1500 report.

    Raises
    ------
    ValueError
        If highdicom cannot read the object, or a group is not one of `measurement_reports`'.
    """
    try:
        report: Any = hd.sr.srread(BytesIO(source) if isinstance(source, bytes) else source)
        groups = report.content.get_planar_roi_measurement_groups()
        return [_measured(group) for group in groups]
    except ValueError:
        raise
    except Exception as error:  # pydicom and highdicom raise whatever they meet
        raise ValueError(f"highdicom cannot read it: {type(error).__name__}: {error}") from error


def _measured(group: Any) -> Measured:
    laterality = group.finding_sites[0].laterality
    sides = {codes.RIGHT.value: Side.RIGHT, codes.LEFT.value: Side.LEFT}
    total = group.get_measurements()[0]
    points = np.asarray(group.roi.value)
    first, last = points.min(axis=0), points.max(axis=0)
    below = [item for item in total[0].ContentSequence if item.ValueType == "NUM"]
    answers = [
        e.value.meaning
        for e in group.get_qualitative_evaluations()
        if e.value.value in (codes.PRESENT.value, codes.ABSENT.value, codes.UNDETERMINED.value)
    ]
    return Measured(
        side=Side.UNKNOWN if laterality is None else sides[laterality.value],
        box=(float(first[0]), float(first[1]), float(last[0]), float(last[1])),
        finding=group.finding_type.value,
        presence=answers[0],
        percent=float(total.value),
        classes_percent={i.name.meaning: float(i.value) for i in below},
        source_sop_instance_uid=str(
            group.roi.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        ),
    )
