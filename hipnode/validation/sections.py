"""Two parts of the page: groups of images, and thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from hipnode.training.stats.estimates import Estimate
from hipnode.validation import charts
from hipnode.validation.figures import Group, Row
from hipnode.validation.html import Content, Raw, table, tag
from hipnode.validation.outcomes import Said
from hipnode.validation.report import Report
from hipnode.validation.thresholds import Choice, Proposal

_FEW_IN_GROUP: Final = 5


def percent(estimate: Estimate) -> str:
    """Return a share in words."""
    if np.isnan(estimate.value):
        return "no figure"
    low, high = (round(100 * v) for v in (estimate.low, estimate.high))
    return f"{100 * estimate.value:.0f} %, 95 % interval {low} to {high}"


def groups(report: Report) -> Iterator[Content]:
    """Yield tables by station, age, sex, view and fracture, and the reasons for refusals."""
    if not report.groups and not report.reasons:
        return
    yield tag("h2", "Where it is better, and where worse")
    head = ["", "broken", "found (95 % interval)", "", "look now", "refused", "none seen"]
    head += ["intact", "false alarms (95 % interval)", "", "refused"]
    for name, some in report.groups.items():
        yield tag("h3", name)
        yield table(head, [_group(group) for group in some], "groups")
    if report.groups:
        yield tag(
            "p",
            f"In brackets: groups with fewer than {_FEW_IN_GROUP} images of that truth, which "
            "show nothing yet.",
            class_="note",
        )
    if report.reasons:
        yield tag("h3", "Why images were refused, or are for a person to look at")
        rows = [[f"{said}: {why}", str(b), str(i)] for said, why, b, i in report.reasons]
        yield table(["", "with a fracture", "without"], rows)


def _group(group: Group) -> list[Content]:
    broken, intact = group.broken, group.intact
    counts = [str(broken.counts[said]) for said in (Said.LOOK, Said.REFUSED, Said.NONE_SEEN)]
    return [
        group.name,
        str(broken.total),
        *_in_group(broken),
        *(counts if broken.total else ["", "", ""]),
        str(intact.total),
        *_in_group(intact),
        str(intact.counts[Said.REFUSED]) if intact.total else "",
    ]


def _in_group(row: Row) -> list[Content]:
    if not row.total:
        return ["", ""]
    share, estimate = row.shares["suspected"], row.shares["suspected"].estimate
    figure = f"{share.count} ({estimate.low:.2f} to {estimate.high:.2f})"
    if row.total < _FEW_IN_GROUP:
        return [f"[{share.count}]", ""]
    return [figure, Raw(charts.whisker(estimate.low, estimate.value, estimate.high))]


# --- thresholds -------------------------------------------------------------------------------


def thresholds(report: Report) -> Iterator[Content]:
    """Yield what each rate of false alarms costs, and the proposal; or why there is none."""
    yield tag("h2", "Thresholds for the rate of false alarms that you can live with")
    if report.proposal is None:
        yield tag("p", f"None is proposed. {report.no_proposal}", class_="warn")
        return
    rows = [_choice(f"at most {_rate(choice)} of the intact", choice) for choice in report.choices]
    if report.as_set is not None:
        rows.append(_choice("as set now", report.as_set))
    head = ["false alarms", "doubtful_from", "false alarms, seen", "found", "95 % interval", ""]
    yield table(head, rows)
    yield from _proposal(report.proposal)
    if report.applied:
        yield tag("p", report.applied)


def _rate(choice: Choice) -> str:
    return f"{100 * choice.rate:g} %"


def _choice(name: str, choice: Choice) -> list[Content]:
    found = choice.sensitivity.estimate
    alarms = choice.false_alarms
    return [
        name,
        f"{choice.threshold:.4f}",
        f"{alarms.count} of {alarms.of} ({alarms.estimate.low:.2f} to {alarms.estimate.high:.2f})",
        f"{choice.sensitivity.count} of {choice.sensitivity.of}",
        f"{found.low:.3f} to {found.high:.3f}",
        Raw(charts.whisker(found.low, found.value, found.high)),
    ]


def _proposal(proposal: Proposal) -> Iterator[Content]:
    doubtful, definite = proposal.doubtful, proposal.definite
    yield tag("h3", "Proposed")
    yield tag(
        "p",
        tag("b", f"doubtful_from = {doubtful.threshold:g}, present_from = {definite.threshold:g}"),
        f", so that at most {_rate(doubtful)} of intact images are suspected and "
        f"{_rate(definite)} called definite.",
    )
    yield tag(
        "p",
        "These figures are of the images that the thresholds were chosen on, and so better than "
        "what is to come. Chosen on nine tenths of the patients and tried on the last, in turn: "
        f"{proposal.held_out_alarms.count} of {proposal.held_out_alarms.of} false alarms "
        f"({percent(proposal.held_out_alarms.estimate)}), "
        f"{proposal.held_out_sensitivity.count} of {proposal.held_out_sensitivity.of} found "
        f"({percent(proposal.held_out_sensitivity.estimate)}).",
    )
    yield tag(
        "p",
        "A hip that is unusual, cut off or perhaps operated on is doubtful at most, and one whose "
        "probability falls below the threshold is then for a person to look at. Of images of other "
        "views that were refused whole, nothing is known below the present threshold.",
        class_="note",
    )
