"""How fast the phantom is, and how far from real radiographs.

    python -m tests.bench.bench_phantom [--count 20] [--jobs 2] [--real DIR]

``DIR`` holds real hip radiographs (JPEG or PNG), upright and with bright bone.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from hipnode.phantom import Recipe, load_recipe, render
from hipnode.phantom.lots import draw_plan
from tests.bench import realism

SEED = 20


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def one(recipe: Recipe, index: int) -> float:
    """Render one image of 1,024 px; return the processor seconds that it took."""
    start = time.process_time()
    render(recipe, SEED, index, size_px=1024)
    return time.process_time() - start


def speed(recipe: Recipe, count: int, jobs: int) -> None:
    """Print the rate over ``jobs`` processes, with every body cached before."""
    with get_context("spawn").Pool(jobs) as pool:
        pool.map(partial(one, recipe), range(count))  # fills the cache
        start = time.perf_counter()
        spent = pool.map(partial(one, recipe), range(count), chunksize=2)
        wall = time.perf_counter() - start
    _say(f"{count} images of 1,024 px, {jobs} processes, bodies cached:")
    _say(f"  {count / wall:.2f} images a second")
    _say(f"  {np.median(spent):.2f} s of processor time an image (median)")


def closeness(recipe: Recipe, folder: Path, count: int) -> None:
    """Print the distance between real images and as many plain frontal phantoms."""
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in (".jpg", ".jpeg", ".png"))
    real = [np.asarray(Image.open(f).convert("L"), dtype=np.float32) for f in files]
    plain = [i for i in range(20 * count) if _is_upright(recipe, i)][:count]
    made = [render(recipe, SEED, i) for i in plain]
    bright = [
        (4095 - m.pixels if m.truth.photometric == "MONOCHROME1" else m.pixels).astype(np.float32)
        for m in made
    ]
    found = realism.distance(real, bright)
    _say(f"{len(real)} real and {len(bright)} simulated images:")
    _say(f"  features differ by {found.mean_shift:.2f} pooled deviations on average")
    _say(f"  a linear classifier tells them apart with AUC {found.auc:.2f} (0.5 is ideal)")
    for name, shift in found.worst:
        _say(f"  {name}: {shift:+.2f}")


def _is_upright(recipe: Recipe, index: int) -> bool:
    plan = draw_plan(recipe, SEED, index)
    return plan.view == "frontal" and plan.quarter_turns == 0


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--real", type=Path, default=None)
    chosen = parser.parse_args()
    recipe = load_recipe("training")
    speed(recipe, chosen.count, chosen.jobs)
    if chosen.real is not None:
        closeness(recipe, chosen.real, max(chosen.count, 40))


if __name__ == "__main__":
    main()
