"""Reports that every viewer shows and every validator passes. Pure: no clock, log or settings."""

from __future__ import annotations

from hipnode.dicom.identity import mend_identity
from hipnode.reporting.build import build, build_messages
from hipnode.reporting.drawing import LONG_SIDE_PX, heatmap_png, picture
from hipnode.reporting.measurements import prepare
from hipnode.reporting.readback import Measured, read_back
from hipnode.reporting.rejection import Withdrawal, rejection_notes
from hipnode.reporting.render import KINDS, render
from hipnode.reporting.request import (
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
    "mend_identity",
    "picture",
    "plain_text",
    "prepare",
    "read_back",
    "rejection_notes",
    "render",
]
