"""What a radiologist would write, and never more certainty than the calibration gives."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import timedelta

from hipnode import DISCLAIMER, codes
from hipnode.domain import (
    Attention,
    Caveat,
    Decision,
    Finding,
    HipReading,
    ModelRef,
    Side,
    Task,
    Verdict,
)
from hipnode.reporting.request import ReportRequest, SourceImage, findings_of
from hipnode.reporting.terms import (
    TERMS,
    leading_class,
    positive_classes,
    reason_of,
    words,
)

TITLE = "AI reading of hip radiographs"
SCOPE = (
    "Only the proximal femur was assessed. Not assessed: pelvic ring, acetabulum, femoral shaft, "
    "spine, soft tissue. Fractures that a radiograph does not show are not found."
)
SCAN_SCOPE = (
    "A densitometer's scan of one hip was sorted by fracture risk. No fracture was looked for, and "
    "no bone density was measured."
)
_RANK = (Decision.PRESENT, Decision.DOUBTFUL, Decision.ABSENT)
_HEADLINES = {
    Decision.PRESENT: "suspected {} {}",
    Decision.DOUBTFUL: "possible {} {}",
    Decision.ABSENT: "no {} detected {}",
}
LOOK = "A person should look now."
_WHEN = {
    Attention.NOW: "LOOK NOW",
    Attention.SOON: "Look soon",
    Attention.ROUTINE: "Look in the usual order",
}
UNREVIEWED = f"Not reviewed by a physician. {DISCLAIMER}."


def ascii_text(text: str, limit: int = 400) -> str:
    """Return ``text`` as one line of printable ASCII, so that every character set can hold it."""
    line = " ".join(text.split())
    kept = "".join(c if " " <= c <= "~" else "?" for c in line)
    return kept if len(kept) <= limit else kept[: limit - 3] + "..."


def percent(p: float, thresholds: Iterable[float] = ()) -> str:
    """Return a probability in words, rounded as far as it stays on its side of each threshold.

    >>> percent(0.966), percent(0.001), percent(0.9999), percent(0.846, [0.85])
    ('97 %', '<1 %', '>99 %', '84.6 %')
    """
    bounds = [t for t in thresholds if 0.0 < t < 1.0]
    if p < 0.005 and all(t >= 0.01 for t in bounds):
        return "<1 %"
    if p > 0.995 and all(t <= 0.99 for t in bounds):
        return ">99 %"
    for digits in range(5):
        rounded = round(100 * p, digits)
        apart = all((rounded >= round(100 * t, max(digits, 1))) == (p >= t) for t in bounds)
        if apart and 0 < rounded < 100:
            return f"{rounded:.{digits}f} %"
    return "<0.01 %" if p < 0.5 else ">99.99 %"


def threshold(t: float) -> str:
    """Return a threshold in words: as many digits as it has, at most three."""
    return f"{round(100 * t, 2):g} %"


def certainty(finding: Finding) -> str:
    """Return the calibrated probability of a finding in words."""
    point = finding.operating_point
    return percent(finding.p_positive, (point.doubtful_from, point.present_from))


def hip_name(side: Side) -> str:
    """Return how a hip is called: by the patient's side, in words."""
    return "Hip, SIDE NOT KNOWN" if side is Side.UNKNOWN else f"{side.word} hip"


def attention_of(sources: Sequence[SourceImage]) -> Attention:
    """Return how soon a person should look at a study: that of its most urgent image.

    What nobody could read for a technical reason is for a person to read.
    """
    return Attention.most_urgent(
        s.reading.attention if s.reading is not None else Attention.SOON for s in sources
    )


def finding_sentence(finding: Finding, side: Side, caveats: Sequence[Caveat] = ()) -> str:
    """Return one finding about one hip, as a sentence or two.

    ``caveats`` say why a fracture is doubtful at most.
    """
    noun = TERMS[finding.task].noun
    point = finding.operating_point
    p = certainty(finding)
    name = hip_name(side)
    if finding.task is Task.FRACTURE_RISK:
        return _risk_sentence(finding, side)
    if finding.decision is Decision.PRESENT:
        kind = _type_words(finding)
        return (
            f"{name}: SUSPECTED {noun.upper()}, definite (AI probability {p}; definite "
            f"from {threshold(point.present_from)}).{kind} Expert review advised."
        )
    if finding.decision is Decision.DOUBTFUL:
        because = _because(caveats) if finding.task is Task.HIP_FRACTURE else ""
        return (
            f"{name}: POSSIBLE {noun.upper()}, doubtful (AI probability {p}; doubtful "
            f"from {threshold(point.doubtful_from)}, definite from "
            f"{threshold(point.present_from)}).{because} Neither confirmed nor excluded; expert "
            "review advised."
        )
    occult = " An occult fracture is not excluded." if noun == "fracture" else ""
    return f"{name}: no {noun} detected (AI probability {p}).{occult}"


