"""Reading one radiograph: values in, values out. No database, socket, clock, settings or log.

What this package offers is brought in when it is first asked for (PEP 562): a worker names what its
reading processes do, and does none of it itself.
"""

from typing import TYPE_CHECKING, Final

from hipnode.lazy import lazily

if TYPE_CHECKING:
    from hipnode.reading.chain import read
    from hipnode.reading.classify import findings, preprocessing, run
    from hipnode.reading.frames import FRAMES_LIMIT, of_object
    from hipnode.reading.gates import view_of
    from hipnode.reading.localise import Candidate, candidates, hips
    from hipnode.reading.policy import ReadPolicy

__all__ = [
    "FRAMES_LIMIT",
    "Candidate",
    "ReadPolicy",
    "candidates",
    "findings",
    "hips",
    "of_object",
    "preprocessing",
    "read",
    "run",
    "view_of",
]

_WHERE: Final = {
    "FRAMES_LIMIT": "frames",
    "Candidate": "localise",
    "ReadPolicy": "policy",
    "candidates": "localise",
    "findings": "classify",
    "hips": "localise",
    "of_object": "frames",
    "preprocessing": "classify",
    "read": "chain",
    "run": "classify",
    "view_of": "gates",
}


if not TYPE_CHECKING:  # which knows them from above, and says so of a name that there is not
    __getattr__ = lazily(__name__, _WHERE)
