"""Images with a label and with what was said of them: read now, or by the node before."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from hipnode import dicom, imaging
from hipnode.domain import Header, Instance, Reading, Side
from hipnode.errors import HeaderUnusable, NotDicom, PixelsUnreadable
from hipnode.services.modelsets import ModelSets
from hipnode.services.worker import reader
from hipnode.storage import Store
from hipnode.validation.labels import Label, Unused

_AT_ONCE = 200


@dataclass(frozen=True)
class Case:
    """One image. ``reading`` is None where the node gave it up: ``failure`` says why.

    ``patient`` is "" where nobody says whose image it is. ``path`` is of a file outside the node.
    """

    name: str
    label: Label
    reading: Reading | None
    failure: str = ""
    path: Path | None = None
    stored: str = ""  # where the node keeps it
    study: str = ""
    patient: str = ""
    station: str = ""
    sex: str = ""
    age_years: float | None = None
    view: str = ""  # as the label has it


@dataclass(frozen=True)
class Gathered:
    """All that was read, and all that could not be used."""

    cases: tuple[Case, ...]
    unused: tuple[Unused, ...]
    unlabelled: int = 0  # images of the folder that no row speaks of


Tell = Callable[[int, int], None]


def read_folder(
    folder: Path | None,
    labels: Sequence[Label],
    base: reader.ReaderSpec,
    sets: ModelSets,
    *,
    tell: Tell = lambda _done, _of: None,
) -> Gathered:
    """Read the images that the labels speak of, with the worker's own code.

    Parameters
    ----------
    folder
        Where they lie; None where the labels have whole paths.
    labels
        What is true of them.
    base, sets
        How the node reads, and which models read which image.
    tell
        Called with how many images are done, and of how many.

    Raises
    ------
    BundleRefused
        If a model set cannot be loaded.
    """
    pairs, unused, unlabelled = _pairs(folder, labels)
    images, more = _images(folder, pairs)
    unused += more
    cases: list[Case] = []
    for done, one in enumerate(images):
        tell(done, len(images))
        try:
            facts = one.header.facts("") if one.header else {}
            chosen = sets.references[sets.choose(facts).reported]
            reading = reader.read_image(replace(base, model_set=chosen), one.path)
        except (NotDicom, HeaderUnusable, PixelsUnreadable) as error:
            unused.append(Unused(one.label.at, one.name, str(error)))
            continue
        cases.append(_case(one.name, one.label, one.header, reading, path=one.path))
    tell(len(images), len(images))
    return Gathered(tuple(cases), tuple(unused), unlabelled)


@dataclass(frozen=True)
class _Image:
    label: Label
    path: Path
    name: str
    header: Header | None

    @property
    def key(self) -> str:
        """What two files that are one image have in common."""
        return self.header.sop_instance_uid if self.header else str(self.path.resolve())


def _images(
    folder: Path | None, pairs: Sequence[tuple[Label, Path]]
) -> tuple[list[_Image], list[Unused]]:
    """Return the files that are images, less those that are one image with different labels."""
    images: list[_Image] = []
    unused: list[Unused] = []
    for label, path in pairs:
        name = str(path.relative_to(folder)) if folder else f"{path.parent.name}/{path.name}"
        try:
            images.append(_Image(label, path, name, header_of(path)))
        except (NotDicom, HeaderUnusable) as error:
            unused.append(Unused(label.at, name, str(error)))
    same: dict[str, list[_Image]] = {}
    for one in images:
        same.setdefault(one.key, []).append(one)
    at_odds = {key for key, some in same.items() if not _agree([one.label for one in some])}
    for key in sorted(at_odds):
        names = ", ".join(one.name for one in same[key][:3])
        more = ", ..." if len(same[key]) > 3 else ""
        why = f"{names}{more} are one image, and contradict each other"
        unused += [Unused(one.label.at, one.name, why) for one in same[key]]
    return [one for one in images if one.key not in at_odds], unused


def _agree(labels: Sequence[Label]) -> bool:
    sides = ({label.sides[s] for label in labels if s in label.sides} for s in Side)
    return len({label.broken for label in labels}) == 1 and all(len(said) < 2 for said in sides)


def header_of(path: Path) -> Header | None:
    """Return the header of a DICOM file; a picture has none.

    Raises
    ------
    NotDicom, HeaderUnusable
        If it is neither.
    """
    picture = path.suffix.lower() in imaging.PICTURE_SUFFIXES
    return None if picture else dicom.read_header(path)


def _pairs(
    folder: Path | None, labels: Sequence[Label]
) -> tuple[list[tuple[Label, Path]], list[Unused], int]:
    """Return each label with each of its files."""
    if folder is None:
        return [(label, Path(label.value)) for label in labels], [], 0
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    by_key = _index(folder, files, {label.key for label in labels})
    pairs, unused, taken = [], [], dict[Path, Label]()
    for label in labels:
        found = by_key.get((label.key, label.value.replace("\\", "/")), [])
        if label.key == "file" and len(found) > 1:
            unused.append(Unused(label.at, label.value, "several files have this name"))
            continue
        if not found:
            why = "there is no such file" if label.key == "file" else "no image has it"
            unused.append(Unused(label.at, label.value, why))
        for path in found:
            if path in taken:
                why = f"{taken[path].at} speaks of the same image"
                unused.append(Unused(label.at, label.value, why))
                continue
            taken[path] = label
            pairs.append((label, path))
    images = {p for (key, _), paths in by_key.items() if key == "image" for p in paths}
    return pairs, unused, len(images - set(taken))


def _index(
    folder: Path, files: Sequence[Path], keys: set[str]
) -> dict[tuple[str, str], list[Path]]:
    """Return files by what labels can name them by; a bare name will do where it is the only one.

    Under the key ``image`` stand the files that can be an image at all.
    """
    index: dict[tuple[str, str], list[Path]] = {}
    for path in files:
        relative = path.relative_to(folder).as_posix()
        index.setdefault(("file", relative), []).append(path)
        if relative != path.name and not (folder / path.name).exists():
            index.setdefault(("file", path.name), []).append(path)
        picture = path.suffix.lower() in imaging.PICTURE_SUFFIXES
        if not picture and not dicom.is_dicom(path):
            continue
        index.setdefault(("image", ""), []).append(path)
        if picture or keys <= {"file"}:
            continue
        try:
            header = dicom.read_header(path)
        except (NotDicom, HeaderUnusable):
            continue
        index.setdefault(("sop_instance_uid", header.sop_instance_uid), []).append(path)
        index.setdefault(("accession_number", header.accession_number), []).append(path)
    return index


def from_node(
    store: Store, labels: Sequence[Label], sets: ModelSets, wanted: str | None = None
) -> Gathered:
    """Take what the node has read already; nothing is read again.

    Parameters
    ----------
    store
        The node's.
    labels
        By SOP Instance UID or accession number.
    sets
        The rules that say which set's word is reported of an image.
    wanted
        The digest of another set instead: one that reads in shadow, say.
    """
    cases: list[Case] = []
    unused = [
        Unused(x.at, x.value, "the node knows images by UID and accession number, not by file")
        for x in labels
        if x.key == "file"
    ]
    for key in _KEYS:
        mine = [label for label in labels if label.key == key]
        for start in range(0, len(mine), _AT_ONCE):
            some = mine[start : start + _AT_ONCE]
            rows = store.readings.by(key, [label.value for label in some])
            tests = store.self_tests.images([row[1].header.sop_instance_uid for row in rows])
            rows = [row for row in rows if row[1].header.sop_instance_uid not in tests]
            for label in some:
                found = [(i, digest, made) for by, i, digest, made in rows if by == label.value]
                got, why = _reported(found, sets, wanted)
                cases += [_of_node(label, *one) for one in got]
                if not got:
                    unused.append(Unused(label.at, label.value, why))
    seen: dict[str, Case] = {}
    for case in cases:
        first = seen.setdefault(case.name, case)
        if first is not case:
            why = f"{first.label.at} speaks of the same image"
            unused.append(Unused(case.label.at, case.label.value, why))
    return Gathered(tuple(seen.values()), tuple(unused))


_KEYS: Final[tuple[Literal["sop_instance_uid", "accession_number"], ...]] = (
    "sop_instance_uid",
    "accession_number",
)


def _reported(
    found: Sequence[tuple[Instance, str, Reading | str]], sets: ModelSets, wanted: str | None
) -> tuple[list[tuple[Instance, Reading | str]], str]:
    """Return the readings of the set that is asked about; or why there is none."""
    if not found:
        return [], "the node has no image that it read under it"
    kept = [
        (instance, made)
        for instance, digest, made in found
        if digest == (wanted or sets.choose(instance.header.facts(instance.calling_ae)).reported)
    ]
    others = sorted({digest[:12] for _, digest, _ in found})
    return kept, f"it was read by other model sets only: {', '.join(others)}"


def _of_node(label: Label, instance: Instance, made: Reading | str) -> Case:
    header = instance.header
    failed = isinstance(made, str)
    case = _case(
        header.sop_instance_uid,
        label,
        header,
        None if isinstance(made, str) else _out_of_shadow(made),
        failure=(str(made) or "given up") if failed else "",
    )
    return replace(case, stored=instance.path)


def _out_of_shadow(made: Reading) -> Reading:
    """Return what a set said in shadow as if it had been reported: here it is judged."""
    hips = (
        replace(hip, findings=tuple(replace(f, shadow=False) for f in hip.findings))
        for hip in made.hips
    )
    return replace(made, hips=tuple(hips))


def _case(
    name: str,
    label: Label,
    header: Header | None,
    reading: Reading | None,
    *,
    failure: str = "",
    path: Path | None = None,
) -> Case:
    facts = label.facts
    age = header.age_years if header else None
    if number := re.search(r"\d+(\.\d+)?", facts.get("age", "")):
        age = float(number[0])
    return Case(
        name=name,
        label=label,
        reading=reading,
        failure=failure,
        path=path,
        study=header.study_instance_uid if header else "",
        patient=facts.get("patient_id", header.patient_id if header else ""),
        station=facts.get("station", header.station_name if header else ""),
        sex=facts.get("sex", header.patient_sex if header else "").upper()[:1],
        age_years=age,
        view=facts.get("view", ""),
    )
