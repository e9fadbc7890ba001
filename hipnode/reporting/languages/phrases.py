"""What a language has to say: one field for each thing that a report may say, whole wherever
grammar could come in between.

How sure is one word out of three (likely, possible, none seen), the same in every language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hipnode.codes import Concept
from hipnode.domain import TASKS, Attention, Decision, Language, Side, Task, TaskWords


@dataclass(frozen=True, slots=True, eq=False)  # each is there once
class Phrases:
    """A language. Strings with ``{}`` are filled in, in the order of what they name.

    Attributes
    ----------
    hips, either_hip
        How one hip is called, by its side, and both together (None); one of two, not told apart.
    also, colon, then
        Between two hips; between a hip and what is said of it; between two things said of it.
    letters
        In the picture, by side.
    not_judged, not_assessed
        Before the reason; ``no_hip`` is the reason where no hip was found.
    images
        "(image 2)" or "(images 1, 3)" of numbers.
    left_out
        "1 of 2 images not assessed" of how many and of how many.
    other_patients
        The warning that the study holds images under so many other Patient IDs.
    flags
        The outcome of a study in one word or two, in the list of a PACS; see `Flag`.
    """

    language: Language
    concept: Concept
    title: str
    disclaimer: str
    when: Mapping[Attention, str]
    hips: Mapping[Side | None, str]
    either_hip: str
    letters: Mapping[Side, str]
    also: str
    colon: str
    then: str
    not_judged: str
    not_assessed: str
    no_hip: str
    look: str
    without_ai: str
    because: str  # "Only possible because: {}."
    neither: str  # neither confirmed nor excluded
    kind: str  # "Type: {}."
    nhfd: str  # "NHFD class: {}."
    nhfd_classes: Mapping[str, str]  # by `codes.NHFD`
    reasons: Mapping[str, str]  # by `codes.REASONS`
    caveats: Mapping[str, str]  # by `codes.CAVEATS`
    images: Callable[[str, int], str]
    left_out: Callable[[int, int], str]
    other_patients: Callable[[int], str]
    image: str  # "Image {}"
    place: Mapping[str, str]  # "series {}", "image {}" and "frame {}"
    failure: str  # "technical failure ({})"
    read: str
    note: str  # " Note: {}."
    scope: str
    scope_short: str
    scan_scope: str
    unknown_classes: str  # what a fracture model was never shown: "... {}."
    model: str  # name, version, digest, card
    made: str  # name, version, AE title, moment
    moment: str  # for strftime; the zone follows
    replaces: str
    feedback: str  # where a reader may say whether it was right
    unreviewed: str
    maps: str  # "map of {}, {}": noun, side
    legend: Mapping[Decision | None, str]
    drawn_by: Mapping[bool, str]  # with and without a map: maker, models
    no_model: str
    flags: Mapping[str, str]
    ai: str
    patient: tuple[str, str, str, str, str]  # of a page: patient, ID, born, study, accession

    @property
    def tasks(self) -> Mapping[Task, TaskWords]:
        """What is said of each question: of the table of tasks, this language's column."""
        return {task: row.words[self.language] for task, row in TASKS.items()}

    def hip(self, *sides: Side) -> str:
        """Return how one or several hips are called together."""
        if {Side.RIGHT, Side.LEFT} <= set(sides):
            rest = [s for s in sides if s not in (Side.RIGHT, Side.LEFT)]
            return self.also.join([self.hips[None], *(self.hips[s] for s in rest)])
        return self.also.join(self.hips[s] for s in sides)

    def class_words(self, label: str) -> str:
        """Return a model's class label in words: ``femoral_neck`` reads "femoral neck"."""
        known = (words.classes[label] for words in self.tasks.values() if label in words.classes)
        return next(known, label.replace("_", " ").strip())
