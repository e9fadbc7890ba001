"""The boxes as a Grayscale Softcopy Presentation State, for viewers that draw it over the image.

References
----------
PS3.3 A.33.1 (GSPS IOD), C.10.5 (Graphic Annotation), C.10.7 (Graphic Layer), C.10.4 (Displayed
Area), C.11.8 (Softcopy VOI LUT), C.11.6 (Softcopy Presentation LUT), C.11.10 (Identification).
"""

from __future__ import annotations

import math
from itertools import pairwise

from pydicom.dataset import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from hipnode import DISCLAIMER
from hipnode.dicom.charset import seal
from hipnode.dicom.values import PARSE_ERRORS, value_of
from hipnode.domain import Box, Decision, HipReading, ResultKind
from hipnode.reporting.drawing import worst
from hipnode.reporting.envelope import body_part, envelope, outcome, reference
from hipnode.reporting.languages import Phrases
from hipnode.reporting.request import SourceImage
from hipnode.reporting.strips import said_of
from hipnode.reporting.study import Study
from hipnode.reporting.words import phrases_of

_LAYER = "AI"
_PIXEL_SHAPES = (
    "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio",
)  # fmt: skip
_SQUARE_PER_MILLE = 10
_DASH_PX, _GAP_PX = 0.04, 0.025  # of the box's longer side


def presentation_state(
    study: Study, source: SourceImage, image: Dataset, number: int
) -> Dataset | None:
    """Return the boxes of one image, or None where no hip was found on it.

    Parameters
    ----------
    source, image
        The image, and its mended identity.
    number
        Its place in the report, from 1.
    """
    if source.reading is None or not source.hips:
        return None
    said = f"{study.request.language} {outcome(study.request, (source,))}"
    identity = source.fingerprint.hex() + image.to_json() + repr(study.request.node) + said
    sop_class = GrayscaleSoftcopyPresentationStateStorage
    out = envelope(study, ResultKind.GSPS, sop_class, identity, number, of=source)
    body_part(out, image)
    out.ContentLabel = "AI_BOXES"
    out.ContentDescription = f"AI boxes. {DISCLAIMER}."
    out.ContentCreatorName = "HIPNODE^AI"
    out.PresentationCreationDate = out.ContentDate
    out.PresentationCreationTime = out.ContentTime
    del out.ContentDate, out.ContentTime
    which = reference(image.SOPClassUID, image.SOPInstanceUID)
    if source.referenced_frames:
        which.ReferencedFrameNumber = source.referenced_frames
    series = Dataset()
    series.SeriesInstanceUID = image.SeriesInstanceUID
    series.ReferencedImageSequence = [which]
    out.ReferencedSeriesSequence = [series]
    out.DisplayedAreaSelectionSequence = [
        _whole(source.reading.rows, source.reading.columns, source.dataset)
    ]
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = _LAYER, 1
    layer.GraphicLayerDescription = "AI boxes"
    out.GraphicLayerSequence = [layer]
    phrases = phrases_of(study.request)
    annotation = Dataset()
    annotation.ReferencedImageSequence = [which]
    annotation.GraphicLayer = _LAYER
    annotation.TextObjectSequence = [
        *(_label(h, source, phrases) for h in source.hips),
        _disclaimer(phrases),
    ]
    annotation.GraphicObjectSequence = [g for h in source.hips for g in _outline(h)]
    out.GraphicAnnotationSequence = [annotation]
    _grey_scale(out, source.dataset)
    return seal(out, study.declared)


def _whole(rows: int, columns: int, image: Dataset) -> Dataset:
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [columns, rows]
    area.PresentationSizeMode = "SCALE TO FIT"
    area.PresentationPixelAspectRatio = _pixel_shape(image)
    return area


