"""Try what the settings say, before a service does: ``hipnode config check --live``."""

from hipnode.services.rehearsal.found import Found
from hipnode.services.rehearsal.rehearse import rehearse

__all__ = ["Found", "rehearse"]
