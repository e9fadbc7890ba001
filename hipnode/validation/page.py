"""The page: what was asked, what was said, how sure that is, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hipnode import DISCLAIMER
from hipnode.training.stats.estimates import Share
from hipnode.validation import charts
from hipnode.validation.figures import Curves, Part, Row
from hipnode.validation.gallery import Shown
from hipnode.validation.html import Content, Raw, joined, page, table, tag
from hipnode.validation.labels import Unused
from hipnode.validation.outcomes import Said
from hipnode.validation.report import Report
from hipnode.validation.sections import groups, percent, thresholds

_MOST_ROWS: Final = 200


def write(report: Report) -> str:
    """Return the whole page."""
    body = joined(
        [
            tag("p", f"{DISCLAIMER}. This page is no proof of anything.", class_="disclaimer"),
            tag("h1", "How good is it on these images?"),
            *_summary(report),
            *_what(report),
            *_rows_left_out(report),
            *(one for part in report.parts for one in _part(part)),
            *_curves(report),
            *groups(report),
            *thresholds(report),
            *_gallery(report),
            *_unused(report),
            *_how(report),
        ]
    )
    return page("hipnode: how good is it on these images?", body)


# --- at the top -------------------------------------------------------------------------------


def _summary(report: Report) -> Iterator[Content]:
    images = report.parts[0]
    broken, intact = images.broken, images.intact
    told = []
    if broken.total:
        found = broken.shares["suspected"]
        told.append(
            f"Of {broken.total} images with a fracture, {found.count} were suspected "
            f"({percent(found.estimate)}), {broken.counts[Said.LOOK]} more were for a person to "
            f"look at now, {broken.counts[Said.REFUSED]} were refused, "
            f"{broken.counts[Said.ELSEWHERE]} were called on the wrong side, and "
            f"{broken.counts[Said.NONE_SEEN]} were told that none was seen."
        )
    if intact.total:
        alarms = intact.shares["suspected"]
        told.append(
            f"Of {intact.total} without, {alarms.count} were false alarms "
            f"({percent(alarms.estimate)}; {intact.counts[Said.DEFINITE]} of them definite), "
            f"{intact.counts[Said.LOOK]} were for a person to look at now, and "
            f"{intact.counts[Said.REFUSED]} were refused."
        )
    yield tag("p", " ".join(told) or "No image could be judged.", class_="lead")
    if images.too_few:
        yield tag("p", images.too_few, " Curves are left out.", class_="warn")
    what = "It shows images of patients and names " if report.gallery else "It names "
    yield tag(
        "p",
        f"This page holds data of patients. {what}files, stations and numbers: keep it where "
        "the images are kept.",
        class_="private",
    )


def _what(report: Report) -> Iterator[Content]:
    facts = [
        ("made", f"{report.made} by hipnode {report.version}"),
        ("images from", report.source),
        ("labels from", report.labels),
        ("patients", report.patients),
        *(("read by", one) for one in report.models),
        ("intervals", report.intervals),
    ]
    yield tag("dl", *(joined([tag("dt", name), tag("dd", value)]) for name, value in facts))


def _rows_left_out(report: Report) -> Iterator[Content]:
    left = []
    if report.unused:
        left.append(f"{len(report.unused)} rows or images could not be used (listed at the end).")
    if report.unlabelled:
        left.append(f"{report.unlabelled} images of the folder have no label and were not read.")
    if left:
        yield tag("p", " ".join(left), class_="warn")


# --- tables -----------------------------------------------------------------------------------


def _part(part: Part) -> Iterator[Content]:
    yield tag("h2", part.name)
    if part.name == "Images":
        yield tag("p", *(_key(said) for said in Said), class_="legend")
    rows = []
    for name, row in (("fracture", part.broken), ("no fracture", part.intact)):
        rows.append([name, *(str(row.counts[said]) for said in Said), str(row.total)])
    yield table(["what is true", *(said.value for said in Said), "all"], rows, "counts")
    for row in (part.broken, part.intact):
        yield Raw(charts.stack(row))
    yield table(["", "of", "share", "95 % interval", ""], _shares(part))


def _key(said: Said) -> Raw:
    box = tag("span", class_="key", style=f"background:{charts.COLOURS[said]}")
    return joined([tag("span", box, said.value), Raw("&ensp;")])


def _shares(part: Part) -> Iterator[list[Content]]:
    asked = (
        ("found: suspected, at the right place", part.broken, "suspected"),
        ("found, or for a person to look at now", part.broken, "suspected or look now"),
        ("called definite", part.broken, "definite"),
        ("missed: told that none was seen", part.broken, "none seen"),
        ("fracture refused", part.broken, "refused"),
        ("false alarm: suspected without a fracture", part.intact, "suspected"),
        ("false alarm called definite", part.intact, "definite"),
        ("false alarm, or look now", part.intact, "suspected or look now"),
        ("intact refused", part.intact, "refused"),
    )
    for words, row, name in asked:
        if row.total:
            yield [words, *_cells(row.shares[name])]


def _cells(share: Share) -> list[Content]:
    estimate = share.estimate
    whisker = Raw(charts.whisker(estimate.low, estimate.value, estimate.high))
    return [
        f"{share.count} of {share.of}",
        f"{estimate.value:.3f}",
        f"{estimate.low:.3f} to {estimate.high:.3f}",
        whisker,
    ]


# --- curves -----------------------------------------------------------------------------------


def _curves(report: Report) -> Iterator[Content]:
    drawn = [(part.name.lower(), part.curves) for part in report.parts if part.curves]
    if not drawn:
        return
    yield tag("h2", "Over all thresholds")
    first = report.parts[0]
    marks = [
        charts.Mark(_of(first.intact, name), _of(first.broken, name), word)
        for name, word in (("suspected", "as set: suspected"), ("definite", "definite"))
    ]
    figures = [
        charts.roc([(name, c, marks if not i else ()) for i, (name, c) in enumerate(drawn)]),
        charts.precision_recall(drawn),
    ]
    figures += [charts.calibration(p.calibration) for p in _calibrated(report) if p.calibration]
    yield tag("div", *(Raw(figure) for figure in figures), class_="charts")
    yield table(
        ["", "area under the ROC curve", "average precision", "with a probability", "without"],
        [
            [
                name,
                f"{c.auc.value:.3f} ({c.auc.low:.3f} to {c.auc.high:.3f})",
                f"{c.average_precision:.3f}",
                "{} broken, {} intact".format(*c.scored),
                "{} broken, {} intact".format(*c.unscored),
            ]
            for name, c in drawn
        ],
    )
    yield from _words_on_curves(report, drawn)


def _of(row: Row, name: str) -> float:
    return row.counts[Said.DEFINITE] / row.total if name == "definite" else _share(row, name)


def _share(row: Row, name: str) -> float:
    return row.shares[name].count / row.total


def _calibrated(report: Report) -> list[Part]:
    """Return the part whose calibration is shown: hips, where they have labels of their own."""
    some = [part for part in report.parts if part.calibration]
    return [next((part for part in some if part.name == "Hips"), some[0])] if some else []


def _words_on_curves(report: Report, drawn: Sequence[tuple[str, Curves]]) -> Iterator[Content]:
    if any(sum(c.unscored) for _, c in drawn):
        yield tag(
            "p",
            "Curves are over what has a probability. What was refused has none, at any threshold, "
            "so that the points of the node as it is set (all images, refusals counted) may lie "
            "below its curve.",
        )
    for part in _calibrated(report):
        if part.calibration is not None:
            share = part.broken.total / max(1, part.broken.total + part.intact.total)
            yield tag(
                "p",
                f"Calibration of {part.calibration.count} {part.name.lower()}: expected error "
                f"{part.calibration.error:.3f}. {100 * share:.0f} % of them are broken here; where "
                "fractures are rarer, the same probability means less.",
            )


# --- pictures, and the end --------------------------------------------------------------------


def _gallery(report: Report) -> Iterator[Content]:
    shown = report.gallery
    if shown is None:
        return
    kinds = (
        (
            "Missed: none seen, wrong side, or refused",
            shown.misses,
            shown.more_misses,
            "No broken image was missed.",
        ),
        ("False alarms", shown.alarms, shown.more_alarms, "There were no false alarms."),
    )
    for title, some, more, none in kinds:
        yield tag("h2", title)
        if not some:
            yield tag("p", none)
        if more:
            yield tag("p", f"{more} more are in images.csv.", class_="warn")
        yield tag("div", *(_figure(one) for one in some), class_="gallery")
    if not shown.misses and not shown.alarms:
        return
    yield tag(
        "p",
        "Each image with its boxes (orange: suspected; yellow: look now; white: none seen; grey: "
        "refused), then with the network's map over the hips of which it spoke: bright is where "
        "it saw evidence.",
        class_="note",
    )


def _figure(shown: Shown) -> Raw:
    unit = shown.unit
    pictures = [Raw(f'<img alt="" src="{url}">') for url in shown.pictures]
    if not pictures:
        pictures = [tag("p", "The image cannot be shown: its file is gone or unreadable.")]
    lines = [Raw("<br>"), *_with_breaks(shown.lines)]
    head = tag("b", unit.name)
    about = _about(shown)
    return tag("figure", *pictures, tag("figcaption", head, f" {about}", *lines))


def _about(shown: Shown) -> str:
    case = shown.unit.case
    if case is None:
        return ""
    sides = [s.word for s, broken in case.label.sides.items() if broken]
    truth = f"fracture {' and '.join(sides)}".strip() if shown.unit.broken else "no fracture"
    age = f"{case.age_years:.0f} years" if case.age_years is not None else ""
    facts = [f"true: {truth}", case.label.kind, f"said: {shown.unit.said.value}", age]
    return ", ".join(fact for fact in (*facts, case.sex, case.station) if fact)


def _with_breaks(lines: Iterable[str]) -> Iterator[Content]:
    for number, line in enumerate(lines):
        if number:
            yield Raw("<br>")
        yield line


def _unused(report: Report) -> Iterator[Content]:
    if not report.unused:
        return
    yield tag("h2", "What could not be used")
    some: Sequence[Unused] = report.unused[:_MOST_ROWS]
    yield table(["where", "what", "why"], [[one.at, one.what, one.why] for one in some])
    if len(report.unused) > _MOST_ROWS:
        yield tag("p", f"{len(report.unused) - _MOST_ROWS} more are in results.json.")


def _how(report: Report) -> Iterator[Content]:
    yield tag("h2", "How this was counted")
    rules = [
        "Every image went through the worker's own chain, with the settings of this site: the "
        "gates, the search for hips, the check for metal, the networks, both hips judged together."
        if report.read_now
        else "Nothing was read again: this is what the node said when the images came.",
        (
            "Any fracture of the proximal femur counts, whatever its class. An image with a "
            "fracture is found if the broken hip is suspected (where the label tells the side)."
        ),
        (
            "An image counts as the first of these that is said of any of its hips: definite, "
            "doubtful, look now, refused, none seen. So one hip that was refused keeps an image "
            "from counting as none seen."
        ),
        "Refused images stay in every share: they are images that came, and got no answer.",
        (
            "A label that speaks of a whole study holds for each of its images, those on which the "
            "fracture does not show included."
        ),
        report.intervals + ".",
        (
            "Figures hold for images like these, and for these models and settings, and no others. "
            "Labels from reports miss what radiologists missed."
        ),
    ]
    yield tag("ul", *(tag("li", rule) for rule in rules))
    yield tag("p", DISCLAIMER + ".", class_="disclaimer")
