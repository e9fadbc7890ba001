"""What a verification of the audit log has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hipnode.storage.audit.archives import Archive
from hipnode.storage.audit.epochs import AuditFault, Epoch

_NAMED: Final = 20
"""As many faults are put on the log itself; the rest is counted."""


@dataclass
class VerifyReport:
    """What a verification looked at and found."""

    rows: int = 0
    seals: int = 0
    epochs: int = 0
    heads: int = 0  # published ones that the log was compared with
    first_utc: datetime | None = None
    last_utc: datetime | None = None
    unsealed: int = 0
    unsealed_since_utc: datetime | None = None
    faults: tuple[AuditFault, ...] = ()
    acknowledged: tuple[AuditFault, ...] = ()
    archives: tuple[Archive, ...] = ()

    @property
    def fault(self) -> AuditFault | None:
        """The first one that nobody has acknowledged."""
        return self.faults[0] if self.faults else None

    def detail(self) -> dict[str, Any]:
        """Return it as the detail of a record; of many faults the first ones by name."""
        span = {"first_utc": self.first_utc, "last_utc": self.last_utc}
        return (
            {"rows": self.rows, "seals": self.seals, "epochs": self.epochs, "heads": self.heads}
            | {name: moment.isoformat() for name, moment in span.items() if moment}
            | {"unsealed": self.unsealed}
            | ({"archives": [str(one) for one in self.archives]} if self.archives else {})
            | named(self.faults)
            | ({"acknowledged": _first(self.acknowledged)} if self.acknowledged else {})
        )

    def sort_out(self, found: Sequence[AuditFault], signed: Sequence[Epoch]) -> None:
        """Gather neighbours with the same fault, and set apart what has been acknowledged.

        Parameters
        ----------
        found
            All that is wrong.
        signed
            The epochs whose signature is this node's.
        """
        rows = sorted({f for f in found if f.row_id is not None}, key=_place)
        gathered: list[AuditFault] = []
        for fault in rows:
            before = gathered[-1] if gathered else None
            if before and before.reason == fault.reason and _end(before) + 1 >= _place(fault)[0]:
                end = max(_end(before), _end(fault))
                gathered[-1] = AuditFault(before.row_id, before.reason, end)
            else:
                gathered.append(AuditFault(fault.row_id, fault.reason, _end(fault)))
        gathered += [f for f in found if f.row_id is None]
        known = dict.fromkeys(fault for begun in signed for fault in begun.faults)
        self.faults = tuple(f for f in gathered if f not in known)
        self.acknowledged = tuple(known)


def named(faults: Sequence[AuditFault]) -> dict[str, Any]:
    """Return faults as a record has them: how many, and the first ones by name."""
    return {"faults": len(faults), "named": _first(faults)} if faults else {}


def _first(faults: Sequence[AuditFault]) -> list[str]:
    return [str(fault) for fault in faults[:_NAMED]]


def _place(fault: AuditFault) -> tuple[int, str]:
    return (fault.row_id or 0, fault.reason)


def _end(fault: AuditFault) -> int:
    return fault.last_id or fault.row_id or 0
