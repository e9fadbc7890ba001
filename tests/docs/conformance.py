"""The tables of ``docs/conformance-statement.md``, made from the code.

``python -m tests.docs.conformance`` writes them into the page; a test fails when they have drifted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import UID, AllTransferSyntaxes

import hipnode.imaging.decoders  # noqa: F401 - pydicom knows our decoder from then on
from hipnode import codes
from hipnode.dicom.charset import KEPT_CHARACTER_SETS, READ_CHARACTER_SETS
from hipnode.dicom.identity import COPIED
from hipnode.domain import AbstentionReason, ResultKind, Side, Task
from hipnode.errors import HipnodeError
from hipnode.reporting import KINDS, Withdrawal, build, rejection_notes
from hipnode.reporting.terms import probability_name
from hipnode.services.commitment import PUSH_MODEL, REASONS, STATUSES
from hipnode.services.courier.ways.dimse import PROPOSED
from hipnode.services.history.query import FIND
from hipnode.services.history.retrieve import GET, MOVE
from hipnode.services.listener.admission import Rejection
from hipnode.services.listener.contexts import VERIFICATION, is_transfer_syntax
from hipnode.settings import DestinationSettings, ListenerSettings
from tests import cases, headers
from tests.peers import ROOT

PAGE: Final = ROOT / "docs" / "conformance-statement.md"
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_OBJECTS = {
    ResultKind.SR: "measurements and their boxes",
    ResultKind.TEXT: "the report in plain English",
    ResultKind.CAPTURE: "the picture with boxes and heat map, one an image",
    ResultKind.GSPS: "the boxes as an overlay, one an image (option)",
    ResultKind.PDF: "text and captures on paper (option)",
    ResultKind.NOTE: "takes back what was made from rejected images",
}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = (" | ".join(str(c).replace("|", r"\|") for c in line) for line in lines)
    return "".join(f"| {line} |\n" for line in cells)


def services() -> str:
    """Return the SOP Classes by role."""
    rows: list[Sequence[object]] = [
        (UID(VERIFICATION).name, f"`{VERIFICATION}`", "no", "yes", "C-ECHO"),
        (
            "every Storage SOP Class, standard or private",
            "",
            "no",
            "yes",
            "kept, read or discarded",
        ),
    ]
    for uid, kind in KINDS.items():
        assert uid in PROPOSED, uid
        rows.append((UID(uid).name, f"`{uid}`", "yes", "yes", f"`{kind.value}`: {_OBJECTS[kind]}"))
    rows.append(
        (
            UID(PUSH_MODEL).name,
            f"`{PUSH_MODEL}`",
            "yes",
            "no",
            "results, where a destination is asked",
        )
    )
    rows += [
        (UID(uid).name, f"`{uid}`", "yes", "no", "`hipnode fetch`, when a person runs it")
        for uid in (FIND, MOVE, GET)
    ]
    return table(("SOP Class", "UID", "SCU", "SCP", "what for"), rows)


def transfer_syntaxes() -> str:
    """Return what is taken and what of it is decoded."""
    rows = []
    for uid in AllTransferSyntaxes:
        if not is_transfer_syntax(uid) or "Encapsulated Uncompressed" in uid.name:
            continue
        compressed = uid.is_compressed and uid.is_encapsulated
        decoded = not compressed
        if compressed:
            try:
                decoded = get_decoder(uid).is_available
            except NotImplementedError:
                decoded = False
        rows.append(
            (uid.name, f"`{uid}`", "yes", "yes" if decoded else "no: the image is quarantined")
        )
    return table(("transfer syntax", "UID", "stored", "read"), rows)


_ANSWERED: Final = (
    "HeaderUnusable", "HeaderTooCostly", "StorageUnavailable", "DiskFull", "NotDicom",
)  # fmt: skip


def statuses() -> str:
    """Return the C-STORE statuses that the node answers with."""
    found: dict[int, list[str]] = {0x0000: ["Stored: file, folder and row are on disk."]}
    found[0x0122] = ["The SOP Class is not one that the association negotiated."]
    pending = list(HipnodeError.__subclasses__())
    while pending:
        error = pending.pop(0)
        pending += error.__subclasses__()
        if error.__name__ in _ANSWERED:
            found.setdefault(error.dimse_status, []).append((error.__doc__ or "").strip())
    rows = [(f"0x{status:04X}", " ".join(why)) for status, why in sorted(found.items())]
    return table(("status", "when"), rows)


def commitment_statuses() -> str:
    """Return what a destination's N-EVENT-REPORT is answered with."""
    return table(("status", "when"), ((f"0x{s:04X}", why) for s, why in STATUSES.items()))


def commitment_failures() -> str:
    """Return the Failure Reasons that are known by name."""
    return table(("failure reason", "meaning"), ((f"0x{s:04X}", w) for s, w in REASONS.items()))


def rejections() -> str:
    """Return the reasons for which an association is rejected."""
    rows = [(r.name.replace("_", " ").lower(), *(str(n) for n in r.value)) for r in Rejection]
    return table(("reason", "result", "source", "reason/diag."), rows)