def _because(caveats: Sequence[Caveat]) -> str:
    """Return why a suspicion is doubtful at most, as a sentence."""
    if not caveats:
        return ""
    return f" Doubtful because {'; '.join(codes.CAVEATS[c.value].meaning for c in caveats)}."


def _risk_sentence(finding: Finding, side: Side) -> str:
    """Return the classes of risk, which exclude each other, and what follows for the high one."""
    classes = ", ".join(f"{words(k)} {percent(p)}" for k, p in finding.probabilities.items())
    point = finding.operating_point
    said = {
        Decision.PRESENT: f"HIGH FRACTURE RISK, definite from {threshold(point.present_from)}",
        Decision.DOUBTFUL: "high fracture risk neither confirmed nor excluded, doubtful from "
        f"{threshold(point.doubtful_from)}, definite from {threshold(point.present_from)}",
        Decision.ABSENT: "no high fracture risk detected",
    }[finding.decision]
    advice = "" if finding.decision is Decision.ABSENT else " Clinical correlation advised."
    return f"{hip_name(side)}: {said} (AI probability: {classes}).{advice}"


def scope(sources: Sequence[SourceImage]) -> str:
    """Return what was looked at, and what was not."""
    tasks = {f.task for s in sources for h in s.hips for f in findings_of(h)}
    if tasks == {Task.FRACTURE_RISK}:
        return SCAN_SCOPE
    return SCOPE if Task.FRACTURE_RISK not in tasks else f"{SCOPE} {SCAN_SCOPE}"


def _type_words(finding: Finding) -> str:
    leading = leading_class(finding)
    if leading is None:
        return ""
    p = positive_classes(finding)[leading]
    return f" Most likely {words(leading)} ({percent(p)})."


def abstention_sentence(hip: HipReading) -> str:
    """Return why nothing is said of one hip."""
    assert hip.abstention is not None  # noqa: S101 - the caller asks only for such hips
    why = reason_of(hip.abstention.reason).meaning
    if hip.verdict is Verdict.LOOK_NOW:
        return f"{hip_name(hip.roi.side)}: NOT JUDGED - {why}. {LOOK}"
    return f"{hip_name(hip.roi.side)}: NOT ASSESSED - {why}."


def missing_sentence(side: Side) -> str:
    """Return what is said of a side of a pelvis on which no hip was found."""
    return f"{hip_name(side)}: NOT FOUND on an image of the pelvis. {LOOK}"


def image_name(source: SourceImage, number: int) -> str:
    """Return how the report calls an image: its place in the report and in the study."""
    place = []
    for word, keyword in (("series", "SeriesNumber"), ("image", "InstanceNumber")):
        try:
            value = source.dataset.get(keyword)
        except (ValueError, TypeError):  # an IS that is no number
            value = None
        if isinstance(value, int | str) and value != "":
            place.append(f"{word} {ascii_text(str(value), 16)}")
    return f"Image {number}" + (f" ({', '.join(place)})" if place else "")


def image_sentence(source: SourceImage, number: int) -> str:
    """Return what became of an image as a whole."""
    name = image_name(source, number)
    if source.reading is None:
        why = ascii_text(source.failure, 120).rstrip(".")
        return f"{name}: NOT ASSESSED - technical failure ({why})."
    if source.reading.abstention is not None:
        look = f" {LOOK}" if source.reading.abstention.attention is Attention.NOW else ""
        why = reason_of(source.reading.abstention.reason).meaning
        return f"{name}: NOT ASSESSED - {why}.{look}"
    notes = "; ".join(ascii_text(note, 160).rstrip(".") for note in source.notes)
    return f"{name}: read." + (f" Note: {notes}." if notes else "")


def hip_sentences(sources: Sequence[SourceImage]) -> list[str]:
    """Return the findings, right before left, the most serious first, each with its image.

    Where several images say the same of a hip in the same words, they say it once.
    """
    sentences: list[str] = []
    for side in Side:
        said: dict[str, list[int]] = {}
        ranked = sorted(_statements(sources, side), key=lambda item: item[0])
        for _, number, sentence in ranked:
            said.setdefault(sentence, []).append(number)
        for sentence, numbers in said.items():
            sentences.append(_with_images(sentence, numbers) if len(sources) > 1 else sentence)
    return sentences


def _statements(sources: Sequence[SourceImage], side: Side) -> list[tuple[int, int, str]]:
    statements = []
    for number, source in enumerate(sources, start=1):
        if source.missing is side:
            statements.append((-1, number, missing_sentence(side)))
        for hip in (h for h in source.hips if h.roi.side is side):
            if hip.abstention is not None:
                rank = -1 if hip.verdict is Verdict.LOOK_NOW else 3
                statements.append((rank, number, abstention_sentence(hip)))
            for finding in findings_of(hip):
                sentence = finding_sentence(finding, side, hip.caveats)
                statements.append((_RANK.index(finding.decision), number, sentence))
    return statements


def _with_images(sentence: str, numbers: Sequence[int]) -> str:
    name, rest = sentence.split(": ", 1)
    which = ", ".join(str(n) for n in numbers)
    return f"{name} (image{'s' if len(numbers) > 1 else ''} {which}): {rest}"


