"""The Merkle tree over the audit log, as in RFC 6962: it grows by a hash or two for each row.

Only its right edge is kept (one hash for each set bit of its size), from which the root of all that
came before follows. The roots are those of any other transparency log: whoever has the rows' hashes
recomputes them, and can prove that a row is in the log, or that one head extends another.

References
----------
RFC 6962 2.1, Merkle Hash Trees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from struct import Struct
from typing import Final

LEAF: Final = Struct(">q16s")
"""A row in the tree: its number, and the first 16 bytes of its hash."""
_NODE_BYTES: Final = 32


class Tree:
    """A tree that grows at its end.

    Parameters
    ----------
    size
        How many entries it has.
    edge
        Its right edge: the roots of its complete subtrees, the largest first, 32 bytes each.
    """

    def __init__(self, size: int = 0, edge: bytes = b"") -> None:
        if len(edge) != _NODE_BYTES * size.bit_count():
            raise ValueError("the edge does not fit the size")
        self.size = size
        self._nodes = [edge[i : i + _NODE_BYTES] for i in range(0, len(edge), _NODE_BYTES)]

    @property
    def edge(self) -> bytes:
        """Return its right edge, for the next to go on from."""
        return b"".join(self._nodes)

    def add(self, entry: bytes) -> None:
        """Add an entry at the end."""
        node, size = hashlib.sha256(b"\0" + entry).digest(), self.size
        while size & 1:
            node = hashlib.sha256(b"\1" + self._nodes.pop() + node).digest()
            size >>= 1
        self._nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all entries."""
        if not self._nodes:
            return hashlib.sha256(b"").digest()
        node = self._nodes[-1]
        for larger in reversed(self._nodes[:-1]):
            node = hashlib.sha256(b"\1" + larger + node).digest()
        return node


def leaf(row_id: int, row_hash: str) -> bytes:
    """Return a row's entry in the tree."""
    return LEAF.pack(row_id, bytes.fromhex(row_hash)[:16])


def split(leaves: bytes) -> list[bytes]:
    """Return the entries that a seal has kept in one piece."""
    return [leaves[i : i + LEAF.size] for i in range(0, len(leaves), LEAF.size)]


def batch_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over one batch alone: what seals had before schema 0021."""
    tree = Tree()
    for entry in leaves:
        tree.add(entry)
    return tree.root()
