"""Which presentation contexts are taken: whatever can be stored, as the peer proposes it.

The node keeps data sets as they arrive and decodes none of them on the wire, so every storage
SOP Class in every standard transfer syntax is welcome; what becomes of an object is decided later,
by the rules. Only what was proposed is registered: an association with one context is set up
without looking at the other two hundred.

References
----------
PS3.8 9.3.2.2 and 9.3.3.2, presentation context items. PS3.4 B.5, Storage SOP Classes.
PS3.5 section 10, transfer syntaxes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import ServiceClass, StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from hipnode.services.commitment import PUSH_MODEL

VERIFICATION: Final = UID("1.2.840.10008.1.1")
_STANDARD_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_STANDARD_ROOT: Final = "1.2.840.10008."
_UNCOMPRESSED: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@lru_cache(maxsize=1024)
def is_storage(abstract_syntax: str) -> bool:
    """Tell whether objects of this SOP Class can be sent with C-STORE.

    Private SOP Classes are taken for storage; so are ones in the Standard's storage arc that are
    younger than the dictionary at hand.
    """
    if not abstract_syntax.startswith(_STANDARD_ROOT):
        return True
    service = uid_to_service_class(abstract_syntax)
    if service is StorageServiceClass:
        return True
    return service is ServiceClass and abstract_syntax.startswith(_STANDARD_STORAGE)


@lru_cache(maxsize=256)
def is_transfer_syntax(uid: str) -> bool:
    """Tell whether the UID is one of the Standard's transfer syntaxes (PS3.6 Table A-1)."""
    return UID(uid).type == "Transfer Syntax"


def supported(
    proposed: Iterable[PresentationContext], *, commitment: bool = False
) -> list[PresentationContext]:
    """Return the contexts to negotiate with, given what the peer proposes.

    For each storage SOP Class the peer's transfer syntaxes in its own order: what it names first
    is what it can send without transcoding.

    Parameters
    ----------
    proposed
        The peer's presentation context definition list.
    commitment
        Whether destinations are asked for storage commitment: they may answer on associations of
        their own, of which they are the SCP (PS3.7 D.3.3.4, role selection).
    """
    wanted: dict[str, list[Any]] = {VERIFICATION: list(_UNCOMPRESSED)}
    for context in proposed:
        abstract_syntax = context.abstract_syntax
        if abstract_syntax is None or not is_storage(abstract_syntax):
            continue
        known = wanted.setdefault(abstract_syntax, [])
        known.extend(
            uid for uid in context.transfer_syntax if uid not in known and is_transfer_syntax(uid)
        )
    contexts = [build_context(uid, syntaxes) for uid, syntaxes in wanted.items() if syntaxes]
    if commitment:
        answers = build_context(PUSH_MODEL, list(_UNCOMPRESSED))
        answers.scu_role, answers.scp_role = False, True  # the roles of the peer
        contexts.append(answers)
    return contexts
