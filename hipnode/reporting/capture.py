"""The heat-map capture: the picture of a reading as Secondary Capture, for viewers without SR.

References
----------
PS3.3 A.8.1 (Secondary Capture Image IOD), C.8.6.1 (SC Equipment), C.7.6.1 (General Image),
C.12.1.1.2 (Source Image Sequence with purpose), C.7.6.3 (Image Pixel), C.7.6.1.1.5 (Lossy Image
Compression). PS3.5 8.2.1, A.4.1 (JPEG Baseline).
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

from hipnode import DISCLAIMER, codes
from hipnode.dicom.charset import seal
from hipnode.domain import TASKS, ResultKind
from hipnode.reporting.drawing import LONG_SIDE_PX, maps_of, picture
from hipnode.reporting.envelope import body_part, code, envelope, outcome, reference
from hipnode.reporting.request import SourceImage
from hipnode.reporting.study import Study
from hipnode.reporting.words import phrases_of

_COPIED: Final = ("PatientOrientation", "RequestAttributesSequence")
_QUALITY: Final = 90
_ENCODING: Final = f"{LONG_SIDE_PX} px, JPEG {_QUALITY}"


def capture(study: Study, source: SourceImage, image: Dataset, number: int) -> Dataset:
    """Return the capture of one image.

    Parameters
    ----------
    source
        The image with its pixels.
    image
        Its mended identity.
    number
        Its place in the report, from 1.
    """
    node = study.request.node
    maker = f"{node.name} {node.software_version}"
    said = f"{study.request.language} {outcome(study.request, (source,))}"
    identity = source.fingerprint.hex() + image.to_json() + repr(node) + _ENCODING + said
    sop_class = SecondaryCaptureImageStorage
    out = envelope(study, ResultKind.CAPTURE, sop_class, identity, number, of=source)
    for keyword in _COPIED:
        if keyword in image:
            out[keyword] = image[keyword]
    out.setdefault("PatientOrientation", "")
    body_part(out, image)
    drawn_picture = picture(source, maker, phrases_of(study.request))
    out.ConversionType = "WSD"
    out.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    out.BurnedInAnnotation = image.get("BurnedInAnnotation") or "YES"
    out.RecognizableVisualFeatures = "NO"
    mapped = maps_of(source)
    nouns = " and ".join(TASKS[task].short for task in mapped)
    drawn = f"boxes and class activation map of {nouns}" if mapped else "boxes"
    out.DerivationDescription = f"AI {drawn}. {DISCLAIMER}."
    if mapped:
        out.DerivationCodeSequence = [code(codes.CLASS_ACTIVATION)]
    origin = reference(image.SOPClassUID, image.SOPInstanceUID)
    if source.referenced_frames:
        origin.ReferencedFrameNumber = source.referenced_frames
    origin.PurposeOfReferenceCodeSequence = [code(codes.SOURCE_IMAGE)]
    origin.SpatialLocationsPreserved = "NO"  # the strips move the image down
    out.SourceImageSequence = [origin]
    out.ImageComments = f"{DISCLAIMER}."
    _put_pixels(out, drawn_picture, lossy_before=image.get("LossyImageCompression") == "01")
    return seal(out, study.declared)


def _put_pixels(out: Dataset, picture: Image.Image, *, lossy_before: bool) -> None:
    """Put the picture in, as JPEG: a fifteenth of the bytes that every archive would keep."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, subsampling="4:2:2")
    out.SamplesPerPixel = 3
    out.PhotometricInterpretation = "YBR_FULL_422"
    out.PlanarConfiguration = 0
    out.Columns, out.Rows = picture.size
    out.BitsAllocated = out.BitsStored = 8
    out.HighBit = 7
    out.PixelRepresentation = 0
    out.LossyImageCompression = "01"
    if not lossy_before:  # else the first of several values would be missing
        out.LossyImageCompressionRatio = round(
            3 * picture.width * picture.height / buffer.tell(), 1
        )
        out.LossyImageCompressionMethod = "ISO_10918_1"
    out.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    out.PixelData = encapsulate([buffer.getvalue()])
    out["PixelData"].VR, out["PixelData"].is_undefined_length = "OB", True


def jpeg(made: Dataset) -> bytes:
    """Return the picture of a capture that was just made, as the JPEG file that it is."""
    return get_frame(made.PixelData, 0, number_of_frames=1)
