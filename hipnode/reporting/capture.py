"""The heat-map capture: the picture of a reading as Secondary Capture, for viewers without SR.

References
----------
PS3.3 A.8.1 (Secondary Capture Image IOD), C.8.6.1 (SC Equipment), C.7.6.1 (General Image),
C.12.1.1.2 (Source Image Sequence with purpose), C.7.6.3 (Image Pixel).
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from hipnode import DISCLAIMER, codes
from hipnode.domain import ResultKind
from hipnode.reporting.charset import seal
from hipnode.reporting.drawing import LONG_SIDE_PX, draw, has_map
from hipnode.reporting.envelope import Study, body_part, code, envelope, reference
from hipnode.reporting.request import SourceImage, source_fingerprint

_COPIED = ("PatientOrientation", "RequestAttributesSequence")


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
    identity = source_fingerprint(source).hex() + image.to_json() + repr(node) + str(LONG_SIDE_PX)
    out = envelope(study, ResultKind.CAPTURE, SecondaryCaptureImageStorage, identity, number)
    for keyword in _COPIED:
        if keyword in image:
            out[keyword] = image[keyword]
    out.setdefault("PatientOrientation", "")
    body_part(out, image)
    picture = draw(source, maker)
    out.ConversionType = "WSD"
    out.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    out.BurnedInAnnotation = image.get("BurnedInAnnotation") or "YES"
    out.RecognizableVisualFeatures = "NO"
    out.LossyImageCompression = image.get("LossyImageCompression") or "00"
    mapped = has_map(source)
    drawn = "boxes and class activation map" if mapped else "boxes"
    out.DerivationDescription = f"AI {drawn}. {DISCLAIMER}."
    if mapped:
        out.DerivationCodeSequence = [code(codes.CLASS_ACTIVATION)]
    origin = reference(image.SOPClassUID, image.SOPInstanceUID)
    origin.PurposeOfReferenceCodeSequence = [code(codes.SOURCE_IMAGE)]
    origin.SpatialLocationsPreserved = "NO"  # the strips move the image down
    out.SourceImageSequence = [origin]
    out.ImageComments = f"{DISCLAIMER}."
    out.SamplesPerPixel = 3
    out.PhotometricInterpretation = "RGB"
    out.PlanarConfiguration = 0
    out.Rows, out.Columns = picture.shape[:2]
    out.BitsAllocated = out.BitsStored = 8
    out.HighBit = 7
    out.PixelRepresentation = 0
    data = picture.tobytes()
    out.PixelData = data + b"\0" * (len(data) % 2)
    out["PixelData"].VR = "OB"
    return seal(out, study.declared)
