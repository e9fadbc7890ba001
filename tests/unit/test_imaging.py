"""Pixels and headers: real files where there are some, made ones where the truth must be known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from hipnode import dicom, imaging
from hipnode.domain import Box, Radiograph
from hipnode.errors import HipnodeError, NotDicom, PixelsUnreadable
from tests.peers import shared_data

RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)


def dx(pixels: np.ndarray = RAMP, **attributes: object) -> Dataset:
    """A minimal image whose every stored value is known."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    ds.SOPInstanceUID, ds.StudyInstanceUID = "1.2.3.4", "1.2.3"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 16, 12, 11
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(ds, name, value)
    return ds


def test_without_a_window_the_full_range_is_shown() -> None:
    pixels = imaging.decode(dx()).pixels
    assert pixels.dtype == np.float32
    assert pixels.min() == 0
    assert pixels.max() == 1
    np.testing.assert_allclose(pixels, RAMP / RAMP.max(), atol=1e-6)


def test_a_linear_window_follows_the_standard() -> None:
    # PS3.3 C.11.2.1.2.1: c = 2048, w = 4096 is the identity on 12 bits.
    pixels = imaging.decode(dx(WindowCenter=2048, WindowWidth=4096)).pixels
    np.testing.assert_allclose(pixels, RAMP / 4095, atol=1e-5)


def test_monochrome1_is_the_exact_complement_whatever_the_brightest_pixel() -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    darker = np.minimum(RAMP, 3000).astype(np.uint16)
    bright = imaging.decode(dx(darker, **window)).pixels
    dark = imaging.decode(dx(darker, PhotometricInterpretation="MONOCHROME1", **window)).pixels
    np.testing.assert_allclose(bright + dark, 1, atol=1e-6)


def test_rescale_comes_before_the_window() -> None:
    plain = imaging.decode(dx(WindowCenter=1000, WindowWidth=500)).pixels
    scaled = dx(WindowCenter=2100, WindowWidth=1000, RescaleSlope=2, RescaleIntercept=100)
    np.testing.assert_allclose(imaging.decode(scaled).pixels, plain, atol=2e-3)


def test_a_window_that_shows_nothing_is_not_used_and_said_so() -> None:
    radiograph = imaging.decode(dx(WindowCenter=60000, WindowWidth=10))
    assert radiograph.pixels.max() == 1
    assert any("window" in note for note in radiograph.notes)


def test_padding_is_black_in_either_polarity() -> None:
    padded = RAMP.copy()
    padded[:, 0] = 4000
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        ds = dx(padded, PixelPaddingValue=4000, PhotometricInterpretation=photometric)
        ds.PixelPaddingRangeLimit = 4000
        assert (imaging.decode(ds).pixels[:, 0] == 0).all()


def test_signed_pixels() -> None:
    signed = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    np.testing.assert_allclose(imaging.decode(dx(signed)).pixels, RAMP / RAMP.max(), atol=1e-6)


@pytest.mark.parametrize(
    ("attributes", "spacing", "calibrated"),
    [
        ({}, None, False),
        ({"ImagerPixelSpacing": [0.14, 0.14]}, (0.14, 0.14), False),
        ({"ImagerPixelSpacing": [0.15, 0.15], "PixelSpacing": [0.15, 0.15]}, (0.15, 0.15), False),
        ({"ImagerPixelSpacing": [0.15, 0.15], "PixelSpacing": [0.13, 0.13]}, (0.13, 0.13), True),
        (
            {
                "ImagerPixelSpacing": [0.15, 0.15],
                "EstimatedRadiographicMagnificationFactor": 1.2,
            },
            (0.125, 0.125),
            True,
        ),
        ({"PixelSpacing": [0, 0]}, None, False),
    ],
)
def test_spacing(
    attributes: dict[str, object], spacing: tuple[float, float] | None, calibrated: bool
) -> None:
    radiograph = imaging.decode(dx(**attributes))
    assert radiograph.spacing_mm == (pytest.approx(spacing) if spacing else None)
    assert radiograph.spacing_calibrated is calibrated


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"Rows": 60000, "Columns": 60000}, "more than allowed"),
        ({"Rows": 0}, "no rows"),
        ({"PixelData": RAMP.tobytes()[:100]}, "break off: 100 bytes of 512"),
        ({"PixelData": RAMP.tobytes() * 2}, "no Number of Frames"),
        ({"PixelData": np.zeros((16, 16), np.uint16).tobytes()}, "blank"),
        ({"BitsAllocated": 7}, "more than the 7 Bits Allocated"),
        ({"BitsAllocated": None}, "no usable Bits Allocated"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "one bit"),
        ({"PhotometricInterpretation": ""}, "no Photometric Interpretation"),
        ({"PhotometricInterpretation": "MONOCHROME"}, "MONOCHROME' is not known"),
        ({"SamplesPerPixel": 2}, "Samples per Pixel .0028,0002. is 2"),
    ],
)
def test_bad_pixels_are_refused_in_plain_words(attributes: dict[str, object], said: str) -> None:
    with pytest.raises(PixelsUnreadable, match=said):
        imaging.decode(dx(**attributes))


