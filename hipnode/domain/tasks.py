"""The table of tasks: all that the node knows of each question that a model answers, in one row.

A new question is a row here with its words and codes: reading, reports and training look it up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hipnode import codes
from hipnode.codes import Concept
from hipnode.domain.work import Language


class Role(StrEnum):
    """What a model does in the chain of a reading."""

    GATE = "gate"  # is it an upright frontal pelvis?
    METAL = "metal"  # is there an implant in this hip?
    LOCALISER = "localiser"  # where are the hips?
    FRACTURE = "fracture"
    OSTEOPOROSIS = "osteoporosis"
    RISK = "risk"


class Task(StrEnum):
    """What a finding is about."""

    HIP_FRACTURE = "hip_fracture"
    OSTEOPOROSIS = "osteoporosis"
    FRACTURE_RISK = "fracture_risk"


class Decision(StrEnum):
    """What the operating points make of the probabilities."""

    PRESENT = "present"  # above the high-precision point: "definite"
    DOUBTFUL = "doubtful"  # between the two points: an expert should look
    EQUIVOCAL = "equivocal"  # in a band where calibration asks for further imaging
    ABSENT = "absent"  # below the high-recall point


PRESENT, DOUBTFUL, ABSENT = Decision.PRESENT, Decision.DOUBTFUL, Decision.ABSENT
EQUIVOCAL: Final = Decision.EQUIVOCAL
RAISED: Final = frozenset({PRESENT, DOUBTFUL, EQUIVOCAL})
"""What asks for a look."""


@dataclass(frozen=True, slots=True)
class TaskWords:
    """What is said of one question, in one language.

    Attributes
    ----------
    noun
        Of what a map is: "fracture".
    said
        The finding and how sure, by decision: "FRACTURE LIKELY".
    not_excluded
        What stands as large beside "none seen".
    advice
        What follows, by decision; whole sentences, or empty.
    classes
        The kinds of it, by a model's label; others are shown as they are.
    """

    noun: str
    said: Mapping[Decision, str]
    not_excluded: str
    advice: Mapping[Decision, str]
    classes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One question.

    Attributes
    ----------
    role
        Of the model that answers it; also the column of its labels in a manifest.
    name
        In a note of a reading.
    short, initials
        In a tracking identifier, and in a measurement's name and code: viewers show both.
    question
        What is answered with Present, Undetermined or Absent.
    present, doubtful, absent
        The finding that a decision is coded as; ``classes`` say it better where they know it.
    classes
        By the label of a model's class.
    is_graded
        Whether the classes are grades that exclude each other, and no kinds of the finding.
    needs_unbroken
        Whether a hip that may be broken does not tell it: then the other one is asked alone.
    of_scans
        Whether it is asked of a densitometer's scan, which shows one hip from edge to edge.
    ramp
        The colours of its map, from 0 to 1, as (red, green, blue).
    heat_at, heat_is
        Where its map should be hottest: the manifest's column, less the side (a line or a box), and
        how evaluation calls that.
    words
        By language.
    """

    role: Role
    name: str
    short: str
    initials: str
    question: Concept
    present: Concept
    doubtful: Concept
    absent: Concept
    classes: Mapping[str, Concept]
    ramp: tuple[tuple[int, int, int], ...]
    words: Mapping[Language, TaskWords]
    heat_at: str = ""
    heat_is: str = ""
    is_graded: bool = False
    needs_unbroken: bool = False
    of_scans: bool = False


_CIVIDIS: Final = (
    (0, 34, 78), (0, 46, 106), (26, 56, 111), (50, 67, 109), (67, 78, 108),
    (83, 90, 109), (97, 101, 111), (111, 112, 115), (125, 124, 120), (140, 136, 120),
    (155, 148, 118), (171, 160, 114), (188, 174, 108), (205, 187, 99), (222, 201, 88),
    (240, 216, 70), (254, 232, 56),
)  # fmt: skip