def _pixel_shape(image: Dataset) -> list[int]:
    """Return the height and the width of a pixel as a ratio of whole numbers (PS3.3 C.10.4)."""
    for keyword in _PIXEL_SHAPES:
        try:
            height, width = (float(value) for value in value_of(image, keyword) or ())
        except PARSE_ERRORS:
            continue
        if min(height, width) > 0 and max(height, width) < math.inf:
            per_mille = round(1000 * height / width)
            return [1, 1] if abs(per_mille - 1000) <= _SQUARE_PER_MILLE else [per_mille, 1000]
    return [1, 1]


def _outline(hip: HipReading) -> list[Dataset]:
    """Return a closed line for a definite or negative box, dashes for any other.

    Coordinates are in pixels, 1 the first pixel's centre: 0.5 more than those of an SCOORD.
    """
    box = hip.roi.box
    corners = [(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)]
    ring = [(x + 0.5, y + 0.5) for x, y in [*corners, corners[0]]]
    if worst(hip) in (Decision.PRESENT, Decision.ABSENT):
        return [_polyline(ring)]
    return [_polyline(dash) for a, b in pairwise(ring) for dash in _dashes(a, b, box)]


def _dashes(
    start: tuple[float, float], end: tuple[float, float], box: Box
) -> list[list[tuple[float, float]]]:
    side = max(box.width_px, box.height_px)
    length = abs(end[0] - start[0]) + abs(end[1] - start[1])
    step, dash = (_DASH_PX + _GAP_PX) * side / length, _DASH_PX * side / length

    def at(t: float) -> tuple[float, float]:
        t = min(t, 1.0)
        return start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])

    return [[at(n * step), at(n * step + dash)] for n in range(int(1 / step) + 1)]


def _polyline(points: list[tuple[float, float]]) -> Dataset:
    graphic = Dataset()
    graphic.GraphicAnnotationUnits = "PIXEL"
    graphic.GraphicDimensions = 2
    graphic.NumberOfGraphicPoints = len(points)
    graphic.GraphicData = [c for point in points for c in point]
    graphic.GraphicType = "POLYLINE"
    graphic.GraphicFilled = "N"
    return graphic


def _label(hip: HipReading, source: SourceImage, phrases: Phrases) -> Dataset:
    text = Dataset()
    text.AnchorPointAnnotationUnits = "PIXEL"
    words = "; ".join(f"{said.what} - {said.sure}" for said in said_of(hip, phrases))
    if source.frame is not None:
        words += f" ({phrases.place['frame'].format(source.frame)})"
    text.UnformattedTextValue = words
    text.AnchorPoint = [hip.roi.box.x0 + 0.5, max(1.0, hip.roi.box.y0 - 8.0)]
    text.AnchorPointVisibility = "N"
    return text


def _disclaimer(phrases: Phrases) -> Dataset:
    text = Dataset()
    text.BoundingBoxAnnotationUnits = "DISPLAY"
    text.UnformattedTextValue = phrases.disclaimer
    text.BoundingBoxTopLeftHandCorner = [0.0, 0.95]
    text.BoundingBoxBottomRightHandCorner = [1.0, 1.0]
    text.BoundingBoxTextHorizontalJustification = "CENTER"
    return text


def _grey_scale(out: Dataset, source: Dataset) -> None:
    """Show the grey values as the image itself asks; nothing is chosen here."""
    inverse = source.get("PhotometricInterpretation") == "MONOCHROME1"
    out.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    slope = (source.get("RescaleSlope"), source.get("RescaleIntercept"))
    if None not in slope:
        out.RescaleSlope, out.RescaleIntercept = slope
        out.RescaleType = source.get("RescaleType") or "US"
    window = (source.get("WindowCenter"), source.get("WindowWidth"))
    if all(value not in (None, "", []) for value in window):
        voi = Dataset()
        voi.WindowCenter, voi.WindowWidth = window
        if source.get("VOILUTFunction"):
            voi.VOILUTFunction = source.VOILUTFunction
        out.SoftcopyVOILUTSequence = [voi]
