"""Headers and identity, without pixels: what a data set says, and what of it may be carried on.

The listener's door, the rules, the audit log and the reporter read the same values here.
"""

from hipnode.dicom.header import is_dicom, items_of, open_dicom, read_header, value_of

__all__ = ["is_dicom", "items_of", "open_dicom", "read_header", "value_of"]
