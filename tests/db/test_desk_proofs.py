"""What leaves the desk can be checked by others: an exported study, a proof, a statement."""

from __future__ import annotations

import base64
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from hipnode.domain import AuditEvent
from hipnode.domain.people import Role
from hipnode.services.desk.export import verify as script
from hipnode.storage import Asked, AuditFilter
from hipnode.storage.audit.tree import Tree
from hipnode.storage.desk.proof import audit_paths
from tests.db.conftest import Bench
from tests.db.test_audit import tamper
from tests.desk import Guest, study
from tests.peers import eventually, run


@pytest.fixture
def auditor(bench: Bench) -> Guest:
    return Guest(bench.store, bench.settings, Role.AUDITOR)


def unpacked(answer: Any, folder: Path) -> Path:
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        zipped.extractall(folder)
    return folder


def checked(folder: Path) -> tuple[int, str]:
    done = run([sys.executable, "-I", folder / "verify.py"], check=False)
    return done.returncode, done.stdout


def test_an_exported_study_is_checked_without_the_node(
    bench: Bench, auditor: Guest, tmp_path: Path
) -> None:
    uid = study(bench)
    study(bench, "2", accession="A-2", objects=False)
    bench.store.audit.seal()
    folder = unpacked(auditor.get(f"/studies/{uid}/export"), tmp_path / "out")
    status, said = checked(folder)
    assert status == 0, said
    assert "statement.txt is signed by the node" in said
    assert "0 not sealed yet" in said
    assert len(list((folder / "objects").iterdir())) == 3
    lines = [json.loads(x) for x in (folder / "records.jsonl").read_text().splitlines()]
    assert {line["study_instance_uid"] for line in lines} == {uid}
    assert len(lines) > 10


@pytest.mark.parametrize("what", ["record", "object", "proof", "head", "statement"])
def test_whatever_is_changed_in_it_is_found(
    bench: Bench, auditor: Guest, tmp_path: Path, what: str
) -> None:
    uid = study(bench)
    bench.store.audit.seal()
    folder = unpacked(auditor.get(f"/studies/{uid}/export"), tmp_path / "out")
    path = {
        "record": folder / "records.jsonl",
        "object": next((folder / "objects").iterdir()),
        "proof": folder / "proofs.json",
        "head": folder / "head.txt",
        "statement": folder / "statement.txt",
    }[what]
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    content[place] = content[place] ^ 1
    path.write_bytes(content)
    assert checked(folder)[0] == 1


def test_a_record_of_the_present_second_has_no_proof_yet(
    bench: Bench, auditor: Guest, tmp_path: Path
) -> None:
    uid = study(bench, objects=False)
    bench.store.audit.seal()
    auditor.get(f"/studies/{uid}")
    folder = unpacked(auditor.get(f"/studies/{uid}/export"), tmp_path / "out")
    status, said = checked(folder)
    assert status == 0, said
    assert "1 not sealed yet" in said


def test_the_proof_of_a_record_leads_to_the_head_that_was_published(
    bench: Bench, auditor: Guest
) -> None:
    study(bench, objects=False)
    bench.store.audit.seal()
    head = bench.store.audit.head()
    assert head is not None
    found = bench.store.desk.records.page(Asked(AuditFilter(event=AuditEvent.IMAGE_READ))).entries
    document = auditor.get(f"/audit/records/{found[0].id}/proof").json()
    path = [bytes.fromhex(node) for node in document["proof"]["path"]]
    leaf = bytes.fromhex(document["proof"]["leaf"])
    assert leaf == found[0].id.to_bytes(8, "big") + bytes.fromhex(found[0].row_hash)[:16]
    root = script.root_of(leaf, document["proof"]["index"], path, document["size"])
    assert root == head.root
    assert document["head"] == head.note()
    assert auditor.get("/audit/records/99999/proof").status_code == 404
    assert auditor.get("/audit/records/x/proof").status_code == 404


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=70), st.data())
def test_every_path_leads_to_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    wanted = sorted(data.draw(st.sets(st.integers(0, len(leaves) - 1))))
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    for index, path in audit_paths(leaves, wanted).items():
        assert script.root_of(leaves[index], index, path, len(leaves)) == tree.root()


def test_a_statement_is_signed_and_says_what_was_found(bench: Bench, auditor: Guest) -> None:
    study(bench, objects=False)
    bench.store.audit.seal()
    assert "has not been verified yet" in auditor.get("/verify").text
    assert auditor.post("/verify").status_code == 303
    eventually(lambda: bench.store.desk.records.newest(AuditEvent.AUDIT_VERIFIED))
    assert "Unbroken" in auditor.get("/verify").text
    text = auditor.get("/verify/statement").text
    note = text.partition("<pre")[2].partition(">")[2].partition("</pre>")[0].rstrip("\n") + "\n"
    signed, _, signature = note.rpartition("\n\N{EM DASH} ")
    name, _, encoded = signature.strip().partition(" ")
    origin, _, public = bench.store.desk.verifier().split("+", 2)
    assert name == origin
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public)[1:])
    key.verify(base64.b64decode(encoded)[4:], signed.encode())
    assert "unbroken" in signed


def test_a_changed_record_is_named_on_the_page(bench: Bench, auditor: Guest) -> None:
    study(bench, objects=False)
    bench.store.audit.seal()
    tamper(bench, "UPDATE audit SET patient_id = 'X' WHERE event = 'image_read'")
    auditor.post("/verify")
    eventually(lambda: bench.store.desk.records.newest(AuditEvent.AUDIT_VERIFIED))
    page = auditor.get("/verify").text
    assert "BROKEN" in page
    assert "the row has been changed" in page
    assert "BROKEN" in auditor.get("/verify/statement").text
