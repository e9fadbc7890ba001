"""Headers and identity, without pixels: what a data set says, and what of it may be carried on.

The listener's door, the rules, the audit log and the reporter read the same values here. What this
package offers is brought in when it is first asked for (PEP 562): to know a usable UID takes no
pydicom.
"""

from typing import TYPE_CHECKING, Final

from hipnode.lazy import lazily

if TYPE_CHECKING:
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

_WHERE: Final = {
    "Elements": "bounded",
    "Limits": "window",
    "Reader": "values",
    "header_at_the_door": "header",
    "is_dicom": "files",
    "items_of": "values",
    "known_of": "header",
    "language_of": "values",
    "open_at_the_door": "header",
    "open_dicom": "files",
    "read_header": "header",
    "referenced_in": "rejection",
    "rejection_of": "rejection",
    "value_of": "values",
}


if not TYPE_CHECKING:  # which knows them from above, and says so of a name that there is not
    __getattr__ = lazily(__name__, _WHERE)
