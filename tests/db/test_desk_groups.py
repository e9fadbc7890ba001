"""*Quality* by group: right where the truth is known, and too few is said, not shown."""

from __future__ import annotations

import re
from html import unescape

import pytest

from hipnode.answers.shift import RECENT_DAYS
from hipnode.domain.people import Role
from hipnode.services import drifting
from tests.db.conftest import Bench
from tests.desk import Guest, judged

DASH = "\N{EN DASH}"


def rows(text: str, heading: str) -> dict[str, list[str]]:
    """Return the cells of the table under a heading, by group."""
    part = text.split(f"<h2>{heading}</h2>")[1].split("</table>", maxsplit=1)[0]
    found = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', part, re.DOTALL)
    return {
        unescape(name): [
            unescape(re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<td[^>]*>(.*?)</td>", cells, re.DOTALL)
        ]
        for name, cells in found
    }


def test_figures_by_group_where_the_truth_is_known(bench: Bench) -> None:
    for n in range(12):
        judged(bench, f"a{n}", 0.97, "present" if n else "absent", station="DX1")
        judged(bench, f"b{n}", 0.04, "absent", station="DX1", sex="M", age=55)
    for n in range(3):
        judged(bench, f"c{n}", 0.97, "absent", station="<b>ER</b>", age=90)
    scientist = Guest(bench.store, bench.settings, Role.SCIENTIST)
    text = scientist.get("/quality").text
    assert "<b>ER</b>" not in text
    right = rows(text, "Was it right, by group?")
    assert set(right) == {"all hips", "DX1", "<b>ER</b>", "F", "M", "50-64", "65-79", "≥ 80",
                          "hip-fracture-densenet 1.0.0"}  # fmt: skip
    of, known, sensitivity, specificity, ppv, npv = right["DX1"]
    assert (of, known) == ("station", "24")
    assert sensitivity == f"100.0 % (71.5{DASH}100.0; 11/11)"
    assert ppv == f"91.7 % (61.5{DASH}99.8; 11/12)"
    assert specificity.endswith("; 12/13)")
    assert npv.endswith("; 12/12)")
    assert right["<b>ER</b>"] == ["station", "3", DASH, "too few (3)", "too few (3)", DASH]
    relied = rows(text, "Can P(fracture) be relied on?")
    assert relied["DX1"][1] == f"0.04: 0.0 % (0.0{DASH}26.5; 0/12)"
    assert relied["DX1"][5] == f"0.97: 91.7 % (61.5{DASH}99.8; 11/12)"
    assert relied["<b>ER</b>"][1:] == [DASH] * 4 + ["too few (3)"]
    assert relied["all hips"][5].startswith("≠ 0.97: 73.3 % (44.9")
    scientist.http.cookies.set("hipnode-language", "de")
    german = scientist.get("/quality").text
    assert rows(german, "Stimmte es, nach Gruppen?")["<b>ER</b>"][3] == "zu wenige (3)"


def test_small_groups_make_no_figure_of_what_was_said_either(bench: Bench) -> None:
    for n in range(6):
        judged(bench, f"a{n}", 0.97, "present", station="DX1" if n else "ER")
    text = Guest(bench.store, bench.settings, Role.SCIENTIST).get("/quality").text
    said = rows(text, f"By station, sex, age and model: the newest {RECENT_DAYS} days")
    assert said["ER"][1:] == ["too few (2)", "too few (2)"]
    assert said["DX1"][1].startswith("50.0 %")


def test_what_nobody_could_tell_is_left_out(bench: Bench) -> None:
    judged(bench, "a", 0.97, "", station="DX1")
    judged(bench, "b", 0.97, "present", station="DX1")
    hips, more = drifting.known(bench.store, bench.clock.now.replace(year=2020))
    assert [(hip.p, hip.is_broken) for hip in hips] == [(0.97, True)]
    assert not more


def test_the_newest_are_taken_and_that_there_were_more_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        judged(bench, f"a{n}", 0.97, "present", station=f"S{n}")
    monkeypatch.setattr(drifting, "KNOWN", 3)
    hips, more = drifting.known(bench.store, bench.clock.now.replace(year=2020))
    assert [hip.header.station_name for hip in hips if hip.header] == ["S1", "S2", "S3"]
    assert more
