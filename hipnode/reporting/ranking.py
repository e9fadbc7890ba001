"""What a study comes to: each thing that may be said of a hip, the worst first; and its outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from hipnode import domain
from hipnode.domain import (
    Abstention,
    AbstentionReason,
    Attention,
    Caveat,
    Decision,
    Finding,
    Side,
    Task,
)
from hipnode.reporting.request import SourceImage, findings_of


class Rank(IntEnum):
    """The order of reading: what cannot wait, then what nobody could judge, then the rest."""

    FRACTURE_LIKELY = 0
    NOT_JUDGED = 1  # there is a hip, or should be: a person has to look now
    FRACTURE_POSSIBLE = 2
    OTHER_LIKELY = 3
    OTHER_POSSIBLE = 4
    NOT_ASSESSED = 5
    NONE_SEEN = 6
    OTHER_NONE_SEEN = 7


_RANKS: Final = {
    (True, Decision.PRESENT): Rank.FRACTURE_LIKELY,
    (True, Decision.DOUBTFUL): Rank.FRACTURE_POSSIBLE,
    (True, Decision.EQUIVOCAL): Rank.FRACTURE_POSSIBLE,
    (True, Decision.ABSENT): Rank.NONE_SEEN,
    (False, Decision.PRESENT): Rank.OTHER_LIKELY,
    (False, Decision.DOUBTFUL): Rank.OTHER_POSSIBLE,
    (False, Decision.ABSENT): Rank.OTHER_NONE_SEEN,
}


def rank_of(finding: Finding) -> Rank:
    """Return where a finding stands in the order of reading."""
    return _RANKS[finding.task is Task.HIP_FRACTURE, finding.decision]


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing about one hip on one image: a finding, or why there is none.

    ``reason`` is None of a side of a pelvis on which no hip was found.
    """

    rank: Rank
    side: Side
    image: int  # its place in the report, from 1
    finding: Finding | None = None
    caveats: tuple[Caveat, ...] = ()
    reason: AbstentionReason | None = None


def statements(sources: Sequence[SourceImage]) -> list[Statement]:
    """Return everything that is said of any hip, the worst first; else right before left."""
    found = [s for n, source in enumerate(sources, start=1) for s in _of_image(source, n)]
    return sorted(found, key=lambda s: (s.rank, list(Side).index(s.side), s.image))


def _of_image(source: SourceImage, number: int) -> Iterator[Statement]:
    if source.missing is not None:
        yield Statement(Rank.NOT_JUDGED, source.missing, number)
    for hip in source.hips:
        side = hip.roi.side
        if hip.abstention is not None:
            yield Statement(
                _rank_without(hip.abstention), side, number, reason=hip.abstention.reason
            )
        for finding in findings_of(hip):
            caveats = hip.caveats if finding.task is Task.HIP_FRACTURE else ()
            yield Statement(rank_of(finding), side, number, finding, caveats)


def _rank_without(abstention: Abstention) -> Rank:
    urgent = abstention.attention is Attention.NOW
    return Rank.NOT_JUDGED if urgent else Rank.NOT_ASSESSED


def attention_of(sources: Sequence[SourceImage]) -> Attention:
    """Return how soon a person should look at what is reported."""
    return domain.attention_of(s.reading for s in sources)


class Flag(StrEnum):
    """The outcome of a study or an image, for the list of a PACS; the worst first."""

    POSITIVE = "positive"
    LOOK_NOW = "look_now"
    DOUBT = "doubt"
    FAILED = "failed"
    NOT_ASSESSED = "not_assessed"
    NONE_SEEN = "none_seen"


_FLAGS: Final = {
    Rank.FRACTURE_LIKELY: Flag.POSITIVE,
    Rank.NOT_JUDGED: Flag.LOOK_NOW,
    Rank.FRACTURE_POSSIBLE: Flag.DOUBT,
    Rank.OTHER_LIKELY: Flag.POSITIVE,
    Rank.OTHER_POSSIBLE: Flag.DOUBT,
    Rank.NOT_ASSESSED: Flag.NOT_ASSESSED,
    Rank.NONE_SEEN: Flag.NONE_SEEN,
    Rank.OTHER_NONE_SEEN: Flag.NONE_SEEN,
}


def flag_of(sources: Sequence[SourceImage]) -> Flag:
    """Return the outcome of images: that of the worst.

    A lateral view beside a pelvis that was read is no gap; an image that could not be read is one.
    """
    flags = {_FLAGS[s.rank] for s in statements(sources)}
    for source in sources:
        if source.reading is None:
            flags.add(Flag.FAILED)
        elif source.reading.abstention is not None:
            when = source.reading.attention
            if when is Attention.NOW:
                flags.add(Flag.LOOK_NOW)
            elif when is Attention.SOON or not any(s.hips for s in sources):
                flags.add(Flag.NOT_ASSESSED)
    return next((f for f in Flag if f in flags), Flag.NOT_ASSESSED)
