"""Fuzz one target with atheris: ``python -m tests.fuzz TARGET [libFuzzer's options]``.

A finding is written to ``crash-…`` in the present folder; once mended, it goes into
``tests/fuzz/corpus/TARGET-what-it-was.hex``, as hexadecimal digits.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["hipnode.services.listener", "hipnode.imaging", "hipnode.nets", "pydicom.filereader"]
):
    from tests.fuzz.targets import MAX_BYTES, TARGETS, seeds


def main() -> None:
    """Run until libFuzzer's options say that it is enough."""
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="hipnode-corpus-") as folder:
        for number, seed in enumerate(seeds(name)):
            Path(folder, f"seed-{number}").write_bytes(seed)
        limits = [f"-max_len={MAX_BYTES}", "-timeout=20", "-rss_limit_mb=3000"]
        atheris.Setup([sys.argv[0], *limits, *options, folder], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
