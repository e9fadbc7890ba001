"""The housekeeper: everything that happens by the clock (the database's)."""

from hipnode.services.housekeeper.service import run

__all__ = ["run"]
