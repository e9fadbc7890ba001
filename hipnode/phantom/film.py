"""From path lengths to pixels: three energies, scatter, quantum noise, detector, processing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hipnode.phantom.affine import enlarge
from hipnode.phantom.bones import Array
from hipnode.phantom.meshes import Image

WATER_PER_MM: Final = (0.0245, 0.0206, 0.0184)  # at about 45, 60 and 75 keV
BONE_PER_MM: Final = (0.0880, 0.0500, 0.0375)  # compact bone, less the water in its place
METAL_PER_MM: Final = (0.95, 0.50, 0.32)  # between titanium and steel
WEIGHT: Final = (0.28, 0.42, 0.30)
_STEPS: Final = 65535


@dataclass(frozen=True, slots=True)
class Look:
    """How the machine makes and shows the image."""

    photons: float  # a pixel, without a body
    scatter: float  # scattered for each primary, behind 200 mm of water
    blur_px: float
    sharpen: float
    equalise: float  # how much of the large-scale brightness is taken out
    gamma: float
    slope: float  # of the S-shaped curve
    black: float  # share of pixels that go black
    white: float


def draw(rng: np.random.Generator, *, low_quality: bool) -> Look:
    """Draw a look: one vendor's, one day's."""
    photons = 10 ** rng.uniform(4.2, 5.3)
    worse = 1.0 if low_quality else 0.0
    return Look(
        float(photons * 0.12 ** (worse * rng.random())),
        float(rng.uniform(0.05, 0.5) + worse * rng.uniform(0, 1.2)),
        float(rng.uniform(0.4, 0.9) + worse * rng.uniform(0, 1.4)),
        float(rng.uniform(0.2, 2.0)),
        float(rng.uniform(0.15, 0.95)),
        float(np.clip(np.exp(rng.normal(0.6, 0.35)), 0.7, 2.6)),
        float(max(0.0, rng.uniform(-3.0, 4.0))),
        float(rng.uniform(0.0, 0.24)),
        float(rng.uniform(0.0003, 0.005) + worse * rng.uniform(0, 0.03)),
    )


def harsh(look: Look, rng: np.random.Generator) -> Look:
    """Return a look as many films have it: the shaft white, the thigh dark, the air black."""
    return replace(
        look,
        equalise=float(rng.uniform(0.0, 0.25)),
        gamma=float(rng.uniform(1.1, 2.2)),
        slope=float(rng.uniform(1.0, 5.0)),
        black=float(rng.uniform(0.02, 0.3)),
        white=float(rng.uniform(0.01, 0.06)),
    )


def expose(water: Image, bone: Image, metal: Image, look: Look, rng: np.random.Generator) -> Image:
    """Return the logarithm of what the detector saw, growing with attenuation."""
    primary = np.zeros_like(water)
    for w, b, m, share in zip(WATER_PER_MM, BONE_PER_MM, METAL_PER_MM, WEIGHT, strict=True):
        depth = np.float32(w) * water + np.float32(b) * bone + np.float32(m) * metal
        primary += np.float32(share) * _steady(np.exp, -depth)
    small = primary[::8, ::8]
    thick = water[::8, ::8] / 200
    haze = gaussian_filter(small * np.minimum(thick, 1.5), 9, mode="nearest")
    total = primary + np.float32(look.scatter) * enlarge(haze, primary.shape)
    if look.blur_px > 0.35:
        total = gaussian_filter(total, look.blur_px)
    counts = np.maximum(total * np.float32(look.photons), 1.0)
    counts += np.sqrt(counts) * rng.standard_normal(counts.shape, dtype=np.float32)
    return -_steady(np.log, np.maximum(counts, 0.5) / np.float32(look.photons))


def present(
    signal: Image, metal: Image, look: Look, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Return 12-bit pixels with bright bone, processed as a vendor would; metal goes white."""
    rows, columns = signal.shape
    floor = np.percentile(signal[::16, ::16], 60) * np.float32(0.7)  # air stays dark
    small = np.maximum(signal[::8, ::8], floor)
    coarse = gaussian_filter(small, max(rows, columns) / 8 / 16, mode="nearest")
    large = enlarge(coarse, (rows, columns))
    fine = gaussian_filter(signal, 2.5)
    out = signal - np.float32(look.equalise) * (large - np.float32(large.mean(dtype=np.float64)))
    out += np.float32(look.sharpen) * (signal - fine)
    out += np.float32(0.25 * look.sharpen) * (fine - np.maximum(large, fine.min() + floor))
    sample = np.sort(out[::6, ::6][metal[::6, ::6] < 0.5])
    low = sample[int(look.black * (len(sample) - 1))]
    high = sample[int((1 - look.white) * (len(sample) - 1))]
    linear = np.clip((out - low) / max(float(high - low), 1e-3), 0, 1)
    table = np.asarray(np.round(_curve(look) * rng.uniform(0.9, 1.0) * 4095), dtype=np.uint16)
    return np.asarray(table[np.round(linear * np.float32(_STEPS)).astype(np.uint16)])


def _curve(look: Look) -> Array:
    """Return the display curve at 65,536 inputs from 0 to 1."""
    grey = np.linspace(0, 1, _STEPS + 1) ** look.gamma
    if look.slope > 0.5:
        edge = 1 / (1 + np.exp(look.slope / 2))
        grey = (1 / (1 + np.exp(-look.slope * (grey - 0.5))) - edge) / (1 - 2 * edge)
    return np.asarray(np.clip(grey, 0, 1))


def _steady(function: np.ufunc, values: Image) -> Image:
    """Return the function, reckoned in double precision and rounded to float32.

    Single-precision exp and log differ in their last bit from one processor to the next: with
    them one pixel in 3,000 came out a grey level apart.
    """
    return np.asarray(function(values, dtype=np.float64), dtype=np.float32)
