"""What runs in a reading process: foreign bytes are decoded, and the models run, only there.

A file that kills the decoder or the model kills this process and costs one attempt of one job.
The worker's own process never touches pixels, and this one never touches the database.
"""

from __future__ import annotations

import hashlib
import os
import resource
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray

from hipnode import dicom, digests, imaging, nets, reading, reporting
from hipnode.domain import Abstention, AbstentionReason, Header, Radiograph, Reading, ResultKind
from hipnode.errors import PixelsUnreadable, StorageUnavailable
from hipnode.faults import Point, reach
from hipnode.settings import Settings

_KEPT_VIEWS: Final = 32


@dataclass(frozen=True)
class ReaderSpec:
    """What a reading process needs to know."""

    model_set: str
    device: Literal["auto", "cpu", "openvino", "cuda"]
    threads: int
    memory_limit_bytes: int
    max_pixels: int
    policy: reading.ReadPolicy
    shadow: bool = False  # what it finds is marked as not to be reported
    views: Path | None = None  # where reading processes leave pictures for each other's reports


def reader_spec(settings: Settings) -> ReaderSpec:
    """Return what the settings say to a reading process."""
    worker = settings.worker
    shared_out = max(1, (os.cpu_count() or 1) // worker.processes)
    return ReaderSpec(
        model_set=worker.model_set,
        device=worker.device,
        threads=worker.threads or shared_out,
        memory_limit_bytes=worker.memory_limit_bytes,
        max_pixels=worker.max_pixels,
        policy=reading.ReadPolicy(worker.minimum_age_years, worker.read_implants),
    )


@dataclass(frozen=True)
class Source:
    """One image of a study for its report: where it lies and what became of it."""

    path: Path
    digest: str  # of the file as received; may be empty
    reading: Reading | None
    failure: str = ""


@dataclass(frozen=True)
class BuiltFile:
    """One result of a report, as a file that nobody has made durable yet."""

    kind: ResultKind
    sop_class_uid: str
    sop_instance_uid: str
    path: Path
    sha256: str  # of the file's content
    notes: tuple[str, ...] = ()
    stands_for_sr: bool = False  # a text where there is nothing to measure
    patient_id: str = ""


def _models(spec: ReaderSpec) -> nets.ModelSet:
    """Return the models, which are loaded once in the life of the process."""
    if spec.memory_limit_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (spec.memory_limit_bytes,) * 2)
    return _loaded(spec.model_set, spec.device, spec.threads)


_loaded = cache(nets.load_model_set)


@dataclass(frozen=True)
class Warmed:
    """A model set that is loaded: its name and digest, and each model's name and version."""

    name: str
    digest: str
    models: dict[str, str]


def warm(spec: ReaderSpec) -> Warmed:
    """Load the models, and what the first report needs; return which they are.

    Raises
    ------
    BundleRefused
        If the set, or a bundle in it, is not what it says it is.
    """
    models = _models(spec)
    reporting.prepare()
    loaded = {role.value: f"{m.spec.name} {m.spec.version}" for role, m in models.models.items()}
    return Warmed(models.name, models.digest, loaded)


def read_image(spec: ReaderSpec, path: Path, digest: str = "") -> Reading:
    """Read one image. Pixels that cannot be decoded make an abstention, not an error.

    Parameters
    ----------
    spec
        With what.
    path
        Where it lies.
    digest
        Of the file as it was received; "" where nobody knows.

    Raises
    ------
    ImageDamaged
        If the file is another by now: nothing of it is read.
    NotDicom, HeaderUnusable
        If the file cannot even be identified.
    PixelsUnreadable
        If it is a picture (PNG, JPEG) that is damaged.
    """
    models = _models(spec)
    reach(Point.READING_BEGUN)
    if digest:
        digests.check_image(path, digest)
    began_s = time.perf_counter()
    try:
        header, radiograph = _load(spec, path)
    except PixelsUnreadable as error:
        if path.suffix.lower() in imaging.PICTURE_SUFFIXES:
            raise
        header = dicom.read_header(path)
        return _unreadable(header, models, str(error))
    decoded_s = time.perf_counter()
    if spec.views is not None:
        _keep(_view(radiograph.pixels), _kept_at(spec.views, path))
    result = reading.read(header, radiograph, models, spec.policy)
    timings = {
        "decode": round((decoded_s - began_s) * 1000, 1),
        "read": round((time.perf_counter() - decoded_s) * 1000, 1),
    }
    reach(Point.READING_MADE)
    return replace(_in_shadow(result) if spec.shadow else result, timings_ms=timings)


def _in_shadow(made: Reading) -> Reading:
    """Mark every finding as one that is never reported."""
    hips = (
        replace(hip, findings=tuple(replace(f, shadow=True) for f in hip.findings))
        for hip in made.hips
    )
    return replace(made, hips=tuple(hips))


def _load(spec: ReaderSpec, path: Path) -> tuple[Header, Radiograph]:
    """Load a DICOM file, or a picture (`hipnode read` takes those too)."""
    picture = path.suffix.lower() in imaging.PICTURE_SUFFIXES
    return (imaging.load_picture if picture else imaging.load)(path, max_pixels=spec.max_pixels)


