"""However one radiograph is stored, the reading is the same, or the reason is named."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels.utils import compress
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

import hipnode
from hipnode import imaging, nets
from hipnode.domain import Reading, Task, Verdict
from hipnode.imaging import by_header
from hipnode.reading import ReadPolicy, read
from hipnode.services.worker import reader
from tests import storings
from tests.node import HIPNODE
from tests.peers import run
from tests.storings import EXACT, NAMED, NEAR, Pixels

pytestmark = pytest.mark.slow
SAMPLE = Path(hipnode.__file__).parent / "phantom" / "samples" / "fracture.dcm"
SPEC = reader.ReaderSpec("default", "cpu", 1, 0, 10_000_000, ReadPolicy())


@cache
def plain() -> tuple[pydicom.Dataset, Pixels]:
    ds = pydicom.dcmread(SAMPLE)
    pixels = ds.pixel_array.astype("<u2")
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return storings.stored(ds, pixels), pixels


@cache
def picture() -> np.ndarray:
    return canonical(plain()[0])


def canonical(ds: pydicom.Dataset) -> np.ndarray:
    """The canonical picture with the grey levels that networks and captures are given."""
    image = imaging.decode(ds)
    way = by_header(hipnode.dicom.read_header(ds), image)
    assert way is not None
    pixels = way.picture(image.pixels)
    low, high = np.percentile(pixels, (0.5, 99.5))
    return np.clip((pixels - low) / (high - low), 0, 1)


def read_from_disk(ds: pydicom.Dataset, folder: Path) -> Reading:
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.save_as(folder / "stored.dcm", enforce_file_format=True)
    return reader.read_image(SPEC, folder / "stored.dcm")


@cache
def expected() -> tuple[tuple[str, Verdict], ...]:
    header, image = imaging.load(SAMPLE)
    models = nets.load_model_set("default", device="cpu", threads=1)
    return verdicts(read(header, image, models, ReadPolicy()))


def verdicts(reading: Reading) -> tuple[tuple[str, Verdict], ...]:
    return tuple((hip.roi.side.value, hip.verdict) for hip in reading.hips)


def test_there_are_more_than_sixty_ways() -> None:
    assert len(EXACT) + len(NEAR) + len(NAMED) > 60
    assert len(EXACT) > 45
    assert {verdict for _, verdict in expected()} == {Verdict.DEFINITE, Verdict.NONE_SEEN}


@pytest.mark.parametrize("name", EXACT)
def test_the_picture_is_the_same(name: str) -> None:
    ds, pixels = plain()
    np.testing.assert_allclose(canonical(EXACT[name](ds, pixels)), picture(), atol=2e-3)


@pytest.mark.parametrize("name", NEAR)
def test_the_verdicts_are_the_same(name: str, tmp_path: Path) -> None:
    ds, pixels = plain()
    reading = read_from_disk(NEAR[name](ds, pixels), tmp_path)
    assert reading.abstention is None
    assert verdicts(reading) == expected()
    fractures = [
        f.p_positive for h in reading.hips for f in h.findings if f.task is Task.HIP_FRACTURE
    ]
    assert min(fractures) < 0.2
    assert max(fractures) > 0.9


def test_what_cannot_be_decoded_is_said_once(tmp_path: Path) -> None:
    """In the answer; the decoders write tracebacks and what headers say to standard error."""
    ds, _ = plain()
    broken = storings.wrapped(ds, [b"\xff\xd8" + bytes(300)], storings.JLS)
    mended = storings.EXACT["jls, zero before the end"](*plain())
    for name, stored in (("broken", broken), ("mended", mended)):
        stored.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        stored.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    done = run([*HIPNODE, "read", "--json", tmp_path], check=False)
    said = [json.loads(line)["abstained"] for line in done.stdout.splitlines()]
    assert said == ["undecodable", None]
    assert done.stderr == ""


@pytest.mark.parametrize("name", NAMED)
def test_what_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    reason, word, way = NAMED[name]
    reading = read_from_disk(way(*plain()), tmp_path)
    assert reading.abstention is not None
    assert reading.abstention.reason == reason
    assert word in reading.abstention.detail


@pytest.mark.parametrize("said", storings.COMPRESSED, ids=lambda syntax: str(syntax.name))
@pytest.mark.parametrize("coding", storings.CODINGS)
def test_a_frame_is_what_it_says_of_itself(coding: str, said: UID) -> None:
    """However a compressed frame is labelled, the codestream decides, and the reading says so."""
    syntaxes, encode = storings.CODINGS[coding]
    ds, pixels = plain()
    made = storings.wrapped(ds, [encode(ds, pixels)], said)
    np.testing.assert_allclose(canonical(made), picture(), atol=2e-2 if "lossy" in coding else 2e-3)
    wrong = [note for note in imaging.decode(made).notes if note.startswith("The compressed image")]
    assert any(" not " in note for note in wrong) == (said not in syntaxes)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_order_of_bytes_does_not_matter(syntax: str, tmp_path: Path) -> None:
    ds, pixels = plain()
    other = storings.stored(ds, pixels if syntax == ImplicitVRLittleEndian else pixels.byteswap())
    other.file_meta.TransferSyntaxUID = syntax
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    path = tmp_path / "stored.dcm"
    pydicom.dcmwrite(
        path, other, implicit_vr=implicit, little_endian=little, enforce_file_format=True
    )
    np.testing.assert_allclose(canonical(hipnode.dicom.open_dicom(path, pixels=True)), picture())


def test_a_second_transfer_syntax_in_the_data_set_is_not_believed(tmp_path: Path) -> None:
    ds, pixels = plain()
    path = tmp_path / "stored.dcm"
    storings.wrapped(ds, [storings.j2k(pixels)], storings.J2K).save_as(
        path, enforce_file_format=True
    )
    data = path.read_bytes()
    stop = 144 + int.from_bytes(data[140:144], "little")
    explicit = b"\x02\x00\x10\x00UI\x12\x001.2.840.10008.1.2\0"
    implicit = b"\x02\x00\x10\x00\x12\x00\x00\x001.2.840.10008.1.2\0"
    for second in (explicit, implicit, explicit + b"\x02\x00\x12\x00UI\x04\x001.2\0"):
        path.write_bytes(data[:stop] + second + data[stop:])
        opened = hipnode.dicom.open_dicom(path, pixels=True)
        assert opened.file_meta.TransferSyntaxUID == storings.J2K
        np.testing.assert_allclose(canonical(opened), picture())


@pytest.mark.parametrize("kind", ["j2k", "jls", "fragments", "rle"])
def test_each_compressed_frame_is_its_own(kind: str, tmp_path: Path) -> None:
    ds, pixels = plain()
    frames = pixels, 4095 - pixels, pixels
    if kind == "rle":
        made = storings.stored(ds, pixels, NumberOfFrames=3)
        made.PixelData = b"".join(frame.tobytes() for frame in frames)
        compress(made, RLELossless, generate_instance_uid=False)
    elif kind == "jls":
        made = storings.wrapped(ds, [storings.jls(frame) for frame in frames], storings.JLS)
    else:
        parts = [storings.j2k(frame) for frame in frames]
        if kind == "fragments":
            parts = [part for code in parts for part in storings.cut(code)]
        made = storings.wrapped(ds, parts, storings.J2K)
    made.NumberOfFrames = 3
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.save_as(tmp_path / "frames.dcm", enforce_file_format=True)
    opened = imaging.open_image(tmp_path / "frames.dcm")
    one, two, three = (opened.radiograph(index).pixels for index in range(opened.frames))
    np.testing.assert_allclose(two, 1 - one, atol=1e-3)
    np.testing.assert_array_equal(three, one)
