"""Fuzz a target with atheris: ``python -m tests.fuzz TARGET [libFuzzer's options]``, or ``all``.

A finding is written to ``crash-…`` in the present folder; once mended, it goes into
``tests/fuzz/corpus/TARGET-what-it-was.hex``, as hexadecimal digits.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Final

import atheris

_TABLES: Final = (
    "_dicom_dict", "_private_dict", "_uid_dict", "sr._cid_dict", "sr._concepts_dict",
    "sr._snomed_dict",
)  # fmt: skip
"""Of pydicom: nothing in them branches, and to instrument them takes a quarter of the time."""

# atheris instruments whole packages.
with atheris.instrument_imports(
    include=["hipnode", "pydicom"], exclude=[f"pydicom.{table}" for table in _TABLES]
):
    from tests.fuzz.targets import MAX_BYTES, TARGETS, seeds


_MEMORY_MB: Final = 3000


def fuzz(name: str, options: list[str]) -> None:
    """Run until libFuzzer's options say that it is enough; it ends the process."""
    with tempfile.TemporaryDirectory(prefix="hipnode-corpus-") as folder:
        for number, seed in enumerate(seeds(name)):
            Path(folder, f"seed-{number}").write_bytes(seed)
        # libFuzzer looks at the peak, and a process begins with the peak of the one it came from.
        peak_mb = _MEMORY_MB + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        limits = [f"-max_len={MAX_BYTES}", "-timeout=20", f"-rss_limit_mb={peak_mb}"]
        atheris.Setup([sys.argv[0], *limits, *options, folder], TARGETS[name])
        atheris.Fuzz()


def each(options: list[str]) -> int:
    """Fuzz all targets in turn, each in a process of its own; return how many found something.

    They begin as copies of this one: to instrument what is imported takes 20 s.
    """
    found = []
    for name in TARGETS:
        sys.stdout.flush()
        if not (child := os.fork()):
            fuzz(name, options)
        if os.waitpid(child, 0)[1]:
            found.append(name)
    sys.stdout.write(f"found something: {' '.join(found) or 'none'}\n")
    return len(found)


if __name__ == "__main__":
    target, *rest = sys.argv[1:]
    sys.exit(each(rest)) if target == "all" else fuzz(target, rest)
