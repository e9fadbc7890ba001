"""Each target with earlier findings, with hypothesis, and with a short run of atheris."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.fuzz import refusals
from tests.fuzz.targets import TARGETS, seeds
from tests.peers import ROOT, missing, run

CORPUS = Path(__file__).parent / "corpus"
RUNS = int(os.environ.get("HIPNODE_FUZZ_RUNS", "400"))


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.hex")), ids=lambda path: path.name)
def test_earlier_findings(path: Path) -> None:
    TARGETS[path.name.partition("-")[0]](bytes.fromhex(path.read_text(encoding="ascii")))


@pytest.mark.parametrize("name", TARGETS)
def test_valid_input_is_taken_to_the_end(name: str) -> None:
    """What refuses its own seeds at the first look has nothing to search from."""
    for seed in seeds(name):
        refusals.said.clear()
        TARGETS[name](seed)
        assert not refusals.said


def spoilt(seed: bytes, chance: random.Random) -> bytes:
    """Return a valid input with a few bytes changed, cut, doubled or moved."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        at, other = chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if data:
                data[min(at, len(data) - 1)] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, at & 0xFF])
            case 1:
                del data[at:other]
            case 2:
                data[at:at] = data[other : other + 40]
            case 3:
                data[at : at + 4] = chance.choice([b"\xff" * 4, bytes(4), b"\0\0\0\x01", b"\x7f"])
            case _:
                data[at:at] = chance.randbytes(chance.randint(1, 12))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=examples(150), deadline=None)
@given(seed=st.integers(0, 2**64), noise=st.one_of(st.none(), st.binary(max_size=400)))
def test_any_input(name: str, seed: int, noise: bytes | None) -> None:
    chance = random.Random(seed)  # noqa: S311
    TARGETS[name](noise if noise is not None else spoilt(chance.choice(seeds(name)), chance))


@pytest.mark.timeout(900)
def test_atheris_finds_nothing(tmp_path: Path) -> None:
    """A short run, so that the harness itself is tried; `HIPNODE_FUZZ_RUNS` makes it longer."""
    try:
        import atheris  # noqa: F401
    except ImportError:
        missing("atheris is not installed (pip install atheris)")
    command = [sys.executable, "-m", "tests.fuzz", "all", f"-runs={RUNS}", "-seed=1"]
    env = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}  # libFuzzer ends without tidying up
    said = run(command, cwd=tmp_path, env=env, timeout_s=120 + len(TARGETS) * RUNS / 10)
    assert said.stdout.count("found something: none") == 1
    assert said.stderr.count(f"Done {RUNS} runs") == len(TARGETS)
