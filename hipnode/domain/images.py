"""What was received, and what it shows: headers, stored instances, pixels and places in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Side(StrEnum):
    """The patient's side, as DICOM writes it (PS3.3 C.7.3.1, Laterality)."""

    RIGHT = "R"
    LEFT = "L"
    UNKNOWN = "?"  # of a single hip: nothing tells whose side it is

    @property
    def word(self) -> str:
        """``RIGHT`` or ``LEFT``: a bare letter is misread too easily."""
        return "SIDE UNKNOWN" if self is Side.UNKNOWN else self.name

    @property
    def opposite(self) -> Side:
        """The other side; of an unknown one, unknown."""
        return {Side.RIGHT: Side.LEFT, Side.LEFT: Side.RIGHT}.get(self, Side.UNKNOWN)

    @staticmethod
    def meant_by(text: str) -> Side | None:
        """Return the side that somebody wrote, if it is one of the words known for one."""
        word = text.strip().removesuffix(".").casefold()
        return next((side for side, words in _WORDS.items() if word in words), None)


_WORDS: Final = {
    Side.RIGHT: frozenset(
        "r rt right re rechts rechte rechter rechtes droit droite dx destra destro derecha derecho "
        "direita direito dexter dextra höger højre høyre oikea prawa prawy".split()
    ),
    Side.LEFT: frozenset(
        "l lt left li links linke linker linkes gauche sx sinistra sinistro izquierda izquierdo "
        "esquerda esquerdo sinister vänster venstre vasen lewa lewy".split()
    ),
    Side.UNKNOWN: frozenset({Side.UNKNOWN.value}),
}
"""Whole words: a first letter says nothing (Italian: *lato destro* is the right)."""


@dataclass(frozen=True, slots=True)
class Header:
    """The facts of an image's header that rules, gates and the audit log need.

    Strings are as decoded from the data set, stripped; ``""`` where absent. Nothing here is pixels.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    modality: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    accession_number: str = ""
    study_description: str = ""
    series_description: str = ""
    station_name: str = ""
    institution: str = ""
    manufacturer: str = ""
    body_part: str = ""
    view_position: str = ""
    view_words: tuple[str, ...] = ()  # the meanings of its coded view and of that code's modifiers
    laterality: str = ""
    patient_orientation: tuple[str, ...] = ()
    patient_sex: str = ""
    age_years: float | None = None
    size_m: float | None = None
    weight_kg: float | None = None
    presentation_intent: str = ""
    image_type: tuple[str, ...] = ()
    device_serial: str = ""
    device_uid: str = ""
    study_date: str = ""  # ISO 8601; the acquisition's where that is all there is
    notes: tuple[str, ...] = ()  # what could not be carried unchanged, by keyword; never a value

    def facts(self, calling_ae: str) -> dict[str, str]:
        """Return what the settings' rules can match on."""
        return {
            "calling_ae": calling_ae,
            "station_name": self.station_name,
            "institution": self.institution,
            "modality": self.modality,
            "body_part": self.body_part,
            "study_description": self.study_description,
            "series_description": self.series_description,
            "sop_class_uid": self.sop_class_uid,
            "presentation_intent": self.presentation_intent,
        }


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a rejection note (IHE IOCM) takes back, and its title's Code Value."""

    code: str
    images: tuple[tuple[str, str], ...]  # Study Instance UID, SOP Instance UID


@dataclass(frozen=True, slots=True)
class Instance:
    """A stored SOP Instance. It exists only once its file and row are on disk and fsynced."""

    id: int
    header: Header
    calling_ae: str
    path: str  # relative to the store's root
    digest: str  # of the file: BLAKE3 as hexadecimal digits
    received_utc: datetime


@dataclass(frozen=True, slots=True)
class Radiograph:
    """A decoded image: MONOCHROME1, Modality LUT and VOI are resolved here and nowhere else.

    ``pixels`` is (rows, columns) float32 in [0, 1], bright bone. ``spacing_mm`` is (row, column)
    in the patient's plane where known, else at the detector, else None. ``aspect`` is the height of
    a pixel over its width (PS3.3 C.7.6.3.1.7): 1 for square ones, None where the header names
    shapes that contradict each other. ``shown_turns`` and ``shown_mirrored`` are how a picture's
    file asks to be shown (EXIF Orientation): so often `numpy.rot90`, then left and right exchanged.
    """

    pixels: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None = None
    spacing_calibrated: bool = False
    notes: tuple[str, ...] = ()  # what the decoder had to mend or assume, in plain English
    aspect: float | None = 1.0
    shown_turns: int = 0
    shown_mirrored: bool = False

    @property
    def rows(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        return int(self.pixels.shape[1])


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open rectangle in original pixels: ``x0 <= x < x1``, ``y0 <= y < y1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if not (0 <= self.x0 < self.x1 and 0 <= self.y0 < self.y1):
            raise ValueError(f"box {self} is empty or has a negative corner")

    @property
    def width_px(self) -> int:
        return self.x1 - self.x0

    @property
    def height_px(self) -> int:
        return self.y1 - self.y0

    def moved(self, right: int, down: int) -> Box:
        """Return the box so many pixels further on."""
        return Box(self.x0 + right, self.y0 + down, self.x1 + right, self.y1 + down)