TASKS: Final[Mapping[Task, TaskRow]] = {
    Task.HIP_FRACTURE: TaskRow(
        role=Role.FRACTURE,
        name="Fracture",
        short="fracture",
        initials="FX",
        question=codes.HIP_FRACTURE,
        present=codes.HIP_FRACTURE,
        doubtful=codes.HIP_FRACTURE_DOUBTFUL,
        absent=codes.HIP_FRACTURE_ABSENT,
        classes={
            "intracapsular": codes.INTRACAPSULAR,
            "intracapsular_displaced": codes.INTRACAPSULAR,
            "intracapsular_undisplaced": codes.INTRACAPSULAR,
            "neck": codes.FEMORAL_NECK,
            "femoral_neck": codes.FEMORAL_NECK,
            "subcapital": codes.SUBCAPITAL,
            "midcervical": codes.MIDCERVICAL,
            "basicervical": codes.BASICERVICAL,
            "trochanteric": codes.TROCHANTERIC,
            "trochanteric_a1_a2": codes.TROCHANTERIC,
            "trochanteric_a3": codes.TROCHANTERIC,
            "extracapsular": codes.TROCHANTERIC,
            "intertrochanteric": codes.INTERTROCHANTERIC,
            "pertrochanteric": codes.PERTROCHANTERIC,
            "subtrochanteric": codes.SUBTROCHANTERIC,
        },
        ramp=_CIVIDIS,
        heat_at="fracture_line",
        heat_is="heat peaks at the fracture",
        words={
            "en": TaskWords(
                noun="fracture",
                said={
                    PRESENT: "FRACTURE LIKELY",
                    DOUBTFUL: "FRACTURE POSSIBLE",
                    EQUIVOCAL: "FRACTURE EQUIVOCAL",
                    ABSENT: "no fracture seen",
                },
                not_excluded="not excluded",
                advice={
                    PRESENT: "Expert review advised.",
                    DOUBTFUL: "Expert review advised.",
                    EQUIVOCAL: "Neither confirmed nor excluded: further imaging (CT, MRI) advised.",
                    ABSENT: "An occult fracture is not excluded.",
                },
                classes={
                    "intracapsular_displaced": "intracapsular, displaced",
                    "intracapsular_undisplaced": "intracapsular, undisplaced",
                    "trochanteric_a1_a2": "trochanteric, A1-A2",
                    "trochanteric_a3": "trochanteric, A3",
                },
            ),
            "de": TaskWords(
                noun="Fraktur",
                said={
                    PRESENT: "FRAKTUR WAHRSCHEINLICH",
                    DOUBTFUL: "FRAKTUR MÖGLICH",
                    EQUIVOCAL: "FRAKTUR UNKLAR",
                    ABSENT: "keine Fraktur erkannt",
                },
                not_excluded="nicht ausgeschlossen",
                advice={
                    PRESENT: "Fachärztliche Beurteilung empfohlen.",
                    DOUBTFUL: "Fachärztliche Beurteilung empfohlen.",
                    EQUIVOCAL: "Weder bestätigt noch ausgeschlossen: CT oder MRT empfohlen.",
                    ABSENT: "Eine okkulte Fraktur ist nicht ausgeschlossen.",
                },
                classes={
                    "intracapsular": "intrakapsulär",
                    "intracapsular_displaced": "intrakapsulär, disloziert",
                    "intracapsular_undisplaced": "intrakapsulär, nicht disloziert",
                    "extracapsular": "extrakapsulär",
                    "neck": "Schenkelhals",
                    "femoral_neck": "Schenkelhals",
                    "subcapital": "subkapital",
                    "midcervical": "transzervikal",
                    "basicervical": "basozervikal",
                    "trochanteric": "trochantär",
                    "trochanteric_a1_a2": "trochantär, A1-A2",
                    "trochanteric_a3": "trochantär, A3",
                    "intertrochanteric": "intertrochantär",
                    "pertrochanteric": "pertrochantär",
                    "subtrochanteric": "subtrochantär",
                },
            ),
            "fr": TaskWords(
                noun="fracture",
                said={
                    PRESENT: "FRACTURE PROBABLE",
                    DOUBTFUL: "FRACTURE POSSIBLE",
                    EQUIVOCAL: "FRACTURE INCERTAINE",
                    ABSENT: "pas de fracture vue",
                },
                not_excluded="non exclue",
                advice={
                    PRESENT: "Avis d'un expert conseillé.",
                    DOUBTFUL: "Avis d'un expert conseillé.",
                    EQUIVOCAL: "Ni confirmée ni exclue : scanner ou IRM conseillés.",
                    ABSENT: "Une fracture occulte n'est pas exclue.",
                },
                classes={
                    "intracapsular": "intracapsulaire",
                    "intracapsular_displaced": "intracapsulaire, déplacée",
                    "intracapsular_undisplaced": "intracapsulaire, non déplacée",
                    "extracapsular": "extracapsulaire",
                    "neck": "col fémoral",
                    "femoral_neck": "col fémoral",
                    "subcapital": "sous-capitale",
                    "midcervical": "transcervicale",
                    "basicervical": "basicervicale",
                    "trochanteric": "trochantérienne",
                    "trochanteric_a1_a2": "trochantérienne, A1-A2",
                    "trochanteric_a3": "trochantérienne, A3",
                    "intertrochanteric": "intertrochantérienne",
                    "pertrochanteric": "pertrochantérienne",
                    "subtrochanteric": "sous-trochantérienne",
                },
            ),
        },
    ),
    Task.OSTEOPOROSIS: TaskRow(
        role=Role.OSTEOPOROSIS,
        name="Osteoporosis",
        short="osteoporosis",
        initials="OP",
        question=codes.OSTEOPOROSIS,
        present=codes.OSTEOPOROSIS,
        doubtful=codes.OSTEOPOROSIS_DOUBTFUL,
        absent=codes.OSTEOPOROSIS_ABSENT,
        classes={"osteoporosis": codes.OSTEOPOROSIS, "osteopenia": codes.OSTEOPENIA},
        ramp=((44, 0, 62), (122, 24, 138), (206, 84, 206), (255, 176, 255)),
        heat_at="proximal_femur_box",
        heat_is="heat peaks on the proximal femur",
        needs_unbroken=True,
        words={
            "en": TaskWords(
                noun="low bone density",
                said={
                    PRESENT: "LOW BONE DENSITY LIKELY",
                    DOUBTFUL: "LOW BONE DENSITY POSSIBLE",
                    ABSENT: "no low bone density seen",
                },
                not_excluded="not excluded",
                advice={PRESENT: "Densitometry advised.", DOUBTFUL: "", ABSENT: ""},
            ),
            "de": TaskWords(
                noun="verminderte Knochendichte",
                said={
                    PRESENT: "VERMINDERTE KNOCHENDICHTE WAHRSCHEINLICH",
                    DOUBTFUL: "VERMINDERTE KNOCHENDICHTE MÖGLICH",
                    ABSENT: "keine verminderte Knochendichte erkannt",
                },
                not_excluded="nicht ausgeschlossen",
                advice={PRESENT: "Knochendichtemessung empfohlen.", DOUBTFUL: "", ABSENT: ""},
                classes={
                    "osteoporosis": "Osteoporose",
                    "osteopenia": "Osteopenie",
                },
            ),
            "fr": TaskWords(
                noun="densité osseuse basse",
                said={
                    PRESENT: "DENSITÉ OSSEUSE BASSE PROBABLE",
                    DOUBTFUL: "DENSITÉ OSSEUSE BASSE POSSIBLE",
                    ABSENT: "pas de densité osseuse basse vue",
                },
                not_excluded="non exclue",
                advice={PRESENT: "Ostéodensitométrie conseillée.", DOUBTFUL: "", ABSENT: ""},
                classes={
                    "osteoporosis": "ostéoporose",
                    "osteopenia": "ostéopénie",
                },
            ),
        },
    ),
    Task.FRACTURE_RISK: TaskRow(
        role=Role.RISK,
        name="Risk of fracture",
        short="high fracture risk",
        initials="RISK",
        question=codes.FRACTURE_RISK,
        present=codes.FRACTURE_RISK,
        doubtful=codes.FRACTURE_RISK_DOUBTFUL,
        absent=codes.FRACTURE_RISK_ABSENT,
        classes={},
        ramp=((0, 44, 46), (0, 104, 104), (30, 170, 160), (170, 240, 225)),
        is_graded=True,
        of_scans=True,
        words={
            "en": TaskWords(
                noun="high fracture risk",
                said={
                    PRESENT: "HIGH FRACTURE RISK LIKELY",
                    DOUBTFUL: "HIGH FRACTURE RISK POSSIBLE",
                    ABSENT: "no high fracture risk seen",
                },
                not_excluded="not excluded",
                advice={
                    PRESENT: "Clinical correlation advised.",
                    DOUBTFUL: "Clinical correlation advised.",
                    ABSENT: "",
                },
            ),
            "de": TaskWords(
                noun="hohes Frakturrisiko",
                said={
                    PRESENT: "HOHES FRAKTURRISIKO WAHRSCHEINLICH",
                    DOUBTFUL: "HOHES FRAKTURRISIKO MÖGLICH",
                    ABSENT: "kein hohes Frakturrisiko erkannt",
                },
                not_excluded="nicht ausgeschlossen",
                advice={
                    PRESENT: "Klinische Korrelation empfohlen.",
                    DOUBTFUL: "Klinische Korrelation empfohlen.",
                    ABSENT: "",
                },
            ),
            "fr": TaskWords(
                noun="risque de fracture élevé",
                said={
                    PRESENT: "RISQUE DE FRACTURE ÉLEVÉ PROBABLE",
                    DOUBTFUL: "RISQUE DE FRACTURE ÉLEVÉ POSSIBLE",
                    ABSENT: "pas de risque de fracture élevé vu",
                },
                not_excluded="non exclu",
                advice={
                    PRESENT: "Corrélation clinique conseillée.",
                    DOUBTFUL: "Corrélation clinique conseillée.",
                    ABSENT: "",
                },
            ),
        },
    ),
}
