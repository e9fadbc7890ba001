"""Simulated radiographs of the pelvis whose truth is known to the pixel.

``render(recipe, seed, index)`` makes one image; the same three give the same pixels.
"""

from hipnode.phantom.dicom import write_dicom
from hipnode.phantom.manifest import Made, read_manifest, write_manifest
from hipnode.phantom.population import Recipe, load_recipe
from hipnode.phantom.render import render
from hipnode.phantom.truth import HipTruth, Phantom, Truth

__all__ = [
    "HipTruth",
    "Made",
    "Phantom",
    "Recipe",
    "Truth",
    "load_recipe",
    "read_manifest",
    "render",
    "write_dicom",
    "write_manifest",
]
