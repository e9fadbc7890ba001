"""DICOM files, opened with pydicom: whole, without their pixels, or within limits."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, cast

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_partial

from hipnode.dicom.bounded import PIXELS
from hipnode.dicom.filemeta import once
from hipnode.dicom.values import PARSE_ERRORS, mark_twice
from hipnode.errors import HeaderTooCostly, HeaderUnusable, NotDicom

_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_MAX_INFLATED_BYTES: Final = 1 << 29
_MAX_HEADER_BYTES: Final = 1 << 24
_PACKED_BYTES: Final = 1 << 16
_AS_EXPLICIT: Final = (
    bytes(128) + b"DICM\x02\0\0\0UL\x04\0\x1c\0\0\0\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
)
"""The file meta of a file in Explicit VR Little Endian."""
_MAX_ASKED_ELEMENTS: Final = 10_000
"""pydicom takes 50 microseconds and 700 bytes for an item: half a second and 7 MB."""
_MAX_ASKED_READS: Final = 3 * _MAX_ASKED_ELEMENTS
_MAX_ASKED_BYTES: Final = 1 << 22


def is_dicom(path: Path) -> bool:
    """Tell whether a file is in the DICOM File Format (PS3.10 7.1): 128 bytes, then ``DICM``."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def open_dicom(path: Path, *, pixels: bool) -> pydicom.FileDataset:
    """Read a DICOM file, with or without its pixel data; a missing file meta is forgiven.

    Parameters
    ----------
    path
        The file.
    pixels
        Whether to read the pixel data too.

    Raises
    ------
    NotDicom
        If the file is not DICOM, or breaks off before its header ends.
    HeaderUnusable
        If it is deflated and grows beyond what any radiograph needs.
    """
    return _opened(path, lambda file: _parsed(file, pixels=pixels), pixels=pixels)


def open_within(path: Path, only: AbstractSet[int], elements: int = 0) -> Dataset:
    """Read a few attributes of a file's header with pydicom, if that costs little.

    Parameters
    ----------
    path
        The file.
    only
        The tags.
    elements
        How many elements it is known to have; 0 where that is not known.

    Raises
    ------
    HeaderTooCostly
        If pydicom would have to look at more than a listener has time and memory for.
    NotDicom
        As for `open_dicom`.
    """
    if elements > _MAX_ASKED_ELEMENTS:
        raise HeaderTooCostly(f"Such an object has at most {_MAX_ASKED_ELEMENTS} elements.")
    metered: list[_Metered] = []

    def parsed(file: BinaryIO) -> pydicom.FileDataset:
        metered.append(_Metered(file))
        return _parsed(cast("BinaryIO", metered[0]), pixels=False, only=only)

    try:
        dataset = _opened(path, parsed, pixels=False, header_bytes=_MAX_ASKED_BYTES)
    except NotDicom:
        if metered and metered[0].spent:  # pydicom may make another error of it
            raise HeaderTooCostly(_Metered.WHY) from None
        raise
    return dataset


def _opened(
    path: Path,
    parsed: Callable[[BinaryIO], pydicom.FileDataset],
    *,
    pixels: bool,
    header_bytes: int = _MAX_HEADER_BYTES,
) -> pydicom.FileDataset:
    try:
        with path.open("rb") as file:
            if _DEFLATED in file.read(4096) and (meta := _deflated_meta(path)):
                limit = _MAX_INFLATED_BYTES if pixels else header_bytes
                dataset = parsed(_inflated(file, meta, limit, whole=pixels))
                dataset.file_meta = meta
            else:
                file.seek(0)
                dataset = parsed(file)
    except OSError as error:
        raise NotDicom(f"The file cannot be read: {error.strerror or error}.") from error
    except PARSE_ERRORS as error:
        raise NotDicom(f"The data set cannot be read: {_in_words(error)}.") from error
    return dataset


def _deflated_meta(path: Path) -> FileMetaDataset | None:
    """Return the file meta of a deflated file (PS3.5 A.5)."""
    meta = pydicom.filereader.read_file_meta_info(str(path))
    deflated = meta.get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian
    return meta if deflated else None


def _inflated(file: BinaryIO, meta: Dataset, limit_bytes: int, *, whole: bool) -> BytesIO:
    """Return a deflated file as one that is not, up to so many bytes.

    pydicom inflates the whole file at once: a few megabytes may ask for gigabytes.
    """
    file.seek(128 + 4 + 12 + int(meta.FileMetaInformationGroupLength))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = BytesIO()
    plain.write(_AS_EXPLICIT)
    while not inflater.eof and (packed := inflater.unconsumed_tail or file.read(_PACKED_BYTES)):
        left = limit_bytes - plain.tell()
        if left <= 0:
            if whole:
                raise HeaderUnusable("The deflated data set is larger than any radiograph.")
            break
        plain.write(inflater.decompress(packed, left))
    plain.seek(0)
    return plain


class _Metered:
    """A file that is read only so often, and only so many bytes of it."""

    WHY: Final = "The header takes more to understand than any image needs."

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads = 0
        self._bytes = 0
        self.seek = file.seek
        self.tell = file.tell

    @property
    def spent(self) -> bool:
        """Whether there is nothing left to read for."""
        return self._reads > _MAX_ASKED_READS or self._bytes > _MAX_ASKED_BYTES

    def read(self, size: int = -1) -> bytes:
        """Read; raise `HeaderTooCostly` where that is too much."""
        self._reads += 1
        if size < 0 or size > _MAX_ASKED_BYTES:
            size = _MAX_ASKED_BYTES + 1
        data = self._file.read(size)
        self._bytes += len(data)
        if self.spent:
            raise HeaderTooCostly(self.WHY)
        return data


def _parsed(
    file: BinaryIO, *, pixels: bool, only: AbstractSet[int] = frozenset()
) -> pydicom.FileDataset:
    """Parse a data set, and note which tags it has more than once."""
    seen: set[int] = set()
    twice: set[int] = set()

    def look(tag: int, vr: str | None, length: int) -> bool:  # noqa: ARG001
        if tag not in seen:
            seen.add(tag)
        elif len(seen) > 1:  # the first of all may be looked at twice
            twice.add(int(tag))
        return not pixels and tag in PIXELS

    dataset = read_partial(once(file), look, force=True, specific_tags=list(only) or None)
    if not seen - PIXELS:
        raise NotDicom
    if twice:
        mark_twice(dataset, twice)
    return dataset


def _in_words(error: BaseException) -> str:
    """Return what is wrong with a data set that the library gave up on, for its sender."""
    if isinstance(error, zlib.error):
        return "its deflated bytes are damaged"
    if isinstance(error, struct.error | EOFError | pydicom.errors.BytesLengthException):
        return "it breaks off within an element"
    if isinstance(error, MemoryError | RecursionError):
        return "it takes more memory than a header may"
    if isinstance(error, pydicom.errors.InvalidDicomError):
        return "it is not in the DICOM File Format"
    return "its elements are not in the form that their lengths say"
