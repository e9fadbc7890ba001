"""Check an exported study: `python3 verify.py` beside the unpacked files.

Exit status 1: something is wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pathlib
import re
import sys
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
DASH = "\u2014"
wrong: list[str] = []


def check(is_right: bool, what: str) -> None:
    print(("ok     " if is_right else "WRONG  ") + what)
    if not is_right:
        wrong.append(what)


def check_note(file: str, key: str) -> str:
    """Check a signed note (C2SP signed-note, Ed25519)."""
    text, _, signature = (HERE / file).read_text(encoding="utf-8").rpartition(f"\n{DASH} ")
    name, _, encoded = signature.strip().partition(" ")
    origin, number, public = key.split("+", 2)
    raw, key_bytes = base64.b64decode(encoded), base64.b64decode(public)
    known = hashlib.sha256(origin.encode() + b"\n" + key_bytes).digest()[:4]
    check(name == origin and raw[:4] == known and known.hex() == number, f"{file} names the key")
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        print(f"?      the signature of {file}: install the package cryptography")
        return text
    try:
        Ed25519PublicKey.from_public_bytes(key_bytes[1:]).verify(raw[4:], text.encode())
        check(True, f"{file} is signed by the node")
    except InvalidSignature:
        check(False, f"{file} is signed by the node")
    return text


def root_of(leaf: bytes, index: int, path: list[bytes], size: int) -> bytes:
    """Return the root that a path leads to (RFC 9162 2.1.3.2)."""
    node, last = hashlib.sha256(b"\0" + leaf).digest(), size - 1
    for sibling in path:
        if index & 1 or index == last:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        index, last = index >> 1, last >> 1
    return node


def check_proofs(records: list[dict[str, Any]]) -> None:
    """Check that each record is in the log whose head is here."""
    proofs = json.loads((HERE / "proofs.json").read_text())
    head = (HERE / "head.txt").read_text(encoding="utf-8").splitlines()
    size, root = int(head[1]), base64.b64decode(head[2])
    check((size, root.hex()) == (proofs["size"], proofs["root"]), "the proofs lead to head.txt")
    missing = 0
    for record in records:
        proof = proofs["records"].get(str(record["id"]))
        if proof is None:
            missing += 1
            continue
        leaf = bytes.fromhex(proof["leaf"])
        mine = record["id"].to_bytes(8, "big") + bytes.fromhex(record["row_hash"])[:16]
        found = root_of(leaf, proof["index"], [bytes.fromhex(n) for n in proof["path"]], size)
        if leaf != mine or found != root:
            check(False, f"record {record['id']} is in the log")
    check(True, f"{len(records) - missing} records looked for in the log; {missing} not sealed yet")


def main() -> None:
    """Check everything that is here."""
    keys = json.loads((HERE / "keys.json").read_text())
    statement = check_note("statement.txt", keys["statement"])
    found = re.findall(r"^sha256 ([0-9a-f]{64}) (\S+)$", statement, re.MULTILINE)
    listed = {name: digest for digest, name in found}
    for name, digest in listed.items():
        path = HERE / name
        right = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
        check(right, name)
    if "proofs.json" in listed:
        check_note("head.txt", keys["head"])
        lines = (HERE / "records.jsonl").read_text(encoding="utf-8").splitlines()
        check_proofs([json.loads(line) for line in lines])
    print("all of it is right" if not wrong else f"{len(wrong)} things are wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, KeyError, IndexError, OSError, TypeError) as error:
        print(f"WRONG  a part cannot be read: {type(error).__name__}: {error}")
        sys.exit(1)