def network() -> str:
    """Return the defaults of what can be set about associations."""
    listener = ListenerSettings()
    timeout = DestinationSettings.model_fields["timeout_s"].default
    answer = DestinationSettings.model_fields["commitment_timeout_s"].default
    rows = [
        (
            "maximum PDU length received",
            f"{listener.max_pdu_bytes} bytes",
            "listener.max_pdu_bytes",
        ),
        ("associations at once, as SCP", listener.max_associations, "listener.max_associations"),
        (
            "ARTIM / ACSE time-out, as SCP",
            f"{listener.acse_timeout_s:g} s",
            "listener.acse_timeout_s",
        ),
        ("DIMSE time-out, as SCP", f"{listener.dimse_timeout_s:g} s", "listener.dimse_timeout_s"),
        (
            "network time-out, as SCP",
            f"{listener.network_timeout_s:g} s",
            "listener.network_timeout_s",
        ),
        ("time-outs, as SCU", f"{timeout:g} s", "destinations.timeout_s"),
        ("storage commitment's answer", f"{answer:g} s", "destinations.commitment_timeout_s"),
        ("asynchronous operations", "not negotiated", ""),
        ("Implementation Class UID", f"`{codes.IMPLEMENTATION_CLASS_UID}`", ""),
        ("Implementation Version Name", "`HIPNODE_` and the version", ""),
    ]
    return table(("", "default", "setting"), rows)


def attributes() -> str:
    """Return the attributes of each kind of object: always there or not, and whence."""
    seen: dict[ResultKind, list[Dataset]] = {}
    requests = [case.request(name) for name, case in cases.CASES.items()]
    requests += [headers.variant(name) for name in headers.VARIANTS]
    for request in requests:
        for built in build(request):
            seen.setdefault(built.kind, []).append(built.dataset)
    sent = tuple(found[0] for found in seen.values())
    title = codes.REJECTIONS[codes.MOVED]
    notes = rejection_notes(Withdrawal(sent, title, cases.NODE, cases.MADE_UTC, 2))
    seen[ResultKind.NOTE] = [note.dataset for note in notes]
    keywords = sorted({e.keyword for found in seen.values() for ds in found for e in ds},
                      key=lambda k: tag_for_keyword(k) or 0)  # fmt: skip
    kinds = list(_OBJECTS)
    rows = []
    for keyword in keywords:
        tag = tag_for_keyword(keyword) or 0
        marks = [_presence(keyword, seen[kind]) for kind in kinds]
        source = "image" if keyword in COPIED else "hipnode"
        rows.append(
            (f"({tag >> 16:04X},{tag & 0xFFFF:04X})", keyword, dictionary_VR(tag), *marks, source)
        )
    return table(("tag", "attribute", "VR", *(f"`{k.value}`" for k in kinds), "from"), rows)


def _presence(keyword: str, found: Sequence[Dataset]) -> str:
    having = [ds for ds in found if keyword in ds]
    if not having:
        return ""
    if len(having) < len(found):
        return "some"
    return (
        "always" if all(ds[keyword].value not in (None, "", []) for ds in found) else "may be empty"
    )


def concepts() -> str:
    """Return every code that is written, with its source."""
    named = [v for v in vars(codes).values() if isinstance(v, codes.Concept)]
    named += [*codes.REASONS.values(), *codes.REJECTIONS.values()]
    named += [probability_name(task, side) for task in Task for side in Side]
    rows = sorted({(c.scheme, c.value, c.meaning, c.source) for c in named})
    return table(
        ("scheme", "code", "meaning", "verified in"),
        ((scheme, f"`{value}`", meaning, source) for scheme, value, meaning, source in rows),
    )


def abstentions() -> str:
    """Return why nothing is said, as it is coded."""
    return table(
        ("reason", "code", "words"),
        (
            (reason, f"`{codes.REASONS[reason].value}`", codes.REASONS[reason].meaning)
            for reason in [*(r.value for r in AbstentionReason), "failed"]
        ),
    )


def character_sets() -> str:
    """Return what becomes of a character set."""
    rows = []
    for term in sorted(READ_CHARACTER_SETS):
        kept = term in KEPT_CHARACTER_SETS
        rows.append((f"`{term}`", "yes", "the same" if kept else "`ISO_IR 192`"))
    return table(("defined term", "read", "report leaves in"), rows)


TABLES: Final[dict[str, Callable[[], str]]] = {
    function.__name__: function
    for function in (
        services,
        transfer_syntaxes,
        statuses,
        commitment_statuses,
        commitment_failures,
        rejections,
        network,
        attributes,
        concepts,
        abstentions,
        character_sets,
    )
}


def filled(page: str) -> str:
    """Return the page with every table made anew."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n{m[3]}", page)


def names(page: str) -> list[str]:
    """Return which tables the page has."""
    return [match[2] for match in _BLOCK.finditer(page)]


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
