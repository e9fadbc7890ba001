"""Reading one radiograph: values in, values out. No database, socket, clock, settings or log."""

from hipnode.reading.chain import read
from hipnode.reading.classify import findings, preprocessing, run
from hipnode.reading.frames import LIMIT as FRAMES_LIMIT
from hipnode.reading.frames import of_object
from hipnode.reading.gates import ReadPolicy, view_of
from hipnode.reading.localise import Candidate, candidates, hips

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
