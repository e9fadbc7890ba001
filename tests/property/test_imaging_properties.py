"""What must hold of any header, any bytes and any image."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import fields

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from hipnode import dicom, imaging
from hipnode.domain import Box, Header
from hipnode.errors import HipnodeError, PixelsUnreadable
from hipnode.imaging import codestream
from tests.examples import examples
from tests.peers import shared_data
from tests.unit.test_imaging import dx

KEYWORDS = (
    "Modality", "PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyDescription",
    "SeriesDescription", "StationName", "InstitutionName", "Manufacturer", "BodyPartExamined",
    "ViewPosition", "PatientSex", "PresentationIntentType", "DeviceSerialNumber", "Laterality",
    "ImageLaterality", "PatientOrientation", "ImageType", "PatientAge", "PatientBirthDate",
    "StudyDate", "PatientSize", "PatientWeight", "SeriesInstanceUID", "SpecificCharacterSet",
)  # fmt: skip
PIXEL_KEYWORDS = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames", "PhotometricInterpretation",
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "PresentationLUTShape", "PixelSpacing",
    "ImagerPixelSpacing", "EstimatedRadiographicMagnificationFactor",
    "PixelIntensityRelationshipSign", "VOILUTSequence", "ModalityLUTSequence",
)  # fmt: skip
VRS = st.sampled_from(
    ["AS", "CS", "DA", "DS", "FD", "IS", "LO", "OB", "SQ", "UI", "UN", "US", "UT"]
)
TEXTS = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda t: t.encode("utf-8", "replace")),
    st.sampled_from(
        [b"042Y", b"7", b"1\\2\\3", b"L\\F", b"NaN", b"1e999", b"-0", b"\\\\\\", b"\0"]
    ),
)


def with_raw(base: Dataset, values: dict[str, tuple[str, bytes]]) -> Dataset:
    """Return a data set whose elements still hold the bytes that a file held."""
    out = Dataset()
    out.file_meta = base.file_meta
    for element in base:
        out[element.tag] = element
    for keyword, (vr, value) in values.items():
        tag = Tag(keyword)
        out[tag] = pydicom.dataelem.RawDataElement(
            tag, vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True
        )
    return out


@given(st.dictionaries(st.sampled_from(KEYWORDS), st.tuples(VRS, TEXTS), max_size=8))
@settings(max_examples=examples(300), deadline=None)
def test_any_header_becomes_plain_values(values: dict[str, tuple[str, bytes]]) -> None:
    header = dicom.read_header(with_raw(dx(), values))
    for field in fields(Header):
        value = getattr(header, field.name)
        if isinstance(value, str):
            assert len(value) <= 1024
            value.encode("utf-8")
            assert not any(ord(c) < 32 for c in value)
        elif isinstance(value, float):
            assert math.isfinite(value)
            assert value >= 0
    assert header.age_years is None or header.age_years <= 130


@given(st.dictionaries(st.sampled_from(PIXEL_KEYWORDS), st.tuples(VRS, TEXTS), max_size=4))
@settings(max_examples=examples(300), deadline=None)
def test_any_pixel_module_gives_an_image_or_a_refusal(
    values: dict[str, tuple[str, bytes]],
) -> None:
    try:
        radiograph = imaging.decode(with_raw(dx(), values), max_pixels=1_000_000)
    except PixelsUnreadable:
        return
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.pixels.ndim == 2
    assert np.isfinite(radiograph.pixels).all()
    assert 0 <= radiograph.pixels.min() <= radiograph.pixels.max() <= 1
    assert radiograph.spacing_mm is None or min(radiograph.spacing_mm) > 0


@given(st.binary(max_size=3000), st.booleans())
@settings(max_examples=examples(300), deadline=None)
def test_any_bytes_are_a_header_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, part10: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes((bytes(128) + b"DICM" if part10 else b"") + content)
    with suppress(HipnodeError):
        imaging.load(path, max_pixels=10_000)


@given(
    st.binary(max_size=400), st.sampled_from([b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP"])
)
def test_any_markers_are_read_in_bounded_time(tail: bytes, head: bytes) -> None:
    code = codestream.bare(head + tail)
    extent = codestream.extent_of(code)
    assert extent is None or extent.components >= 0
    assert len(codestream.mended(code)) == len(code)


@given(
    position=st.floats(0, 1),
    bits=st.integers(1, 255),
    name=st.sampled_from(["RG3_JPLL", "RG3_RLE"]),
)
@settings(max_examples=examples(25), deadline=None)
def test_a_damaged_stream_is_an_image_or_a_refusal(position: float, bits: int, name: str) -> None:
    dataset = pydicom.dcmread(shared_data("cr_dx") / name)
    code = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1))
    code[int(position * (len(code) - 1))] ^= bits
    dataset.PixelData = encapsulate([bytes(code)])
    try:
        pixels = imaging.decode(dataset).pixels
    except PixelsUnreadable:
        return
    assert pixels.shape == (dataset.Rows, dataset.Columns)


# --- preprocessing ----------------------------------------------------------------------------

SHAPES = st.tuples(st.integers(1, 90), st.integers(1, 90))
IMAGES = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))


@given(IMAGES, st.integers(8, 64), st.sampled_from(["unit", "zscore", "zclip"]))
@settings(deadline=None)
def test_preprocessing_is_total(image: np.ndarray, size_px: int, scaling: str) -> None:
    spec = imaging.PreprocessSpec(size_px, scaling=scaling)  # type: ignore[arg-type]
    out = imaging.preprocess(image, spec)
    assert out.shape == (1, size_px, size_px)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()


@given(IMAGES, SHAPES)
@settings(deadline=None)
def test_resampling_stays_within_the_values_of_the_image(
    image: np.ndarray, size: tuple[int, int]
) -> None:
    out = imaging.resample(image, size)
    assert out.shape == size
    assert image.min() - 1e-4 <= out.min()
    assert out.max() <= image.max() + 1e-4


@given(st.integers(1, 700), st.integers(1, 700), st.integers(8, 64))
@settings(deadline=None)
def test_an_image_is_shrunk_as_if_it_had_been_padded_before(
    rows: int, columns: int, size_px: int
) -> None:
    """To the bit: padding in full size is only left out because it costs more than the rest."""
    image = np.random.default_rng(rows).random((rows, columns), dtype=np.float32)
    padded = imaging.resample(imaging.pad_to_square(image), (size_px, size_px))
    assert np.array_equal(imaging.Squares(image).whole(size_px), padded)


@given(
    st.integers(0, 300), st.integers(0, 300), st.integers(1, 200), st.integers(1, 200),
    st.floats(0, 1),
)  # fmt: skip
def test_a_crop_shows_the_image_where_it_is_and_black_elsewhere(
    x0: int, y0: int, width: int, height: int, margin: float
) -> None:
    image = np.random.default_rng(0).random((257, 199), dtype=np.float32) + 1
    box = Box(x0, y0, x0 + width, y0 + height)
    cut = imaging.crop(image, box, margin)
    left, top, side = imaging.square_around(box, margin)
    assert cut.shape == (side, side)
    assert side >= max(width, height)
    for _ in range(8):
        i, j = np.random.default_rng(side).integers(0, side, 2)
        y, x = top + i, left + j
        inside = 0 <= y < 257 and 0 <= x < 199
        assert cut[i, j] == (image[y, x] if inside else 0)


@given(arrays(np.uint16, (16, 16), elements=st.integers(0, 4095)), st.integers(0, 4095))
@settings(deadline=None)
def test_monochrome1_is_always_the_complement(stored: np.ndarray, centre: int) -> None:
    window = {"WindowCenter": centre, "WindowWidth": 2000}
    pair = []
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        ds = dx(stored, PhotometricInterpretation=photometric, **window)
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        try:
            pair.append(imaging.decode(ds).pixels)
        except PixelsUnreadable:
            assert len(set(stored.flat)) == 1
            return
    np.testing.assert_allclose(pair[0] + pair[1], 1, atol=1e-6)