def _unreadable(header: Header, models: nets.ModelSet, why: str) -> Reading:
    return Reading(
        sop_instance_uid=header.sop_instance_uid,
        rows=0,
        columns=0,
        model_set=models.name,
        model_set_digest=models.digest,
        abstention=Abstention(AbstentionReason.UNREADABLE, why),
    )


def _view(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the picture of an image in the size in which captures show it."""
    scale = min(1.0, reporting.LONG_SIDE_PX / max(pixels.shape))
    size = (max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale)))
    grey = np.rint(np.clip(imaging.resample(pixels, size), 0, 1) * 255)
    return grey.astype(np.uint8)


def _kept_at(views: Path, path: Path) -> Path:
    return views / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.npy"


def _keep(view: NDArray[np.uint8], file: Path) -> None:
    """Leave a picture to whichever process builds the report; if that fails, it is made again."""
    try:
        np.save(file, view)
        _forget_oldest(file.parent)
    except OSError:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _forget_oldest(folder: Path) -> None:
    kept = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    for file in kept[:-_KEPT_VIEWS]:
        file.unlink(missing_ok=True)


def _view_of(spec: ReaderSpec, path: Path) -> NDArray[np.uint8] | None:
    """Return the picture that the reading left, or a new one; None if it cannot be decoded."""
    if spec.views is not None:
        with suppress(OSError, ValueError, EOFError):
            kept: NDArray[np.uint8] = np.load(_kept_at(spec.views, path))
            return kept
    try:
        _, radiograph = _load(spec, path)
    except PixelsUnreadable:
        return None
    return _view(radiograph.pixels)


def build_report(
    spec: ReaderSpec,
    sources: tuple[Source, ...],
    request: Callable[[tuple[reporting.SourceImage, ...]], reporting.ReportRequest],
    folder: Path,
) -> list[BuiltFile]:
    """Make the objects of one report.

    Parameters
    ----------
    spec
        For decoding the pictures again, where this process has not just read them.
    sources
        The images of the study.
    request
        Makes the request from the images: a partial `reporting.ReportRequest`.
    folder
        Where the objects are put, for the worker to keep: they are too large to be sent to it.

    Raises
    ------
    ImageDamaged
        If an image's file is another than the one that was received: no report is made of it.
    ReportRefused
        If the study's identity cannot be carried over without inventing something.
    DiskFull, StorageUnavailable
        If the disk does not take them.
    """
    images = tuple(source_image(spec, source) for source in sources)
    asked = request(images)
    return _all_written([*reporting.build(asked), *reporting.build_messages(asked)], folder)


def build_notes(
    spec: ReaderSpec,  # noqa: ARG001 - as every call of a reading process has one
    paths: tuple[Path, ...],
    withdrawal: Callable[[tuple[pydicom.Dataset, ...]], reporting.Withdrawal],
    folder: Path,
) -> list[BuiltFile]:
    """Make the rejection notes for own objects.

    Parameters
    ----------
    spec
        Not used.
    paths
        The objects.
    withdrawal
        Makes the request from their headers: a partial `reporting.Withdrawal`.
    folder
        As for `build_report`.
    """
    headers = tuple(dicom.open_dicom(path, pixels=False) for path in paths)
    return _all_written(reporting.rejection_notes(withdrawal(headers)), folder)


def _all_written(
    built: Sequence[reporting.BuiltObject | reporting.BuiltMessage], folder: Path
) -> list[BuiltFile]:
    made: list[BuiltFile] = []
    try:
        for one in built:
            made.append(_written(one, folder))  # noqa: PERF401 - an error must find them
    except BaseException:
        for file in made:
            file.path.unlink(missing_ok=True)
        raise
    return made


def _written(built: reporting.BuiltObject | reporting.BuiltMessage, folder: Path) -> BuiltFile:
    data = built.to_bytes()
    path = folder / f"{os.getpid()}-{uuid.uuid4().hex}"
    try:
        with open(path, "xb", opener=partial(os.open, mode=0o600)) as file:
            file.write(data)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StorageUnavailable.of(error) from error
    digest = hashlib.sha256(data).hexdigest()
    return BuiltFile(
        kind=built.kind,
        sop_class_uid=built.sop_class_uid,
        sop_instance_uid=built.sop_instance_uid,
        path=path,
        sha256=digest,
        notes=built.notes,
        stands_for_sr=built.stands_for_sr,
        patient_id=built.patient_id,
    )


def source_image(spec: ReaderSpec, source: Source) -> reporting.SourceImage:
    """Return one image as `reporting` wants it: its header, its reading, its picture.

    Raises
    ------
    ImageDamaged
        If its file is another than the one that was received and read.
    """
    if source.digest:
        digests.check_image(source.path, source.digest)
    picture = source.path.suffix.lower() in imaging.PICTURE_SUFFIXES
    dataset = pydicom.Dataset() if picture else dicom.open_dicom(source.path, pixels=False)
    pixels = _view_of(spec, source.path) if source.reading is not None else None
    return reporting.SourceImage(dataset, source.reading, source.failure, pixels, source.digest)