def test_the_transfer_syntaxes_of_one_image_decode_to_the_same_pixels() -> None:
    folder = shared_data("cr_dx")
    lossless = ("RG3_RLE", "RG3_JLSL", "RG3_JPLL", "RG3_J2KR")
    first, *others = (imaging.load(folder / name)[1].pixels for name in lossless)
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_every_real_file_is_read_or_refused() -> None:
    folder = shared_data()
    paths = [p for name in ("cr_dx", "ddh") for p in sorted((folder / name).iterdir())]
    outcomes = {path.name: _outcome(path) for path in paths}
    assert outcomes["CR-ModalitySequenceLUT.dcm"] == "read"
    assert sum(o == "read" for o in outcomes.values()) >= len(paths) - 1


@pytest.mark.parametrize("name", ["RG3_J2KR", "RG3_J2KI", "RG3_JPLL", "RG3_JLSL", "RG3_RLE"])
def test_a_stream_that_breaks_off_is_refused(tmp_path: Path, name: str) -> None:
    whole = shared_data("cr_dx") / name
    dataset = pydicom.dcmread(whole)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    damaged = tmp_path / name
    dataset.save_as(damaged)
    assert (_outcome(whole), _outcome(damaged)) == ("read", "PixelsUnreadable")


def test_every_test_file_of_pydicom_is_read_or_refused() -> None:
    outcomes = [_outcome(Path(name)) for name in get_testdata_files()]
    assert outcomes.count("read") > 80


def _outcome(path: Path) -> str:
    picture = path.suffix.lower() in imaging.PICTURE_SUFFIXES
    try:
        _, radiograph = (imaging.load_picture if picture else imaging.load)(path)
    except HipnodeError as error:
        return type(error).__name__
    assert np.isfinite(radiograph.pixels).all()
    assert 0 <= radiograph.pixels.min() <= radiograph.pixels.max() <= 1
    return "read"


@pytest.mark.parametrize(
    ("attributes", "years"),
    [
        ({"PatientAge": "042Y"}, 42),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "7Y"}, 7),
        ({"PatientAge": "old", "PatientBirthDate": "19500101", "StudyDate": "20200101"}, 70),
        ({"PatientBirthDate": "1950", "StudyDate": "20200101"}, None),
        ({}, None),
    ],
)
def test_age(attributes: dict[str, str], years: float | None) -> None:
    ds = dx()
    with pydicom.config.disable_value_validation():
        for name, value in attributes.items():
            setattr(ds, name, value)
        found = dicom.read_header(ds).age_years
    assert found == (None if years is None else pytest.approx(years, abs=0.01))


def test_the_coded_view_is_read_with_its_modifiers() -> None:
    def code(meaning: object) -> Dataset:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "SCT", meaning
        return item

    ds = dx()
    view = code("antero-posterior")
    view.ViewModifierCodeSequence = [code("Oblique"), Dataset()]
    ds.ViewCodeSequence = [view]
    assert dicom.read_header(ds).view_words == ("antero-posterior", "Oblique")
    ds.ViewCodeSequence = []
    assert dicom.read_header(ds).view_words == ()
    del ds.ViewCodeSequence
    assert dicom.read_header(ds).view_words == ()


def test_what_is_not_dicom_is_refused(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "text": b"hello " * 100, "zeros": bytes(4096)}.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(HipnodeError):
            dicom.read_header(path)
    with pytest.raises(NotDicom):
        dicom.read_header(tmp_path / "absent")


