"""All of a study as one file that others can check: records, objects, proofs, a signature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC
from importlib.resources import files
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from hipnode import DISCLAIMER, __version__
from hipnode.answers import audit as words
from hipnode.errors import StorageUnavailable
from hipnode.services.desk.pages.studies import opened
from hipnode.services.desk.visit import Answer, Seen, Visit
from hipnode.storage import Asked, AuditEntry, AuditFilter, Made, Proven, Store

_IN_MEMORY: Final = 8 * 1024**2
_CHUNK: Final = 256 * 1024


def export(visit: Visit) -> Answer:
    """Give away all of a study."""
    line, seen = opened(visit)
    uid = line.facts.study_instance_uid
    asked = Asked(AuditFilter(study_instance_uid=uid))
    entries = list(visit.store.desk.records.all(asked))[::-1]
    made = visit.store.desk.studies.made(uid)
    file: IO[bytes] = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - sent, then closed
    digest = _write(file, visit, uid, entries, made)
    detail = {"records": len(entries), "files": len(made), "statement_sha256": digest}
    return Answer(
        body=_sent(file),
        media_type="application/zip",
        filename=f"hipnode-study-{hashlib.sha256(uid.encode()).hexdigest()[:12]}.zip",
        seen=Seen(uid, seen.patient_id, seen.accession_number, detail),
    )


def _sent(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk


def _write(
    file: IO[bytes], visit: Visit, uid: str, entries: list[AuditEntry], made: list[Made]
) -> str:
    """Write the ZIP; return the digest of the statement in it."""
    parts: dict[str, str] = {}  # digest by name
    with ZipFile(file, "w", ZIP_DEFLATED) as zipped:

        def add(name: str, content: bytes) -> None:
            parts[name] = hashlib.sha256(content).hexdigest()
            zipped.writestr(_info(visit, name), content)

        records = [json.dumps(words.document(entry), sort_keys=True) for entry in entries]
        add("records.jsonl", "".join(f"{record}\n" for record in records).encode())
        proven = visit.store.desk.prove([entry.id for entry in entries])
        if proven is not None:
            add("head.txt", proven.head.note().encode())
            add("proofs.json", json.dumps(_proofs(proven), indent=1).encode())
        for each in made:
            if (content := _content(visit.store, each)) is not None:
                add(f"objects/{each.kind}-{each.id}.dcm", content)
        listed = "".join(f"sha256 {digest} {name}\n" for name, digest in sorted(parts.items()))
        text = (
            f"hipnode-statement/study\nnode {visit.settings.node.name}\nstudy {uid}\n"
            f"made {visit.now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} by hipnode {__version__}\n"
            f"{listed}{DISCLAIMER}\n"
        )
        statement = visit.store.desk.statement(text)
        keys = {"statement": visit.store.desk.verifier()}
        if proven is not None:
            keys["head"] = proven.verifier
        zipped.writestr(_info(visit, "statement.txt"), statement)
        zipped.writestr(_info(visit, "keys.json"), json.dumps(keys, indent=1))
        for name in ("README.txt", "verify.py"):
            source = files("hipnode.services.desk").joinpath("export", name).read_text("utf-8")
            zipped.writestr(_info(visit, name), source)
    return hashlib.sha256(statement.encode()).hexdigest()


def _info(visit: Visit, name: str) -> ZipInfo:
    info = ZipInfo(name, visit.now.astimezone(UTC).timetuple()[:6])
    info.compress_type = ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


def _content(store: Store, made: Made) -> bytes | None:
    try:
        return store.files.path(made.path).read_bytes()
    except (OSError, StorageUnavailable):
        return None


def _proofs(proven: Proven) -> dict[str, Any]:
    return {
        "size": proven.head.size,
        "root": proven.head.root.hex(),
        "records": {
            str(number): {
                "leaf": proof.entry.hex(),
                "index": proof.index,
                "path": [node.hex() for node in proof.path],
            }
            for number, proof in sorted(proven.proofs.items())
        },
    }


def proof_document(proven: Proven, number: int) -> dict[str, Any]:
    """Return the proof of one record as plain values."""
    found = _proofs(proven)
    return {
        "record": number,
        "proof": found["records"][str(number)],
        "size": found["size"],
        "root": found["root"],
        "head": proven.head.note(),
        "key": proven.verifier,
    }
