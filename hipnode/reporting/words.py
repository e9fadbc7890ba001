"""What a radiologist would write, the worst first, and never more certainty than there is.

How sure is one word out of three: likely, possible, none seen. Probabilities and thresholds are
numbers of the SR alone: of two hips with 92 and 93 per cent, no reader should see two things.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import timedelta

from hipnode.domain import (
    TASKS,
    AbstentionReason,
    Attention,
    Caveat,
    Decision,
    Finding,
    ModelRef,
    Side,
    Task,
)
from hipnode.reporting.languages import LANGUAGES, Phrases
from hipnode.reporting.ranking import Rank, Statement, attention_of, statements
from hipnode.reporting.request import ReportRequest, SourceImage, findings_of
from hipnode.reporting.terms import leading_class

_NEVER_SHOWN = ("subtrochanteric",)
"""Kinds of fracture in the assessed region that some models were never shown."""
_FAILED = "failed"


def phrases_of(request: ReportRequest) -> Phrases:
    """Return the language of a report."""
    return LANGUAGES[request.language]


def ascii_text(text: str, limit: int = 400) -> str:
    """Return ``text`` as one line of printable ASCII, so that every character set can hold it."""
    line = " ".join(text.split())
    kept = "".join(c if " " <= c <= "~" else "?" for c in line)
    return kept if len(kept) <= limit else kept[: limit - 3] + "..."


def threshold(t: float) -> str:
    """Return a threshold for the SR: as many digits as it has, at most three."""
    return f"{round(100 * t, 2):g} %"


def reason_words(reason: AbstentionReason | None, phrases: Phrases) -> str:
    """Return why nothing is said; None is a technical failure."""
    return phrases.reasons[_FAILED if reason is None else reason.value]


# --- the first line -----------------------------------------------------------------------------


def headline(sources: Sequence[SourceImage], phrases: Phrases) -> str:
    """Return the whole report in one line: what to do, then each hip, the worst first.

    Of a hip on several images the worst is said; "none seen" on one image says nothing of a hip
    that could not be judged on another.
    """
    found = statements(sources)
    parts = [phrases.when[attention_of(sources)]]
    parts += [f"{hip}{phrases.colon}{what}" for hip, what in _by_hip(found, phrases)]
    gaps = [source for source in sources if not source.hips and source.missing is None]
    if not found:
        why = phrases.then.join(dict.fromkeys(_why_not(source, phrases) for source in gaps))
        word = _word_without(sources, phrases)
        parts += [f"{word}{phrases.colon}{why}", phrases.without_ai]
    elif gaps:
        parts.append(phrases.left_out(len(gaps), len(sources)))
    return " ".join(f"{part}." for part in parts)


def _word_without(sources: Sequence[SourceImage], phrases: Phrases) -> str:
    urgent = attention_of(sources) is Attention.NOW
    return phrases.not_judged if urgent else phrases.not_assessed


def _why_not(source: SourceImage, phrases: Phrases) -> str:
    abstention = source.reading.abstention if source.reading is not None else None
    return reason_words(abstention.reason if abstention else None, phrases)


def _by_hip(found: Sequence[Statement], phrases: Phrases) -> list[tuple[str, str]]:
    """Return (hip, what is said of it) in the order of reading; hips of which the same is said go
    together.
    """
    said: dict[Side, list[Statement]] = {}
    for statement in found:
        said.setdefault(statement.side, []).append(statement)
    grouped: dict[str, list[Side]] = {}
    for side, of_side in said.items():
        grouped.setdefault(_in_short(of_side, phrases), []).append(side)
    either = any(Caveat.EITHER_HIP in s.caveats for s in found)
    return [(_hips(sides, text, phrases, either), text) for text, sides in grouped.items()]


def _hips(sides: Sequence[Side], text: str, phrases: Phrases, either: bool) -> str:
    possible = phrases.tasks[Task.HIP_FRACTURE].said[Decision.DOUBTFUL]
    if either and text.startswith(possible) and {Side.RIGHT, Side.LEFT} <= set(sides):
        return phrases.either_hip
    return phrases.hip(*sides)


def _in_short(of_side: Sequence[Statement], phrases: Phrases) -> str:
    """Return what is said of one hip, from statements with the worst first."""
    parts: dict[Task | None, str] = {}
    worst = of_side[0].rank
    for statement in of_side:
        finding, rank = statement.finding, statement.rank
        if finding is None:
            if worst in (Rank.FRACTURE_LIKELY, Rank.FRACTURE_POSSIBLE):
                continue  # it was judged on another image
            parts.setdefault(None, _without(statement, phrases))
        elif rank is Rank.NONE_SEEN and worst is Rank.NOT_JUDGED:
            continue
        else:
            parts.setdefault(finding.task, short(finding, phrases))
    return phrases.then.join(parts.values())


def short(finding: Finding, phrases: Phrases) -> str:
    """Return a finding and how sure, in a few words."""
    task = phrases.tasks[finding.task]
    said = task.said[finding.decision]
    return said if finding.decision is not Decision.ABSENT else f"{said}, {task.not_excluded}"


def _without(statement: Statement, phrases: Phrases) -> str:
    """Return that, and why, nothing is said of a hip."""
    judged = statement.rank is not Rank.NOT_JUDGED
    word = phrases.not_assessed if judged else phrases.not_judged
    missing = statement.reason is None
    why = phrases.no_hip if missing else reason_words(statement.reason, phrases)
    return f"{word} ({why})"


# --- the sentences below it ---------------------------------------------------------------------


def hip_sentences(sources: Sequence[SourceImage], phrases: Phrases) -> list[str]:
    """Return all that is said of the hips, the worst first, each with its images.

    Where several images say the same of a hip in the same words, they say it once.
    """
    said: dict[tuple[Side, str], list[int]] = {}
    for statement in statements(sources):
        said.setdefault((statement.side, _sentence(statement, phrases)), []).append(statement.image)
    several = len(sources) > 1
    return [
        f"{phrases.hip(side)}{_images(numbers, phrases) if several else ''}{phrases.colon}{text}"
        for (side, text), numbers in said.items()
    ]


def _images(numbers: Sequence[int], phrases: Phrases) -> str:
    return f" {phrases.images(', '.join(str(n) for n in numbers), len(numbers))}"


def _sentence(statement: Statement, phrases: Phrases) -> str:
    if statement.finding is not None:
        return finding_sentence(statement.finding, phrases, statement.caveats)
    look = f" {phrases.look}" if statement.rank is Rank.NOT_JUDGED else ""
    return f"{_without(statement, phrases)}.{look}"


def finding_sentence(finding: Finding, phrases: Phrases, caveats: Sequence[Caveat] = ()) -> str:
    """Return one finding as a few short sentences.

    Parameters
    ----------
    finding
        What was found.
    phrases
        The language.
    caveats
        Why a fracture is no more than possible.
    """
    task = phrases.tasks[finding.task]
    parts = [f"{task.said[finding.decision]}."]
    if finding.decision is Decision.PRESENT and (leading := leading_class(finding)):
        parts.append(phrases.kind.format(phrases.class_words(leading)))
    if finding.decision is Decision.DOUBTFUL:
        if caveats:
            why = phrases.then.join(phrases.caveats[caveat.value] for caveat in caveats)
            parts.append(phrases.because.format(why))
        parts.append(phrases.neither)
    parts.append(task.advice[finding.decision])
    if finding.nhfd:
        parts.append(phrases.nhfd.format(phrases.nhfd_classes[finding.nhfd]))
    return " ".join(part for part in parts if part)


def image_name(source: SourceImage, number: int, phrases: Phrases) -> str:
    """Return how the report calls an image: its place in the report and in the study."""
    place = []
    for word, keyword in (("series", "SeriesNumber"), ("image", "InstanceNumber")):
        try:
            value = source.dataset.get(keyword)
        except (ValueError, TypeError):  # an IS that is no number
            value = None
        if isinstance(value, int | str) and value != "":
            place.append(phrases.place[word].format(ascii_text(str(value), 16)))
    if source.frame is not None:
        place.append(phrases.place["frame"].format(source.frame))
    name = phrases.image.format(number)
    return f"{name} ({', '.join(place)})" if place else name


def image_sentence(source: SourceImage, number: int, phrases: Phrases) -> str:
    """Return what became of an image as a whole."""
    name = f"{image_name(source, number, phrases)}{phrases.colon}"
    if source.reading is None:
        why = phrases.failure.format(ascii_text(source.failure, 120).rstrip("."))
        return f"{name}{phrases.not_assessed} - {why}."
    if source.reading.abstention is not None:
        urgent = source.reading.attention is Attention.NOW
        word = phrases.not_judged if urgent else phrases.not_assessed
        look = f" {phrases.look}" if urgent else ""
        why = reason_words(source.reading.abstention.reason, phrases)
        if source.reading.abstention.reason is AbstentionReason.UNDECODABLE:
            why += f": {ascii_text(source.reading.abstention.detail, 200).rstrip('.')}"
        return f"{name}{word} - {why}.{look}"
    notes = "; ".join(ascii_text(note, 160).rstrip(".") for note in source.notes)
    return f"{name}{phrases.read}." + (f" {phrases.note.format(notes)}" if notes else "")


def scope(sources: Sequence[SourceImage], phrases: Phrases) -> str:
    """Return what was looked at, and what was not; "" where nothing was."""
    findings = [f for s in sources for h in s.hips for f in findings_of(h)]
    tasks = {f.task for f in findings}
    if not tasks:
        return ""
    scans = {task for task in tasks if TASKS[task].of_scans}
    if tasks == scans:
        return phrases.scan_scope
    parts = [phrases.scope]
    if unknown := [kind for kind in _NEVER_SHOWN if any(_never_shown(f, kind) for f in findings)]:
        kinds = ", ".join(phrases.class_words(kind) for kind in unknown)
        parts.append(phrases.unknown_classes.format(kinds))
    if scans:
        parts.append(phrases.scan_scope)
    return " ".join(parts)


def _never_shown(finding: Finding, kind: str) -> bool:
    """Tell whether a fracture model that tells kinds of fracture apart does not know this one."""
    fracture = finding.task is Task.HIP_FRACTURE
    return fracture and len(finding.positive) > 1 and kind not in finding.positive


# --- who said it --------------------------------------------------------------------------------


def models_of(sources: Sequence[SourceImage]) -> dict[ModelRef, Finding]:
    """Return each model that spoke, with one of its findings (for its operating point)."""
    models: dict[ModelRef, Finding] = {}
    for source in sources:
        for hip in source.hips:
            for finding in findings_of(hip):
                models.setdefault(finding.model, finding)
    return models


def provenance(request: ReportRequest) -> list[str]:
    """Return who said it, with which model, and when."""
    phrases, node = phrases_of(request), request.node
    lines = [
        phrases.model.format(
            ascii_text(model.name, 64),
            model.version,
            model.digest[:12],
            ascii_text(model.card, 160),
        )
        for model in models_of(request.sources)
    ]
    made = phrases.made.format(
        ascii_text(node.name, 64), node.software_version, node.ae_title, _moment(request)
    )
    replaces = phrases.replaces.format(request.version) if request.predecessors else ""
    return [*lines, f"{made} {replaces}".strip()]


def _moment(request: ReportRequest) -> str:
    offset, form = request.node.timezone_offset, phrases_of(request).moment
    if not offset:
        return f"{request.made_utc.strftime(form)} UTC"
    sign = -1 if offset[0] == "-" else 1
    shift = sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
    return f"{(request.made_utc + shift).strftime(form)} {offset}"


def unreviewed(phrases: Phrases) -> str:
    """Return that no physician has seen the report, and what it is not for."""
    return f"{phrases.unreviewed} {phrases.disclaimer}."


def title(request: ReportRequest) -> str:
    """Return the title of the report as a document."""
    phrases = phrases_of(request)
    return f"{phrases.title} - {phrases.disclaimer}"


def report_lines(request: ReportRequest) -> list[tuple[str, str]]:
    """Return the report as (heading, sentence), in the order of reading."""
    sources, phrases = request.sources, phrases_of(request)
    lines = [("Impression", headline(sources, phrases))]
    lines += [("Finding", sentence) for sentence in hip_sentences(sources, phrases)]
    images = [image_sentence(s, n, phrases) for n, s in enumerate(sources, start=1)]
    plain = all(not s.notes and s.frame is None for s in sources)
    if len(sources) == 1 and sources[0].hips and plain:
        images = []
    lines += [("Image", sentence) for sentence in images]
    if request.other_patients:
        lines.append(("Image", phrases.other_patients(request.other_patients)))
    if said := scope(sources, phrases):
        lines.append(("Scope", said))
    lines += [("Origin", line) for line in provenance(request)]
    if link := feedback_link(request):
        lines.append(("Feedback", phrases.feedback.format(link)))
    lines.append(("Status", unreviewed(phrases)))
    return lines


def feedback_link(request: ReportRequest) -> str:
    """Return the address where a reader may say whether this report was right; "" if none."""
    uid = str(request.sources[0].dataset.get("StudyInstanceUID") or "")
    return f"{request.node.feedback_url}{uid}" if request.node.feedback_url else ""


def plain_text(request: ReportRequest, width: int = 96) -> str:
    """Return the report as plain text: the headline, then about ten lines, no name of a patient.

    Parameters
    ----------
    request
        What is reported.
    width
        Where lines are folded, in characters.
    """
    folded = [
        textwrap.fill(text, width, initial_indent="", subsequent_indent="    ")
        for _, text in report_lines(request)
    ]
    return "\n".join([folded[0], title(request), *folded[1:]]) + "\n"
