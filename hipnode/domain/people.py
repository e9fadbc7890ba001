"""Who may do what at the desk."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person is at the desk. One may be several."""

    OPERATOR = "operator"  # keeps the node running; sees no patient's data
    AUDITOR = "auditor"  # sees and exports all of it, and changes nothing
    READER = "reader"  # a radiologist: one study, by its accession number
    SCIENTIST = "scientist"  # models and figures, without patients
    ADMIN = "admin"  # accounts, and work that was given up; sees no patient's data
