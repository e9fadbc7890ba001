"""Takes images in: C-ECHO and C-STORE over DIMSE, durable before they are acknowledged.

`admission` decides who may associate, `contexts` what may be sent, `stream` and `dimse` bring a
data set from the socket to its file, `rules` and `intake` decide what becomes of it.
"""

from __future__ import annotations

from hipnode.services.listener.service import serve

__all__ = ["serve"]
