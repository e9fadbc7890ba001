"""Reading one radiograph: values in, values out. No database, socket, clock, settings or log."""

from hipnode.reading.chain import read
from hipnode.reading.classify import findings, preprocessing, run
from hipnode.reading.gates import ReadPolicy, view_of
from hipnode.reading.localise import Candidate, candidates, hips

__all__ = [
    "Candidate",
    "ReadPolicy",
    "candidates",
    "findings",
    "hips",
    "preprocessing",
    "read",
    "run",
    "view_of",
]
