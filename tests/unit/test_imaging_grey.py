"""Look-up tables, windows, polarity and odd pixel modules, against the Standard's arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from hipnode import imaging
from hipnode.errors import PixelsUnreadable
from tests.unit.test_imaging import RAMP, dx

IDENTITY = {"WindowCenter": 2048, "WindowWidth": 4096}  # on 12 bits


def lut(values: np.ndarray, first: int, bits: int) -> list[Dataset]:
    """A Modality or VOI LUT Sequence (PS3.3 C.11.1.1.1, C.11.2.1.1)."""
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = [int(v) for v in values]
    item["LUTData"].VR = "US"
    return [item]


def test_a_voi_lut_comes_before_a_window() -> None:
    inverse = np.arange(4095, -1, -1)
    ds = dx(VOILUTSequence=lut(inverse, 0, 12), WindowCenter=100, WindowWidth=10)
    np.testing.assert_allclose(imaging.decode(ds).pixels, 1 - RAMP / 4095, atol=1e-6)


@pytest.mark.parametrize(("bits", "packed"), [(8, "bytes"), (8, "words"), (12, "words")])
def test_a_voi_lut_of_few_bits_and_many_entries(bits: int, packed: str) -> None:
    table = (np.arange(4096) >> (12 - bits)).astype(np.uint16)
    ds = dx(VOILUTSequence=lut(table, 0, bits))
    data = (table.astype(np.uint8) if packed == "bytes" else table).tobytes()
    ds.VOILUTSequence[0].add_new("LUTData", "OW", data)
    expected = table[RAMP] / (2**bits - 1)
    np.testing.assert_allclose(imaging.decode(ds).pixels, expected, atol=1e-6)


def test_a_lut_of_signed_pixels_begins_below_zero() -> None:
    signed = RAMP.astype(np.int16) - 2048
    ds = dx(signed, VOILUTSequence=lut(np.arange(4096), -2048 & 0xFFFF, 12))
    np.testing.assert_allclose(imaging.decode(ds).pixels, RAMP / 4095, atol=1e-6)


def test_a_voi_lut_sees_rescaled_values() -> None:
    # Slope 2: stored 2040 is 4080; the table begins at 1000 and ends at 7999.
    steps = np.linspace(0, 4095, 7000).astype(int)
    ds = dx(VOILUTSequence=lut(steps, 1000, 12), RescaleSlope=2, RescaleIntercept=0)
    expected = steps[np.clip(RAMP.astype(int) * 2 - 1000, 0, 6999)] / 4095
    np.testing.assert_allclose(imaging.decode(ds).pixels, expected, atol=1e-6)


def test_a_modality_lut_comes_before_the_window() -> None:
    inverse = np.arange(4095, -1, -1)
    ds = dx(ModalityLUTSequence=lut(inverse, 0, 12), **IDENTITY)
    np.testing.assert_allclose(imaging.decode(ds).pixels, 1 - RAMP / 4095, atol=1e-5)


def test_an_unusable_voi_lut_is_left_out_and_said_so() -> None:
    ds = dx(VOILUTSequence=lut(np.arange(16), 0, 12), **IDENTITY)
    del ds.VOILUTSequence[0].LUTData
    radiograph = imaging.decode(ds)
    np.testing.assert_allclose(radiograph.pixels, RAMP / 4095, atol=1e-5)
    assert any("VOI LUT" in note for note in radiograph.notes)


def test_the_first_of_several_windows_is_used() -> None:
    ds = dx(WindowCenter=[2048, 100], WindowWidth=[4096, 10])
    np.testing.assert_allclose(imaging.decode(ds).pixels, RAMP / 4095, atol=1e-5)


def test_sigmoid_and_exact_windows() -> None:
    ds = dx(WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    expected = 1 / (1 + np.exp(-4 * (RAMP.astype(float) - 2000) / 1000))
    np.testing.assert_allclose(imaging.decode(ds).pixels, expected, atol=1e-5)
    ds = dx(WindowCenter=2048, WindowWidth=4096, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(imaging.decode(ds).pixels, RAMP / 4096, atol=1e-6)


@pytest.mark.parametrize("slope", [0, "", None])
def test_an_unusable_rescale_slope_is_taken_as_one(slope: object) -> None:
    ds = dx(RescaleIntercept=0, **IDENTITY)
    ds.add_new("RescaleSlope", "DS", slope)
    radiograph = imaging.decode(ds)
    np.testing.assert_allclose(radiograph.pixels, RAMP / 4095, atol=1e-5)
    assert any("Slope" in note for note in radiograph.notes)


@pytest.mark.parametrize(
    ("photometric", "sign", "inverted"),
    [
        ("MONOCHROME1", 1, True),
        ("MONOCHROME1", -1, False),
        ("MONOCHROME2", 1, True),
        ("MONOCHROME2", -1, False),
    ],
)
def test_an_image_for_processing_has_bright_bone(
    photometric: str, sign: int, *, inverted: bool
) -> None:
    ds = dx(PhotometricInterpretation=photometric, PixelIntensityRelationshipSign=sign, **IDENTITY)
    ds.PresentationIntentType = "FOR PROCESSING"
    expected = 1 - RAMP / 4095 if inverted else RAMP / 4095
    np.testing.assert_allclose(imaging.decode(ds).pixels, expected, atol=1e-5)


def test_the_sign_of_an_image_for_presentation_is_not_used() -> None:
    ds = dx(PixelIntensityRelationshipSign=1, PresentationIntentType="FOR PRESENTATION", **IDENTITY)
    np.testing.assert_allclose(imaging.decode(ds).pixels, RAMP / 4095, atol=1e-5)


def test_bits_above_bits_stored_are_no_part_of_the_value() -> None:
    # PS3.5 8.1.1; old overlays lie there.
    ds = dx((RAMP | 0x8000).astype(np.uint16), **IDENTITY)
    np.testing.assert_allclose(imaging.decode(ds).pixels, RAMP / 4095, atol=1e-5)


def test_an_overlay_is_not_burned_in() -> None:
    ds = dx(**IDENTITY)
    ds.add_new(0x60000010, "US", 16)
    ds.add_new(0x60000011, "US", 16)
    ds.add_new(0x60003000, "OW", b"\xff" * 32)
    np.testing.assert_allclose(imaging.decode(ds).pixels, RAMP / 4095, atol=1e-5)


def test_signed_pixels_of_twelve_bits() -> None:
    signed = RAMP.astype(np.int16) - 2048
    # The sign stands in bit 11; what lies above may be anything.
    ds = dx((signed & 0x0FFF).astype(np.int16), WindowCenter=0, WindowWidth=4096)
    np.testing.assert_allclose(imaging.decode(ds).pixels, RAMP / 4095, atol=1e-4)


def test_each_frame_can_be_decoded(tmp_path: Path) -> None:
    ds = dx(**IDENTITY)
    ds.NumberOfFrames = 3
    ds.PixelData = RAMP.tobytes() + (4095 - RAMP).tobytes() + RAMP.tobytes()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.save_as(tmp_path / "frames.dcm", enforce_file_format=True)
    opened = imaging.open_image(tmp_path / "frames.dcm")
    assert opened.frames == 3
    for index, expected in enumerate((RAMP, 4095 - RAMP, RAMP)):
        found = opened.radiograph(index).pixels
        np.testing.assert_allclose(found, expected / 4095, atol=1e-5)


def test_colour_is_turned_to_grey_and_said_so() -> None:
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[:8] = 100
    rgb[8:, :, 1] = 255
    ds = dx(PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = rgb.tobytes()
    radiograph = imaging.decode(ds)
    assert radiograph.pixels.shape == (16, 16)
    assert radiograph.pixels[12, 0] > radiograph.pixels[0, 0]
    assert any("colour" in note for note in radiograph.notes)


def test_a_palette_is_turned_to_grey() -> None:
    ds = dx(PhotometricInterpretation="PALETTE COLOR")
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = np.arange(256, dtype=np.uint8).tobytes()
    table = np.arange(255, -1, -1, dtype=np.uint16) * 257
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", table.tobytes())
    pixels = imaging.decode(ds).pixels
    assert pixels[0, 0] == pytest.approx(1)
    assert pixels[15, 15] == pytest.approx(0)


def test_floats_with_holes() -> None:
    values = (RAMP / 4095).astype(np.float32)
    values[0, 0] = np.nan
    ds = dx()
    del ds.PixelData
    ds.FloatPixelData, ds.BitsAllocated = values.tobytes(), 32
    assert np.isfinite(imaging.decode(ds).pixels).all()


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "P", "1", "LA"])
def test_pictures_of_every_mode(tmp_path: Path, mode: str) -> None:
    eight = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    path = tmp_path / "hip.png"
    if mode == "I;16":
        Image.fromarray(eight.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(eight).convert(mode).save(path)
    header, radiograph = imaging.load_picture(path)
    assert radiograph.pixels[:, -1].mean() > radiograph.pixels[:, 0].mean() + 0.9
    assert any("no DICOM header" in note for note in radiograph.notes)
    assert header.patient_id == ""
    again, _ = imaging.load_picture(path)
    assert header.sop_instance_uid == again.sop_instance_uid


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hip.jpg"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    whole = path.read_bytes()
    for content in (b"", b"not a picture", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(PixelsUnreadable):
            imaging.load_picture(path)
    with pytest.raises(PixelsUnreadable):
        imaging.load_picture(tmp_path / "absent.png")
