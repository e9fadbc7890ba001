"""Reports that every viewer shows and every validator passes. Pure: no clock, log or settings.

What this package offers is brought in when it is first asked for (PEP 562): a worker knows what a
report is made for without highdicom, which makes it in a reading process.
"""

from typing import TYPE_CHECKING, Final

from hipnode.lazy import lazily

if TYPE_CHECKING:
    from hipnode.reporting.drawing import LONG_SIDE_PX, heatmap_png, picture
    from hipnode.reporting.measurements import prepare
    from hipnode.reporting.objects import build, build_messages
    from hipnode.reporting.readback import Measured, read_back
    from hipnode.reporting.rejection import Withdrawal, rejection_notes
    from hipnode.reporting.rendered import KINDS, render
    from hipnode.reporting.request import (
        PICTURED,
        SR_CLASSES,
        BuiltMessage,
        BuiltObject,
        NodeIdentity,
        ReportRequest,
        SourceImage,
        SRClass,
    )
    from hipnode.reporting.words import plain_text

__all__ = [
    "KINDS",
    "LONG_SIDE_PX",
    "PICTURED",
    "SR_CLASSES",
    "BuiltMessage",
    "BuiltObject",
    "Measured",
    "NodeIdentity",
    "ReportRequest",
    "SRClass",
    "SourceImage",
    "Withdrawal",
    "build",
    "build_messages",
    "heatmap_png",
    "picture",
    "plain_text",
    "prepare",
    "read_back",
    "rejection_notes",
    "render",
]

_WHERE: Final = {
    "KINDS": "rendered",
    "LONG_SIDE_PX": "drawing",
    "PICTURED": "request",
    "SR_CLASSES": "request",
    "BuiltMessage": "request",
    "BuiltObject": "request",
    "Measured": "readback",
    "NodeIdentity": "request",
    "ReportRequest": "request",
    "SRClass": "request",
    "SourceImage": "request",
    "Withdrawal": "rejection",
    "build": "objects",
    "build_messages": "objects",
    "heatmap_png": "drawing",
    "picture": "drawing",
    "plain_text": "words",
    "prepare": "measurements",
    "read_back": "readback",
    "rejection_notes": "rejection",
    "render": "rendered",
}


if not TYPE_CHECKING:  # which knows them from above, and says so of a name that there is not
    __getattr__ = lazily(__name__, _WHERE)
