"""The housekeeper: everything that happens by the clock (APScheduler keeps it, in memory)."""

from hipnode.services.housekeeper.service import run

__all__ = ["run"]
