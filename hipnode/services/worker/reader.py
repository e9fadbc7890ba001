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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from numpy.typing import NDArray

from hipnode import dicom, digests, imaging, nets, reading, reporting
from hipnode.domain import (
    Abstention,
    AbstentionReason,
    Header,
    ModelRef,
    Radiograph,
    Reading,
    ResultKind,
    Told,
)
from hipnode.errors import NotARadiograph, PixelsUnreadable, StorageUnavailable
from hipnode.faults import Point, reach
from hipnode.services.worker import pictures
from hipnode.settings import Settings


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
    pictured: bool = True  # whether anything is made that shows the image
    views: Path | None = None  # where reading processes leave pictures for each other's reports


def reader_spec(settings: Settings) -> ReaderSpec:
    """Return what the settings say to a reading process."""
    worker, days = settings.worker, settings.covariates.max_age_days
    shared_out = max(1, (os.cpu_count() or 1) // worker.processes)
    return ReaderSpec(
        model_set=worker.model_set,
        device=worker.device,
        threads=worker.threads or shared_out,
        memory_limit_bytes=worker.memory_limit_bytes,
        max_pixels=worker.max_pixels,
        policy=reading.ReadPolicy(worker.minimum_age_years, worker.read_implants, days),
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
    """A model set that is loaded: its name and digest, and by role the models in it."""

    name: str
    digest: str
    models: dict[str, ModelRef]


def prepare() -> None:
    """Bring in what the first image and the first report need."""
    reading.read, reporting.build  # noqa: B018 - brought in now, not when the first image waits
    reporting.prepare()


def warm(spec: ReaderSpec) -> Warmed:
    """Load the models; return which they are.

    Raises
    ------
    BundleRefused
        If the set, or a bundle in it, is not what it says it is.
    """
    models = _models(spec)
    loaded = {role.value: of.spec.ref for role, of in models.models.items()}
    loaded |= {f"{role.value}/clinical": of.spec.ref for role, of in models.clinical.items()}
    return Warmed(models.name, models.digest, loaded)


def read_image(
    spec: ReaderSpec, path: Path, digest: str = "", told: Sequence[Told] = ()
) -> Reading:
    """Read one image. Pixels that cannot be decoded make an abstention, not an error.

    Parameters
    ----------
    spec
        With what.
    path
        Where it lies.
    digest
        Of the file as it was received; "" where nobody knows.
    told
        What came from outside for its examination.

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
    decoding_s = 0.0
    seen: list[_Seen] = []
    try:
        header, frames, decoded = _frames(spec, path)
    except PixelsUnreadable as error:
        if path.suffix.lower() in imaging.PICTURE_SUFFIXES:
            raise
        return _undecodable(dicom.read_header(path), models, error)
    for index in range(min(frames, reading.FRAMES_LIMIT)):
        frame_s = time.perf_counter()
        try:
            radiograph = decoded(index)
        except PixelsUnreadable as error:
            seen.append(_Seen(_undecodable(header, models, error)))
            continue
        decoding_s += time.perf_counter() - frame_s
        seen.append(_seen(spec, header, radiograph, models, told))
    result = reading.of_object([one.reading for one in seen], frames)
    shown = seen[(result.frame or 1) - 1]
    if spec.views is not None and shown.picture is not None:
        pictures.keep(shown.picture, spec.views, path)
    timings = {
        "decode": round(decoding_s * 1000, 1),
        "read": round((time.perf_counter() - began_s - decoding_s) * 1000, 1),
    }
    reach(Point.READING_MADE)
    told_of = _in_shadow(result) if spec.shadow else result
    return replace(told_of, timings_ms=timings, measured=shown.measured)


@dataclass(frozen=True)
class _Seen:
    """What is made of one frame."""

    reading: Reading
    measured: dict[str, float] = field(default_factory=dict)
    picture: NDArray[np.uint8] | None = None


def _seen(
    spec: ReaderSpec,
    header: Header,
    radiograph: Radiograph,
    models: nets.ModelSet,
    told: Sequence[Told],
) -> _Seen:
    """Read a frame; what else is made of it is made beside that where there is a core for it."""
    lying = pictures.lying(radiograph) if spec.views and spec.pictured else None
    read = partial(reading.read, header, radiograph, models, spec.policy, told=told, lying=lying)

    def others() -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        return imaging.measured(radiograph), pictures.of(lying) if lying else None

    if spec.threads == 1:  # two threads would only stand in each other's way
        return _Seen(read(), *others())
    with ThreadPoolExecutor(1) as beside:
        made = beside.submit(others)
        return _Seen(read(), *made.result())


def picture_digest(spec: ReaderSpec, path: Path) -> str:
    """Return what a picture is known by; "" where it cannot be decoded."""
    try:
        return imaging.picture_digest(path, max_pixels=spec.max_pixels)
    except PixelsUnreadable:
        return ""


def _in_shadow(made: Reading) -> Reading:
    """Mark every finding as one that is never reported."""
    hips = (
        replace(hip, findings=tuple(replace(f, shadow=True) for f in hip.findings))
        for hip in made.hips
    )
    return replace(made, hips=tuple(hips))


def _frames(spec: ReaderSpec, path: Path) -> tuple[Header, int, Callable[[int], Radiograph]]:
    """Open a DICOM file, or a picture (`hipnode read` takes those too).

    Returns its header, how many frames it has, and what decodes one of them.
    """
    if path.suffix.lower() in imaging.PICTURE_SUFFIXES:
        header, radiograph = imaging.load_picture(path, max_pixels=spec.max_pixels)
        return header, 1, lambda _index: radiograph
    opened = imaging.open_image(path, max_pixels=spec.max_pixels)
    return opened.header, opened.frames, opened.radiograph


def _undecodable(header: Header, models: nets.ModelSet, why: PixelsUnreadable) -> Reading:
    radiograph = not isinstance(why, NotARadiograph)
    reason = AbstentionReason.UNDECODABLE if radiograph else AbstentionReason.NOT_A_RADIOGRAPH
    return Reading(
        sop_instance_uid=header.sop_instance_uid,
        rows=0,
        columns=0,
        model_set=models.name,
        model_set_digest=models.digest,
        abstention=Abstention(reason, str(why)),
    )


def _view_of(spec: ReaderSpec, path: Path, frame: int) -> NDArray[np.uint8] | None:
    """Return the picture that the reading left, or a new one; None if it cannot be decoded.

    ``frame`` is that of the reading, from 1.
    """
    if spec.views is not None:
        with suppress(OSError, ValueError, EOFError):
            return pictures.kept(spec.views, path)
    try:
        _, _, decoded = _frames(spec, path)
        return pictures.of(pictures.lying(decoded(frame - 1)))
    except PixelsUnreadable:
        return None


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
    """Return one image as `reporting` wants it: its header, its reading, its picture if shown.

    Raises
    ------
    ImageDamaged
        If its file is another than the one that was received and read.
    """
    if source.digest:
        digests.check_image(source.path, source.digest)
    picture = source.path.suffix.lower() in imaging.PICTURE_SUFFIXES
    dataset = pydicom.Dataset() if picture else dicom.open_dicom(source.path, pixels=False)
    made = source.reading
    pixels = None
    if made is not None and spec.pictured:
        pixels = _view_of(spec, source.path, made.frame or 1)
    return reporting.SourceImage(dataset, source.reading, source.failure, pixels, source.digest)
