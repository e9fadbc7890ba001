"""hipnode: a DICOM node that reads hip radiographs and reports to the PACS."""

__version__ = "0.1.0"

DISCLAIMER = "INVESTIGATIONAL - NOT FOR CLINICAL USE"
"""Said by every object, page and table that leaves the node."""
