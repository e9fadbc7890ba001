"""English."""

from __future__ import annotations

from typing import Final

from hipnode import DISCLAIMER, codes
from hipnode.domain import Attention, Decision, Side
from hipnode.reporting.languages.phrases import Phrases

PRESENT, DOUBTFUL, ABSENT = Decision.PRESENT, Decision.DOUBTFUL, Decision.ABSENT


def _images(numbers: str, count: int) -> str:
    return f"(image{'s' if count > 1 else ''} {numbers})"


def _left_out(count: int, of: int) -> str:
    return f"{count} of {of} images not assessed"


def _other_patients(count: int) -> str:
    ids = "another Patient ID" if count == 1 else f"{count} other Patient IDs"
    return (
        f"CHECK THE IDENTITY: this study holds images under {ids}. They are reported apart, each "
        "image under the ID that it came with."
    )


ENGLISH: Final = Phrases(
    language="en",
    concept=codes.ENGLISH,
    title="AI reading of hip radiographs",
    disclaimer=DISCLAIMER,
    when={
        Attention.NOW: "LOOK NOW",
        Attention.SOON: "Look soon",
        Attention.ROUTINE: "Look in the usual order",
    },
    hips={
        Side.RIGHT: "RIGHT hip",
        Side.LEFT: "LEFT hip",
        Side.UNKNOWN: "Hip, SIDE NOT KNOWN",
        None: "RIGHT and LEFT hip",
    },
    either_hip="RIGHT or LEFT hip, not told apart",
    letters={Side.RIGHT: "R", Side.LEFT: "L", Side.UNKNOWN: "?"},
    also=" and ",
    colon=": ",
    then="; ",
    not_judged="NOT JUDGED",
    not_assessed="NOT ASSESSED",
    no_hip="no hip was found there",
    look="A person should look now.",
    without_ai="Read it without the AI",
    because="Only possible, because {}.",
    neither="Neither confirmed nor excluded.",
    kind="Type: {}.",
    nhfd="NHFD class: {}.",
    nhfd_classes={name: concept.meaning for name, concept in codes.NHFD.items()},
    reasons={name: concept.meaning for name, concept in codes.REASONS.items()},
    caveats={name: concept.meaning for name, concept in codes.CAVEATS.items()},
    images=_images,
    left_out=_left_out,
    other_patients=_other_patients,
    image="Image {}",
    place={"series": "series {}", "image": "image {}", "frame": "frame {}"},
    failure="technical failure ({})",
    read="read",
    note="Note: {}.",
    scope=(
        "Only the proximal femur was assessed. Not assessed: pelvic ring, acetabulum, femoral "
        "shaft, spine, soft tissue. Fractures that a radiograph does not show are not found."
    ),
    scope_short="Proximal femur only.",
    scan_scope=(
        "A densitometer's scan of one hip was sorted by fracture risk. No fracture was looked for, "
        "and no bone density was measured."
    ),
    unknown_classes="The model was never shown a fracture of this kind: {}.",
    model="Model {} {} ({}). {}",
    made="Made by {} {} ({}) on {}.",
    moment="%Y-%m-%d %H:%M",
    replaces="Version {}: replaces the report sent before.",
    feedback="Right or wrong? Say so: {}",
    unreviewed="Not reviewed by a physician.",
    maps="map of {}, {}",
    legend={PRESENT: "likely", DOUBTFUL: "possible", ABSENT: "none seen", None: "not assessed"},
    drawn_by={
        True: "AI heat map by {}. Model: {}.",
        False: "AI result by {}. Model: {}.",
    },
    no_model="none spoke",
    flags={
        "positive": "POSITIVE",
        "look_now": "LOOK NOW",
        "doubt": "DOUBT",
        "failed": "FAILED",
        "not_assessed": "NOT ASSESSED",
        "none_seen": "NONE SEEN",
    },
    ai="AI",
    patient=("Patient", "ID", "Born", "Study", "Accession"),
)
