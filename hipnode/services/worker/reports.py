"""What becomes of a study: whether it is reported, as which objects, and where they go. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from hipnode import reporting
from hipnode.domain import Attention, Decision, Instance, Language, Reading, ResultKind
from hipnode.services.worker.reader import BuiltFile
from hipnode.settings import AnyDestination, ReportSettings, Settings

DEFAULT_OBJECTS = frozenset({ResultKind.SR, ResultKind.CAPTURE, ResultKind.TEXT})


class StudyOutcome(StrEnum):
    """The sum of a study's readings; the settings have a rule for each but the first."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    ABSTAINED = "abstained"
    FAILED = "failed"


def outcome_of(readings: Iterable[Reading | str]) -> StudyOutcome:
    """Return the outcome of a study.

    Parameters
    ----------
    readings
        Of each image: its reading, or why it has none.
    """
    readings = list(readings)
    findings = [
        finding
        for reading in readings
        if isinstance(reading, Reading)
        for hip in reading.hips
        for finding in hip.findings
        if not finding.shadow
    ]
    if any(finding.decision is not Decision.ABSENT for finding in findings):
        return StudyOutcome.POSITIVE
    if any(isinstance(reading, str) for reading in readings):
        return StudyOutcome.FAILED
    return StudyOutcome.NEGATIVE if findings else StudyOutcome.ABSTAINED


def is_reported(outcome: StudyOutcome, attention: Attention, rules: ReportSettings) -> bool:
    """Tell whether the settings want a report; a positive or urgent study always gets one."""
    if outcome is StudyOutcome.POSITIVE or attention is Attention.NOW:
        return True
    return bool(getattr(rules, outcome.value) == "report")


def destinations_of(
    instances: Sequence[Instance], destinations: Sequence[AnyDestination]
) -> list[AnyDestination]:
    """Return the destinations whose rule matches any image of the study."""
    facts = [instance.header.facts(instance.calling_ae) for instance in instances]
    return [d for d in destinations if any(d.match.matches(f) for f in facts)]


def of_self_test(settings: Settings) -> list[AnyDestination]:
    """Return where the report on a self-test goes: to the archive that is asked for it alone."""
    chosen = settings.self_test
    place = settings.archive(chosen.seen_at or chosen.send_to)
    return [place] if place else []


def by_language(
    destinations: Sequence[AnyDestination], usual: Language
) -> dict[Language, list[AnyDestination]]:
    """Return the destinations by the language that they want; without one, the usual language."""
    wanted: dict[Language, list[AnyDestination]] = {}
    for destination in destinations:
        wanted.setdefault(destination.language or usual, []).append(destination)
    return wanted or {usual: []}


def node_identity(settings: Settings) -> reporting.NodeIdentity:
    """Return who reports."""
    node = settings.node
    return reporting.NodeIdentity(
        ae_title=node.ae_title,
        name=node.name,
        institution=node.institution,
        timezone_offset=node.timezone_offset,
        assumed_character_set=node.assumed_character_set,
        feedback_url=f"{settings.desk.public_url}/studies/" if settings.desk.public_url else "",
    )


def objects_for(destinations: Sequence[AnyDestination]) -> frozenset[ResultKind]:
    """Return the kinds of object to make; without a destination, those that a viewer wants."""
    wanted = frozenset(ResultKind(kind) for d in destinations for kind in d.made_for)
    return wanted or DEFAULT_OBJECTS


def are_pictured(objects: frozenset[ResultKind]) -> bool:
    """Tell whether any of these shows the image itself, which then is drawn while it is read."""
    return bool(objects & reporting.PICTURED)


def sr_classes_for(destinations: Sequence[AnyDestination]) -> tuple[reporting.SRClass, ...]:
    """Return the SOP classes in which an SR is made: every one that a destination may need."""
    classes = tuple(dict.fromkeys(c for d in destinations for c in d.sr_classes))
    return classes or ("comprehensive-3d",)


def receivers(built: BuiltFile, destinations: Sequence[AnyDestination]) -> tuple[str, ...]:
    """Return who gets an object: those whose profile asks for it, and whose first SR class it is.

    An SR in another class than a destination's first waits on disk, for the courier to fall back
    to. A study without measurements has a text where a profile asks for an SR.
    """

    def wants(destination: AnyDestination) -> bool:
        match built.kind:
            case ResultKind.SR:
                first = [reporting.SR_CLASSES[c] for c in destination.sr_classes[:1]]
                return "sr" in destination.made_for and built.sop_class_uid in first
            case ResultKind.TEXT if built.stands_for_sr and "sr" in destination.made_for:
                return True
            case kind:
                return kind.value in destination.made_for

    return tuple(d.name for d in destinations if wants(d))
