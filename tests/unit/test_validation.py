"""How labels are read, how each image counts, which thresholds follow: values in and out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hipnode.domain import AbstentionReason, Caveat, Decision, HipReading, Reading, Side
from hipnode.errors import ManifestInvalid
from hipnode.training.stats import estimates as est
from hipnode.validation import figures, page, thresholds
from hipnode.validation.cases import Case, Gathered
from hipnode.validation.labels import Label, Words, of_folders, read_labels
from hipnode.validation.outcomes import Counted, Said, Scores, Unit, count
from hipnode.validation.report import Report, to_csv, to_json
from tests.factory import LEFT_BOX, hip, reading

R, L = Side.RIGHT, Side.LEFT
BROKEN_RIGHT = {R: True, L: False}


# --- labels -----------------------------------------------------------------------------------


def _labels(tmp_path: Path, text: str | bytes) -> tuple[list[Label], list[tuple[str, str]]]:
    file = tmp_path / "labels.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    labels, unused = read_labels(file, Words())
    return labels, [(one.at, one.why) for one in unused]


def test_labels_by_image_by_side_and_by_rows_of_a_side(tmp_path: Path) -> None:
    labels, unused = _labels(
        tmp_path,
        "accession;label;side;right_label;left_label\n"
        "A1;yes;;;\nA2;No fracture;;;\nA3;;;Subtrochanteric;0\nA4;1;R;;\nA4;0;left;;\n",
    )
    assert unused == []
    assert [(x.value, x.broken, dict(x.sides), x.kind) for x in labels] == [
        ("A1", True, {}, ""),
        ("A2", False, {}, ""),
        ("A3", True, BROKEN_RIGHT, "Subtrochanteric"),
        ("A4", True, BROKEN_RIGHT, ""),
    ]


def test_each_row_that_cannot_be_used_is_named_with_its_line_and_the_reason(
    tmp_path: Path,
) -> None:
    labels, unused = _labels(
        tmp_path,
        "file,label,side\na.dcm,maybe,\n,1,\nb.dcm,,\nc.dcm,1,\nd.dcm,1,up\nc.dcm,0,\n\ne.dcm,0,\n",
    )
    assert [x.value for x in labels] == ["e.dcm"]
    assert unused == [
        ("line 2", "'maybe' is neither a fracture nor none"),
        ("line 3", "none of file, sop_instance_uid, accession_number is filled in"),
        ("line 4", "there is no label"),
        ("line 6", "the side 'up' is neither R nor L"),
        ("line 5", "line 5, line 7 contradict each other"),
        ("line 7", "line 5, line 7 contradict each other"),
    ]


def test_a_spreadsheets_encoding_and_a_sites_own_words(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes("File\tLabel\ngrün.dcm\tFraktur\nx.dcm\to. B.\n".encode("cp1252"))
    labels, unused = read_labels(file, Words.with_more(["fraktur"], ["o. b."]))
    assert unused == []
    assert [(x.value, x.broken) for x in labels] == [("grün.dcm", True), ("x.dcm", False)]


def test_a_site_says_right_and_left_in_its_own_language(tmp_path: Path) -> None:
    """A first letter tells nothing: *lato destro* is the right side."""
    said = "droite dx Destra derecho RE. rechts Rt gauche sx sinistra izquierda li. links L".split()
    odd = ["lato destro", "lado derecho", "labā", "R+L", "RL", "both", "?"]
    rows = [f"{index},1,{side}" for index, side in enumerate([*said, *odd])]
    labels, unused = _labels(tmp_path, "file,label,side\n" + "\n".join(rows))
    assert [dict(one.sides) for one in labels] == [{R: True}] * 7 + [{L: True}] * 7
    assert [why for _, why in unused] == [f"the side {one!r} is neither R nor L" for one in odd]


def test_a_row_with_more_cells_than_the_header_is_named_and_the_others_are_taken(
    tmp_path: Path,
) -> None:
    labels, unused = _labels(tmp_path, "file,label,age,\na,1,70,5,\nb,1,70,x\nc,0,70,\n")
    assert [one.value for one in labels] == ["c"]
    assert unused == [(f"line {n}", "it has more cells than the header") for n in (2, 3)]


@pytest.mark.parametrize(
    "text",
    ["name,label\nx,1\n", "file,truth\nx,1\n", "", "file,label,label\nx,1,0\n",
     "accession,accession_number,label\n1,2,0\n", 'file,label\nx,"1\ny,0\n'],
)  # fmt: skip
def test_a_file_that_names_no_images_or_labels_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ManifestInvalid):
        _labels(tmp_path, text)


def test_two_folders(tmp_path: Path) -> None:
    for name in ("broken/a.dcm", "intact/b.dcm", "intact/deeper/c.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    labels = of_folders(tmp_path / "broken", tmp_path / "intact")
    assert [(Path(x.value).name, x.broken) for x in labels] == [
        ("a.dcm", True),
        ("b.dcm", False),
        ("c.dcm", False),
    ]


@pytest.mark.parametrize(("broken", "intact"), [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "c")])
def test_a_folder_cannot_be_broken_and_intact(tmp_path: Path, broken: str, intact: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").symlink_to(tmp_path / "a")
    with pytest.raises(ManifestInvalid, match="the same images"):
        of_folders(tmp_path / broken, tmp_path / intact)


def test_a_word_cannot_mean_a_fracture_and_none() -> None:
    with pytest.raises(ManifestInvalid, match=r"'o\.b\.' cannot mean"):
        Words.with_more(["O.B."], ["o.b."])


# --- how an image counts ----------------------------------------------------------------------

LOOK = HipReading(
    hip(R, None).roi, abstention=reading(AbstentionReason.OUT_OF_DISTRIBUTION).abstention
)
CLEAR, SURE, MAYBE, METAL = hip(R, 0.01), hip(R, 0.95), hip(R, 0.5), hip(R, None)


def at_left(one: HipReading) -> HipReading:
    return replace(one, roi=replace(one.roi, side=L, box=LEFT_BOX))


@pytest.mark.parametrize(
    ("right", "left", "sides", "said"),
    [
        (SURE, CLEAR, BROKEN_RIGHT, Said.DEFINITE),
        (MAYBE, CLEAR, BROKEN_RIGHT, Said.DOUBTFUL),
        (MAYBE, SURE, BROKEN_RIGHT, Said.DOUBTFUL),  # what is said of the broken one
        (CLEAR, SURE, BROKEN_RIGHT, Said.ELSEWHERE),
        (METAL, MAYBE, BROKEN_RIGHT, Said.ELSEWHERE),
        (LOOK, SURE, BROKEN_RIGHT, Said.LOOK),  # the report opens with the one not judged
        (METAL, CLEAR, BROKEN_RIGHT, Said.REFUSED),
        (CLEAR, METAL, BROKEN_RIGHT, Said.NONE_SEEN),
        (CLEAR, CLEAR, BROKEN_RIGHT, Said.NONE_SEEN),
        (CLEAR, SURE, {}, Said.DEFINITE),  # nobody says which side is broken
        (CLEAR, METAL, {}, Said.REFUSED),  # the broken one may be the one refused
        (CLEAR, LOOK, {}, Said.LOOK),
    ],
)
def test_how_a_broken_image_counts(
    right: HipReading, left: HipReading, sides: dict[Side, bool], said: Said
) -> None:
    label = Label("line 2", "file", "x", True, sides)
    counted = count(Gathered((Case("x", label, reading([right, at_left(left)])),), ()))
    assert [unit.said for unit in counted.images] == [said]
    assert len(counted.hips) == len(sides)


@pytest.mark.parametrize(
    ("hips", "missing", "said"),
    [
        ([CLEAR, at_left(CLEAR)], None, Said.NONE_SEEN),
        ([CLEAR, at_left(SURE)], None, Said.DEFINITE),
        ([CLEAR, at_left(METAL)], None, Said.REFUSED),
        ([LOOK, at_left(METAL)], None, Said.LOOK),
        ([CLEAR], L, Said.LOOK),  # no hip was found on that side of a pelvis
        (AbstentionReason.NOT_FRONTAL, None, Said.REFUSED),
        (AbstentionReason.UNREADABLE, None, Said.REFUSED),
        (AbstentionReason.HIP_NOT_FOUND, None, Said.LOOK),
    ],
)
def test_how_an_intact_image_counts(
    hips: list[HipReading] | AbstentionReason, missing: Side | None, said: Said
) -> None:
    made = reading(hips, missing=missing)
    label = Label("line 2", "file", "x", False, {R: False, L: False})
    (unit,) = count(Gathered((Case("x", label, made),), ())).images
    assert unit.said is said


def test_an_image_that_was_given_up_counts_as_refused_with_the_reason() -> None:
    label = Label("line 2", "file", "x", True)
    counted = count(Gathered((Case("x", label, None, failure="the decoder died"),), ()))
    (unit,) = counted.images
    assert (unit.said, unit.why) == (Said.REFUSED, "given up: the decoder died")


def test_a_study_counts_as_found_if_one_of_its_images_shows_it() -> None:
    label = Label("line 2", "accession_number", "A", True)
    first = Case("1", label, reading(AbstentionReason.NOT_FRONTAL), study="s", patient="p")
    second = Case("2", label, reading([SURE]), study="s", patient="p")
    alone = Case("3", replace(label, broken=False), reading([CLEAR]), study="t", patient="q")
    counted = count(Gathered((first, second, alone), ()))
    assert [unit.said for unit in counted.images] == [Said.REFUSED, Said.DEFINITE, Said.NONE_SEEN]
    assert [(unit.broken, unit.said) for unit in counted.studies] == [
        (True, Said.DEFINITE),
        (False, Said.NONE_SEEN),
    ]


def test_where_the_figures_do_not_tell_the_sides_both_are_suspected_at_the_same_threshold() -> None:
    """The node names both as "one of them" from P(either) on, which is above that of each."""
    pair = [
        hip(R, 0.30, p_alone=0.4, decision=Decision.DOUBTFUL),
        hip(L, 0.28, p_alone=0.38, decision=Decision.DOUBTFUL),
    ]
    pair = [replace(one, caveats=(Caveat.EITHER_HIP,)) for one in pair]
    label = Label("line 2", "file", "x", True, BROKEN_RIGHT)
    (unit,) = count(Gathered((Case("x", label, reading(pair)),), ())).images
    assert unit.scores.suspected == pytest.approx(
        1 - 1 / (1 + 2 / 3 + 38 / 62 + 0.01 * 0.4086), abs=1e-3
    )
    assert unit.scores.definite is None


# --- shares and thresholds --------------------------------------------------------------------


def test_images_of_one_patient_widen_the_interval() -> None:
    hits = [index % 5 == 0 for index in range(60)]
    alone = est.share(hits, [str(index) for index in range(60)])
    grouped = est.share(
        [hit for hit in hits for _ in range(4)], [str(i) for i in range(60) for _ in range(4)]
    )
    assert not alone.by_patient
    assert grouped.by_patient
    assert grouped.estimate.value == alone.estimate.value
    width = alone.estimate.high - alone.estimate.low
    assert grouped.estimate.high - grouped.estimate.low == pytest.approx(width, rel=0.2)


def test_none_of_many_images_of_few_patients_proves_little() -> None:
    share = est.share([False] * 40, [str(index % 4) for index in range(40)])
    assert share.estimate == est.proportion(0, 4, "wilson")


def units(broken: list[float | None], intact: list[float | None]) -> list[Unit]:
    return [
        Unit(f"{truth}{index}", truth, Said.REFUSED, Scores(p, p, p), f"{truth}{index}")
        for truth, some in ((True, broken), (False, intact))
        for index, p in enumerate(some)
    ]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rate", [0.0, 0.02, 0.1, 0.3])
def test_the_threshold_is_the_lowest_that_keeps_the_rate(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    drawn = [None if p < 0.05 else float(round(p, 2)) for p in rng.beta(1, 4, 80)]
    some = units([float(p) for p in rng.beta(4, 2, 30)], drawn)
    found = thresholds.threshold_for(some, rate)
    alarms = sum(p is not None and p >= found for p in drawn)
    assert alarms <= rate * len(drawn)
    highest = max((p for p in drawn if p is not None and p < found), default=None)
    if highest is not None and found > 0.01:  # one image more, and it would be too many
        assert sum(p is not None and p >= highest for p in drawn) > rate * len(drawn)


def test_refused_images_count_among_the_intact_ones() -> None:
    found = thresholds.threshold_for(units([0.9], [0.8, 0.2] + [None] * 18), 0.05)
    assert 0.2 < found < 0.8
    assert thresholds.at(units([0.9], [0.8, 0.2] + [None] * 18), 0.05, found).false_alarms.of == 20


def test_what_is_held_out_is_judged_by_the_others() -> None:
    """One patient has all high scores: chosen with it, the threshold spares it; held out, not."""
    some = units([0.6] * 20, [0.1] * 38)
    some += [Unit(f"x{i}", False, Said.DOUBTFUL, Scores(0.9, 0.9, 0.9), "one") for i in range(2)]
    made = thresholds.propose(some, 0.02, 0.0)
    assert made.doubtful.false_alarms.count == 0
    assert made.held_out_alarms.count == 2
    assert made.definite.threshold >= made.doubtful.threshold


@pytest.mark.parametrize(
    ("broken", "intact", "says"),
    [(9, 50, "only 9 with a fracture"), (50, 3, "only 3 without"), (20, 15, "20 are needed")],
)
def test_too_few_is_said_aloud(broken: int, intact: int, says: str) -> None:
    some = units([0.9] * broken, [0.1] * intact)
    assert says in thresholds.cannot_choose(some, (0.05,))
    part = figures.part("Images", some)
    assert (part.curves is None) == (min(broken, intact) < thresholds.FEW)


def test_the_curve_goes_through_what_is_known() -> None:
    made = figures.curves(units([0.9, 0.8, 0.3, None], [0.5, 0.1, 0.1]))
    assert made is not None
    assert made.auc.value == pytest.approx(8 / 9)
    assert made.unscored == (1, 0)
    assert list(made.true) == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert list(made.false) == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 1])
    assert made.average_precision == pytest.approx((1 + 1 + 3 / 4) / 3)


# --- the page ---------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script><img src=http://x.example/y.png>.dcm"


def report_of(counted: Counted) -> Report:
    named = (("Images", counted.images), ("Hips", counted.hips))
    return Report(
        "2026-11-28", "0", EVIL, EVIL, "1", (EVIL,), "intervals", True,
        tuple(figures.part(name, some) for name, some in named),
        figures.groups(counted.images), figures.reasons(counted.images),
        no_proposal="There are too few.", unused=counted.unused, images=counted.images,
    )  # fmt: skip


def test_text_of_files_and_labels_does_nothing_on_the_page() -> None:
    label = Label(EVIL, "file", EVIL, True, BROKEN_RIGHT, {}, EVIL)
    made: Reading = reading([CLEAR, at_left(CLEAR)])
    case = Case(EVIL, label, made, station=EVIL, view=EVIL, sex="<", patient=EVIL)
    written = page.write(report_of(count(Gathered((case,), ()))))
    assert "<script" not in written
    assert "<img" not in written
    assert "&lt;script&gt;" in written
    assert "nan" not in written.lower()
    assert written.count("NOT FOR CLINICAL USE") >= 2
    assert "too few for a figure" in written


def test_without_any_image_there_is_a_page_that_says_so() -> None:
    written = page.write(report_of(count(Gathered((), ()))))
    assert "No image could be judged." in written


def test_the_table_of_images_and_the_figures_for_programs() -> None:
    label = Label("line 7", "file", "x", True)
    counted = count(Gathered((Case("x", label, reading([SURE])),), ()))
    assert to_csv(counted.images).splitlines()[1] == 'x,1,"fracture, definite",,0.95,0.95,line 7'
    assert '"fracture, definite": 1' in to_json(report_of(counted))