def headline(sources: Sequence[SourceImage]) -> str:
    """Return the whole report in one line: of each hip, the most serious of all images.

    What nobody could judge stands first: a person has to.
    """
    worst: dict[tuple[Side, str], Decision] = {}
    look: set[Side] = {s.missing for s in sources if s.missing}
    abstained: set[Side] = set()
    either = False
    for hip in (h for s in sources for h in s.hips):
        if hip.verdict is Verdict.LOOK_NOW:
            look.add(hip.roi.side)
        elif hip.abstention is not None:
            abstained.add(hip.roi.side)
        either |= Caveat.EITHER_HIP in hip.caveats
        for finding in findings_of(hip):
            key = (hip.roi.side, TERMS[finding.task].noun)
            worst[key] = min(worst.get(key, finding.decision), finding.decision, key=_RANK.index)
    parts = [f"{_sides(look)} hip could not be judged"] if look else []
    for decision in _RANK:
        for noun in dict.fromkeys(noun for (_, noun), d in worst.items() if d is decision):
            sides = {side for (side, n), d in worst.items() if n == noun and d is decision}
            one_of = either and decision is Decision.DOUBTFUL and len(sides) > 1
            where = f"{_sides(sides, 'or')} (not told apart)" if one_of else _sides(sides)
            parts.append(_HEADLINES[decision].format(noun, where))
    if unread := abstained - {side for side, _ in worst}:
        parts.append(f"not assessed {_sides(unread)}")
    text = "; ".join(parts) or "no hip was assessed"
    return f"{_WHEN[attention_of(sources)]}. {text[0].upper()}{text[1:]}."


def _sides(sides: set[Side], joint: str = "and") -> str:
    return f" {joint} ".join(s.word for s in Side if s in sides)


def models_of(sources: Sequence[SourceImage]) -> dict[ModelRef, Finding]:
    """Return each model that spoke, with one of its findings (for its operating point)."""
    models: dict[ModelRef, Finding] = {}
    for source in sources:
        for hip in source.hips:
            for finding in findings_of(hip):
                models.setdefault(finding.model, finding)
    return models


def provenance(request: ReportRequest) -> list[str]:
    """Return who said it, with which model and thresholds, and when."""
    lines = []
    for model, finding in models_of(request.sources).items():
        point = finding.operating_point
        lines.append(
            f"Model {model.name} {model.version} ({model.digest[:12]}), operating point "
            f"{point.name}: doubtful from {threshold(point.doubtful_from)}, definite from "
            f"{threshold(point.present_from)}. {ascii_text(model.card, 160)}"
        )
    node = request.node
    replaces = f" Version {request.version}: replaces the report sent before." * bool(
        request.predecessors
    )
    lines.append(
        f"Made by {ascii_text(node.name, 64)} {node.software_version} ({node.ae_title}) on "
        f"{_moment(request)}.{replaces}"
    )
    return [ascii_text(line) for line in lines]


def _moment(request: ReportRequest) -> str:
    offset = request.node.timezone_offset
    if not offset:
        return request.made_utc.strftime("%Y-%m-%d %H:%M UTC")
    sign = -1 if offset[0] == "-" else 1
    shift = sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
    return (request.made_utc + shift).strftime(f"%Y-%m-%d %H:%M {offset}")


def other_patients(number: int) -> str:
    """Return the warning that a study holds images under other Patient IDs."""
    ids = "another Patient ID" if number == 1 else f"{number} other Patient IDs"
    return (
        f"CHECK THE IDENTITY: this study holds images under {ids}. They are reported apart, each "
        "image under the ID that it came with."
    )


def report_lines(request: ReportRequest) -> list[tuple[str, str]]:
    """Return the report as (heading, sentence), in the order of reading."""
    sources = request.sources
    lines = [("Impression", headline(sources))]
    lines += [("Finding", sentence) for sentence in hip_sentences(sources)]
    images = [image_sentence(s, n) for n, s in enumerate(sources, start=1)]
    if len(sources) == 1 and sources[0].hips and not sources[0].notes:
        images = []
    lines += [("Image", sentence) for sentence in images]
    if request.other_patients:
        lines.append(("Image", other_patients(request.other_patients)))
    lines.append(("Scope", scope(sources)))
    lines += [("Origin", line) for line in provenance(request)]
    lines.append(("Status", UNREVIEWED))
    return lines


def plain_text(request: ReportRequest, width: int = 96) -> str:
    """Return the report as plain text: about ten lines of English, no name of a patient.

    Parameters
    ----------
    request
        What is reported.
    width
        Where lines are folded, in characters.
    """
    heading = f"{TITLE} - {DISCLAIMER}"
    folded = [
        textwrap.fill(text, width, initial_indent="", subsequent_indent="    ")
        for _, text in report_lines(request)
    ]
    return "\n".join([heading, *folded]) + "\n"
