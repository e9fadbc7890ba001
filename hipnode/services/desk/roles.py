"""Who may see what: what a row of the one route table says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hipnode.domain import AuditEvent
from hipnode.domain.people import Role
from hipnode.services.desk.visit import Page

ALL: Final = frozenset(Role)
AUDITOR: Final = frozenset({Role.AUDITOR})
PATIENTS: Final = frozenset({Role.AUDITOR, Role.READER})
RUNNING: Final = frozenset({Role.OPERATOR, Role.ADMIN})
GLASS: Final = frozenset({Role.OPERATOR})
FIGURES: Final = frozenset({Role.SCIENTIST, Role.READER, Role.AUDITOR})
READER: Final = frozenset({Role.READER})
MODELS: Final = frozenset({Role.SCIENTIST, Role.ADMIN, Role.AUDITOR})

PROPOSING: Final = frozenset({Role.SCIENTIST, Role.ADMIN})
CONFIRMING: Final = frozenset({Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Route:
    """A page: where it is, for whom, and what a look at it is on the audit log."""

    path: str
    page: Page
    roles: frozenset[Role] | None  # None: nobody needs to sign in
    event: AuditEvent | None = None  # set where a patient's data are shown
    method: str = "GET"
    title: str = ""  # in the menu

    def allows(self, roles: frozenset[Role]) -> bool:
        """Tell whether one of these roles may see it."""
        return self.roles is None or bool(self.roles & roles)
