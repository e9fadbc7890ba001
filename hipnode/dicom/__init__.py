"""Headers and identity, without pixels: what a data set says, and what of it may be carried on.

The listener's door, the rules, the audit log and the reporter read the same values here.
"""

from hipnode.dicom.bounded import Elements
from hipnode.dicom.files import is_dicom, open_dicom
from hipnode.dicom.header import header_at_the_door, known_of, open_at_the_door, read_header
from hipnode.dicom.rejection import referenced_in, rejection_of
from hipnode.dicom.values import Reader, items_of, language_of, value_of
from hipnode.dicom.window import Limits

__all__ = [
    "Elements",
    "Limits",
    "Reader",
    "header_at_the_door",
    "is_dicom",
    "items_of",
    "known_of",
    "language_of",
    "open_at_the_door",
    "open_dicom",
    "read_header",
    "referenced_in",
    "rejection_of",
    "value_of",
]
