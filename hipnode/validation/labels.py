"""What a site says about its images: one CSV row an image, a study or a hip; or two folders.

A row names its image by ``file``, ``sop_instance_uid`` or ``accession_number``, and says ``label``
(of the image, or with ``side`` of that hip), or ``right_label`` and ``left_label``: sides are the
patient's. ``patient_id``, ``station``, ``age``, ``sex`` and ``view`` count before the header's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hipnode import tables
from hipnode.domain import Side
from hipnode.errors import ManifestInvalid

KEYS: Final = ("file", "sop_instance_uid", "accession_number")
"""What a row can name its image by; the first that is not empty counts."""
FACTS: Final = ("patient_id", "station", "age", "sex", "view")
_ALIASES: Final = {"accession": "accession_number", "sop": "sop_instance_uid"}
POSITIVE: Final = frozenset(
    "1 yes y true positive fracture fractured broken trochanteric pertrochanteric "
    "intertrochanteric subtrochanteric intracapsular extracapsular".split()
)
"""Words that say that there is a fracture of the proximal femur, of whatever class."""
_PLAIN_YES: Final = frozenset("1 yes y true positive fracture fractured broken".split())
NEGATIVE: Final = frozenset(
    "0 no n false negative none normal intact no_fracture unfractured".split()
)


@dataclass(frozen=True, slots=True)
class Words:
    """Which words mean a fracture, and which none."""

    positive: frozenset[str] = POSITIVE
    negative: frozenset[str] = NEGATIVE

    @staticmethod
    def with_more(positive: Iterable[str] = (), negative: Iterable[str] = ()) -> Words:
        """Return the usual words, and a site's own, which count before them.

        Raises
        ------
        ManifestInvalid
            If a word is given for both.
        """
        more, less = frozenset(map(_plain, positive)), frozenset(map(_plain, negative))
        if both := more & less:
            raise ManifestInvalid(f"{min(both)!r} cannot mean a fracture and none")
        return Words((POSITIVE - less) | more, (NEGATIVE - more) | less)

    def meaning(self, cell: str) -> bool | None:
        """Return what a cell says; None where it is empty.

        Raises
        ------
        ManifestInvalid
            If the word is none of those known.
        """
        word = _plain(cell)
        if not word:
            return None
        if word in self.positive or word in self.negative:
            return word in self.positive
        raise ManifestInvalid(f"{cell.strip()[:40]!r} is neither a fracture nor none")


def _plain(text: str) -> str:
    return "_".join(text.lower().replace("-", " ").replace("_", " ").split())


@dataclass(frozen=True, slots=True)
class Label:
    """What is true of one image, or of each image of a study.

    ``sides`` holds what is said of each hip; empty where only the whole image has a label.
    """

    at: str  # where it stands: "line 7", or a folder
    key: str  # one of `KEYS`
    value: str
    broken: bool
    sides: Mapping[Side, bool] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""  # of fracture, in the site's words


@dataclass(frozen=True, slots=True)
class Unused:
    """A row or an image that could not be used, and why."""

    at: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class _Said:
    """One row, before rows about the same image are put together."""

    at: str
    key: str
    value: str
    image: bool | None
    sides: Mapping[Side, bool]
    facts: Mapping[str, str]
    kinds: frozenset[str]


def read_labels(
    path: Path, words: Words, split: str | None = None
) -> tuple[list[Label], list[Unused]]:
    """Read a file of labels; a training manifest is one.

    Parameters
    ----------
    path
        CSV, as `hipnode.tables` reads it.
    words
        What the labels mean.
    split
        Of a manifest, the split whose rows are asked for (its column ``split``); None for all.

    Raises
    ------
    ManifestInvalid
        If the file cannot be read, or lacks a column that names images or one that labels them.
    """
    table = tables.read(path, _column)
    columns, rows = set(table.columns), table.rows
    if not set(KEYS) & columns:
        raise ManifestInvalid(f"{path} has none of the columns {', '.join(KEYS)}")
    if not {"label", "right_label", "left_label"} & columns:
        raise ManifestInvalid(f"{path} has no column label, right_label or left_label")
    if split is not None:
        rows = tuple(row for row in rows if row.cells.get("split") == split)
        if not rows:
            raise ManifestInvalid(f"{path} has no row of the split {split!r}")
    said: list[_Said] = []
    unused: list[Unused] = []
    for row in rows:
        at = f"line {row.line}"
        try:
            if row.is_too_long:
                raise ManifestInvalid("it has more cells than the header")
            said.append(_row(at, row.cells, words))
        except ManifestInvalid as error:
            unused.append(Unused(at, _name(row.cells), str(error)))
    labels, conflicts = _together(said)
    return labels, unused + conflicts


def of_folders(broken: Path, intact: Path) -> list[Label]:
    """Return a label for each file of two folders: the one has fractures, the other none.

    Raises
    ------
    ManifestInvalid
        If the one is the other, or lies in it.
    """
    real = broken.resolve(), intact.resolve()
    if real[0].is_relative_to(real[1]) or real[1].is_relative_to(real[0]):
        raise ManifestInvalid(f"{broken} and {intact} have the same images")
    return [
        Label(folder.name, "file", str(file), is_broken)
        for folder, is_broken in ((broken, True), (intact, False))
        for file in sorted(f for f in folder.rglob("*") if f.is_file())
    ]


def _column(name: str) -> str:
    return _ALIASES.get(_plain(name), _plain(name))


def _name(cells: Mapping[str, str]) -> str:
    return next((cells[key] for key in KEYS if cells.get(key)), "")


def _row(at: str, cells: Mapping[str, str], words: Words) -> _Said:
    key = next((k for k in KEYS if cells.get(k)), None)
    if key is None:
        raise ManifestInvalid(f"none of {', '.join(KEYS)} is filled in")
    image = words.meaning(cells.get("label", ""))
    sides = {
        side: said
        for side in (Side.RIGHT, Side.LEFT)
        if (said := words.meaning(cells.get(f"{side.name.lower()}_label", ""))) is not None
    }
    if image is not None and (side_cell := cells.get("side", "")):
        side = Side.meant_by(side_cell)
        if side not in (Side.RIGHT, Side.LEFT):
            raise ManifestInvalid(f"the side {side_cell[:20]!r} is neither R nor L")
        sides[side], image = image, None
    if image is None and not sides:
        raise ManifestInvalid("there is no label")
    if image is not None and sides and image != any(sides.values()):
        raise ManifestInvalid("the label of the image is not that of its sides")
    facts = {name: cells[name] for name in FACTS if cells.get(name)}
    labels = (cells.get(name, "") for name in ("label", "right_label", "left_label"))
    kinds = {cell for cell in labels if words.meaning(cell) and _plain(cell) not in _PLAIN_YES}
    return _Said(at, key, cells[key], image, sides, facts, frozenset(kinds))


def _together(said: Sequence[_Said]) -> tuple[list[Label], list[Unused]]:
    """Put rows about the same image together: one may speak of each side."""
    by_image: dict[tuple[str, str], list[_Said]] = {}
    for row in said:
        by_image.setdefault((row.key, row.value), []).append(row)
    labels, unused = [], []
    for (key, value), rows in by_image.items():
        sides: dict[Side, set[bool]] = {}
        for row in rows:
            for side, broken in row.sides.items():
                sides.setdefault(side, set()).add(broken)
        whole = {row.image for row in rows if row.image is not None}
        known = {side: next(iter(one)) for side, one in sides.items()}
        contradiction = len(whole) > 1 or any(len(one) > 1 for one in sides.values())
        if contradiction or (whole and known and whole != {any(known.values())}):
            lines = ", ".join(row.at for row in rows)
            unused += [Unused(row.at, value, f"{lines} contradict each other") for row in rows]
            continue
        facts = {name: text for row in rows for name, text in row.facts.items()}
        broken = any(known.values()) if known else True in whole
        kinds = sorted({kind for row in rows for kind in row.kinds})
        kind = " and ".join(kinds)
        labels.append(Label(rows[0].at, key, value, broken, known, facts, kind))
    return labels, unused
