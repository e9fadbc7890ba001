"""What kind of object it is: one answer for the listener's rules and for the reading gate.

References
----------
PS3.4 B.5 (Storage SOP Classes); PS3.3 C.7.3.1.1.1 (Modality), A.35.4 (Key Object Selection).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

SOP_CLASSES: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography Image
        "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray Image, for presentation
        "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray Image, for processing
        "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic Image
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image
        "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture Image
        "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture Image
    }
)
"""What may hold a radiograph or a scan."""
_RADIOGRAPHY: Final = frozenset({"CR", "DX", "RG", "RF"})
"""Modalities whose images are projection radiographs."""
_DENSITOMETRY: Final = frozenset({"BMD"})

DOCUMENTS: Final = "1.2.840.10008.5.1.4.1.1.88."
"""How the SOP Class UIDs of structured documents begin: SR, and Key Object Selections."""
KEY_OBJECTS: Final = f"{DOCUMENTS}59"


class Kind(StrEnum):
    """What an image is, as far as SOP Class and Modality tell."""

    RADIOGRAPH = "radiograph"
    SCAN = "scan"  # of a densitometer
    OTHER = "other"


def kind_of(sop_class_uid: str, modality: str) -> Kind:
    """Return what an image is.

    An image of these SOP Classes is what its Modality says: a digitised film, say, or the picture
    of a scan. Where that says nothing, it is a radiograph.

    Parameters
    ----------
    sop_class_uid, modality
        Of the image; the modality may be ``""``.
    """
    if not may_be_read(sop_class_uid):
        return Kind.OTHER
    said = modality.strip().upper()
    if said in _DENSITOMETRY:
        return Kind.SCAN
    return Kind.RADIOGRAPH if not said or said in _RADIOGRAPHY else Kind.OTHER


def may_be_read(sop_class_uid: str) -> bool:
    """Tell whether an image of this SOP Class may hold a radiograph or a scan at all."""
    return sop_class_uid in SOP_CLASSES