def test_resampling_keeps_corners_and_mean() -> None:
    image = np.zeros((400, 300), np.float32)
    image[100:200, 100:200] = 1
    small = imaging.resample(image, (100, 75))
    assert small.shape == (100, 75)
    assert small.mean() == pytest.approx(image.mean(), rel=0.02)
    assert small[37, 37] == pytest.approx(1)


def test_a_crop_beyond_the_border_is_padded_with_black() -> None:
    image = np.ones((100, 100), np.float32)
    cut = imaging.crop(image, Box(80, 80, 100, 100), margin=0.5)
    assert cut.shape == (40, 40)
    assert cut[0, 0] == 1
    assert cut[-1, -1] == 0


def test_preprocessing_gives_what_the_spec_says() -> None:
    rng = np.random.default_rng(1)
    image = rng.random((300, 200), dtype=np.float32)
    out = imaging.preprocess(image, imaging.PreprocessSpec(64))
    assert out.shape == (1, 64, 64)
    assert out.dtype == np.float32
    assert abs(float(out.mean())) < 1e-4
    unit = imaging.preprocess(image, imaging.PreprocessSpec(64, scaling="unit"))
    assert unit.min() >= 0
    assert unit.max() <= 1


def test_a_mirrored_left_hip_looks_like_a_right_one() -> None:
    spec = imaging.PreprocessSpec(32, flip_left_to_right=True)
    image = np.random.default_rng(2).random((100, 100), dtype=np.float32)
    box = Box(20, 30, 70, 80)
    mirrored_box = Box(30, 30, 80, 80)
    right = imaging.preprocess(image, spec, box)
    left = imaging.preprocess(image[:, ::-1].copy(), spec, mirrored_box, mirror=True)
    np.testing.assert_allclose(left, right, atol=1e-5)


def shown_alone(
    image: NDArray[np.float32], spec: imaging.PreprocessSpec, box: Box | None
) -> NDArray[np.float32]:
    """Return what a network is shown, cut, padded and shrunk for it alone."""
    cut = imaging.pad_to_square(image)
    if box is not None:
        part = imaging.part_of(box, spec.region)
        cut = imaging.crop(image, part, spec.crop_margin)
    small = imaging.resample(cut, (spec.size_px, spec.size_px))
    return imaging.preprocess(small, replace(spec, region="hip", crop_margin=0))


@pytest.mark.parametrize("shape", [(300, 200), (200, 301), (256, 256), (64, 64), (90, 700)])
def test_networks_that_share_an_image_see_what_each_would_see_alone(
    shape: tuple[int, int],
) -> None:
    """To the bit: whatever another network was shown of it before, and in whatever size."""
    image = np.random.default_rng(4).random(shape, dtype=np.float32)
    shared = imaging.Squares(image)
    boxes = (None, Box(10, 5, 60, 55), Box(shape[1] - 30, 0, shape[1] + 40, 64), Box(0, 0, 64, 64))
    specs = [
        imaging.PreprocessSpec(size, crop_margin=margin, region=region)
        for size in (64, 33, 128)
        for margin in (0.0, 0.25)
        for region in ("hip", "proximal_femur")
    ]
    for spec in (*specs, *reversed(specs)):
        for box in boxes:
            together = imaging.preprocess(shared, spec, box)
            np.testing.assert_array_equal(together, imaging.preprocess(image, spec, box))
            np.testing.assert_array_equal(together, shown_alone(image, spec, box))
        for size in ((40, 30), image.shape, (shape[0], shape[1] // 2)):
            np.testing.assert_array_equal(shared.resized(size), imaging.resample(image, size))


def test_contrast_is_the_standard_deviation() -> None:
    image = np.random.default_rng(5).random((401, 377), dtype=np.float32) ** 3
    found = imaging.measured(Radiograph(image))
    assert found["contrast"] == pytest.approx(float(image.astype(np.float64).std()), abs=1e-5)
    assert found["brightness"] == pytest.approx(float(image.astype(np.float64).mean()), abs=1e-5)


def test_preprocessing_ignores_exposure() -> None:
    spec = imaging.PreprocessSpec(32)
    image = np.random.default_rng(3).random((100, 100), dtype=np.float32)
    np.testing.assert_allclose(
        imaging.preprocess(image, spec), imaging.preprocess(image * 0.5 + 0.2, spec), atol=1e-3
    )
