"""What the words of a final report say of each hip: a fracture, none, or nothing that is clear.

Words are read with care: only a clause that says one thing plainly counts, negations are known, and
whatever is a doubt, a history or a healed fracture makes that side unclear. In English, German and
French. What follows from it is marked as read from text; a coded source is better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

PRESENT: Final = "present"
ABSENT: Final = "absent"
_UNCLEAR: Final = "unclear"
SIDES: Final = ("R", "L")

_FRACTURE: Final = re.compile(r"fractur|fraktur|\w*bruch\b|\bbreak\b", re.IGNORECASE)
_HIP: Final = re.compile(
    r"\bhips?\b|femor|femur|trochant|h[üu]e?ft|schenkelhals|hanche|f[ée]m[ou]r", re.IGNORECASE
)
_OTHER_BONE: Final = re.compile(
    r"pelvi|acetabul|pubi[cs]|\bram(us|i)\b|sacr|ischi|spin[ae]|vertebr|lumb|wrist|radius|rib"
    r"|becken|schambein|kreuzbein|sitzbein|wirbel|rippe|bassin|vert[èe]br|sacrum|c[ôo]te"
    r"|knee|tibia|ankle|knie|genou|shaft|diaphys|schaft|periprosth|periproth",
    re.IGNORECASE,
)
_NEGATION: Final = re.compile(
    r"\b(no|not|without|absence|negative|denie[sd]|excluded|ruled out|none)\b"
    r"|\b(kein|keine|keinen|keiner|ohne|nicht|ausgeschlossen)\b"
    r"|\b(pas|sans|aucune?|absence|exclue?)\b",
    re.IGNORECASE,
)
_DOUBT: Final = re.compile(
    r"\?|\bpossibl|\bprobabl|suspe[ck]t|suspic|question|\bmay\b|\bmight\b|\bcould\b|\bvs\b|versus"
    r"|unclear|equivocal|indeterminate|likely|cannot|can not|can't|not (be )?(excluded|ruled)"
    r"|\bold\b|heal|chronic|prior|previous|status post|\bs/p\b|history|post.?op|follow|known|remote"
    r"|limited|recommend|if clinical"
    r"|fraglich|verdacht|\bva\b|\bzn\b|\bdd\b|\bstp\b|unklar|\balte?[nr]?\b|konsolidier|zustand"
    r"|ausgeheilt|m[öo]glich|wahrscheinlich|auszuschlie|nicht (sicher )?ausge"
    r"|bekannt|vorbestehend|osteosynthe|fixation|nail|screw|nagel|schraube|prothes"
    r"|dout|suspic|ancien|consolid|ant[ée]c[ée]dent|peut|[àa] confirmer|clou|\bvis\b",
    re.IGNORECASE,
)
_PARTLY: Final = re.compile(
    r"\b(new|further|other|additional|definite|displaced|complete)\b|neue|weitere|sichere|disloz"
    r"|verschoben|nouvel|autre|d[ée]plac",
    re.IGNORECASE,
)
"""Where such a one is denied, another may be there."""
_RIGHT: Final = re.compile(r"\bright\b|\brt\b|\brechts|\brechte|\bdroite?s?\b", re.IGNORECASE)
_LEFT: Final = re.compile(r"\bleft\b|\blt\b|\blinks|\blinke|\bgauches?\b", re.IGNORECASE)
_BOTH: Final = re.compile(r"bilateral|\bboth\b|beidseit|beide|bilat[ée]r|des deux", re.IGNORECASE)
_SENTENCE: Final = re.compile(r"[.;\n\r]+")
_CLAUSE: Final = re.compile(r",| but | however | although | aber | jedoch | mais | und | and ")
_INITIALS: Final = re.compile(r"\b([A-Za-z]{1,2})\.\s?([A-Za-z]{1,2})\.")


def read(text: str) -> dict[str, str]:
    """Return by side (the patient's, "R" or "L") "present" or "absent"; nothing that is unclear.

    Parameters
    ----------
    text
        The words of the report: of all its observations, a line each.
    """
    said: dict[str, set[str]] = {side: set() for side in SIDES}
    for clause, sides in _clauses(text):
        verdict = _verdict(clause)
        if verdict == PRESENT and not sides:
            verdict = _UNCLEAR  # of which hip?
        for side in sides or SIDES:
            said[side].add(verdict)
    return {side: found for side in SIDES if (found := _settled(said[side]))}


def _clauses(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what is said of a fracture that may be the hip's, with the sides it is said of."""
    plain = _INITIALS.sub(r"\1\2 ", text)  # "V.a.", "Z.n."
    for sentence in _SENTENCE.split(plain):
        if not _FRACTURE.search(sentence):
            continue
        for clause in _CLAUSE.split(sentence):
            if not _FRACTURE.search(clause):
                continue
            if _HIP.search(clause) or not _OTHER_BONE.search(clause):
                yield clause, _sides(clause) or _sides(sentence)


def _sides(text: str) -> tuple[str, ...]:
    if _BOTH.search(text):
        return SIDES
    return ("R",) * bool(_RIGHT.search(text)) + ("L",) * bool(_LEFT.search(text))


def _verdict(clause: str) -> str:
    if _DOUBT.search(clause):
        return _UNCLEAR
    if _NEGATION.search(clause):
        return _UNCLEAR if _PARTLY.search(clause) else ABSENT
    return PRESENT if _HIP.search(clause) else _UNCLEAR


def _settled(said: set[str]) -> str:
    """Return what all that was said of a side comes to; "" where it is not clear."""
    if _UNCLEAR in said:
        return ""
    return PRESENT if PRESENT in said else ABSENT if ABSENT in said else ""
