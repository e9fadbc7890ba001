"""Which studies are reported, as which objects, and who gets them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hipnode.domain import (
    Abstention,
    AbstentionReason,
    Attention,
    Box,
    Decision,
    Finding,
    Header,
    HipReading,
    HipROI,
    Instance,
    ModelRef,
    OperatingPoint,
    Reading,
    ResultKind,
    Side,
    Task,
)
from hipnode.services.worker import reports
from hipnode.services.worker.reader import BuiltFile
from hipnode.services.worker.reports import StudyOutcome
from hipnode.settings import DestinationSettings, Match, ReportSettings

THREE_D, COMPREHENSIVE = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.33"
POINT = OperatingPoint("test", 0.2, 0.8)


def reading(*decisions: Decision, shadow: bool = False) -> Reading:
    hips = tuple(
        HipReading(HipROI(Side.RIGHT, Box(0, 0, 9, 9), 1.0), (finding(d, shadow),))
        for d in decisions
    )
    none = None if hips else Abstention(AbstentionReason.NOT_FRONTAL)
    return Reading("1.2", 10, 10, "set", "digest", hips, none)


def finding(decision: Decision, shadow: bool) -> Finding:
    p = {Decision.ABSENT: 0.1, Decision.DOUBTFUL: 0.5, Decision.PRESENT: 0.9}[decision]
    probabilities = {"no_fracture": 1 - p, "intracapsular": p}
    label = "no_fracture" if decision is Decision.ABSENT else "intracapsular"
    model = ModelRef("m", "1.0.0", "d", "A test.")
    return Finding(
        Task.HIP_FRACTURE, probabilities, label, p, decision, POINT, model, shadow=shadow
    )


@pytest.mark.parametrize(
    ("readings", "outcome"),
    [
        ([reading(Decision.ABSENT, Decision.PRESENT)], StudyOutcome.POSITIVE),
        ([reading(Decision.DOUBTFUL)], StudyOutcome.POSITIVE),
        ([reading(Decision.ABSENT), reading()], StudyOutcome.NEGATIVE),
        ([reading(Decision.ABSENT), "The decoder died."], StudyOutcome.FAILED),
        ([reading(Decision.PRESENT), "The decoder died."], StudyOutcome.POSITIVE),
        ([reading()], StudyOutcome.ABSTAINED),
        ([reading(Decision.PRESENT, shadow=True)], StudyOutcome.ABSTAINED),
    ],
)
def test_the_outcome_of_a_study(readings: list[Reading | str], outcome: StudyOutcome) -> None:
    assert reports.outcome_of(readings) is outcome


def test_the_rules_can_silence_anything_but_a_finding() -> None:
    quiet = ReportSettings(negative="audit", abstained="audit", failed="audit")
    usual = [reports.is_reported(o, Attention.SOON, quiet) for o in StudyOutcome]
    assert usual == [True, False, False, False]
    assert all(reports.is_reported(o, Attention.NOW, quiet) for o in StudyOutcome)
    assert all(reports.is_reported(o, Attention.ROUTINE, ReportSettings()) for o in StudyOutcome)


def destination(name: str, **changes: object) -> DestinationSettings:
    values = {"name": name, "host": "h", "port": 104, "ae_title": name.upper(), **changes}
    return DestinationSettings.model_validate(values)


def built(kind: ResultKind, sop_class: str = "1.2", **further: bool) -> BuiltFile:
    return BuiltFile(kind, sop_class, "1.2.3", Path("made"), "0" * 64, **further)


def test_each_destination_gets_its_own_profile() -> None:
    pacs = destination("pacs")
    old = destination("old", objects=["sr"], sr_sop_classes=["comprehensive"])
    both = [pacs, old]
    assert reports.sr_classes_for(both) == ("comprehensive-3d", "comprehensive")
    made = [
        built(ResultKind.CAPTURE),
        built(ResultKind.SR, THREE_D),
        built(ResultKind.SR, COMPREHENSIVE),
        built(ResultKind.TEXT),
    ]
    assert [reports.receivers(b, both) for b in made] == [
        ("pacs",),
        ("pacs",),
        ("old",),
        ("pacs",),
    ]


def test_without_measurements_an_sr_destination_gets_the_text() -> None:
    old = destination("old", objects=["sr"])
    assert reports.receivers(built(ResultKind.TEXT, stands_for_sr=True), [old]) == ("old",)
    assert reports.receivers(built(ResultKind.TEXT), [old]) == ()


def test_destinations_are_chosen_by_the_images_of_the_study() -> None:
    trauma = destination("trauma", match=Match(calling_ae="ED*"))
    everybody = destination("everybody")
    header = Header("1.2", "1.2.3", "1.2.4")
    image = Instance(1, header, "ED_ROOM_1", "p", "s", datetime.now(UTC))
    other = Instance(2, header, "WARD", "p", "s", datetime.now(UTC))
    assert reports.destinations_of([image], [trauma, everybody]) == [trauma, everybody]
    assert reports.destinations_of([other], [trauma, everybody]) == [everybody]
    assert reports.objects_for([]) == reports.DEFAULT_OBJECTS


@pytest.mark.parametrize(
    ("objects", "pictured"),
    [(["sr"], False), (["sr", "gsps", "text"], False), (["capture"], True), (["pdf"], True)],
)
def test_an_image_is_pictured_where_something_shows_it(objects: list[str], pictured: bool) -> None:
    made = reports.objects_for([destination("pacs", objects=objects)])
    assert reports.are_pictured(made) is pictured
    assert reports.are_pictured(reports.objects_for([]))
