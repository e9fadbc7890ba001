"""Sends results out: C-STORE to each destination, in order, for as long as it takes.

`link` is the association to one destination, `deliveries` decides what its answers mean for a job,
`commitments` asks it to commit to what it has taken, `service` runs one sender for each
destination.
"""

from __future__ import annotations

from hipnode.services.courier.service import run

__all__ = ["run"]
