"""A labelled contact sheet of simulated images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from hipnode.phantom.truth import Phantom

TILE_PX = 360


def contact_sheet(phantoms: Sequence[Phantom], path: Path, *, columns: int = 4) -> None:
    """Write the images as one PNG, each with its boxes and what is the matter."""
    rows = -(-len(phantoms) // columns)
    sheet = Pillow.new("RGB", (columns * TILE_PX, rows * (TILE_PX + 34)), "black")
    font = ImageFont.load_default(11)
    for k, phantom in enumerate(phantoms):
        x, y = k % columns * TILE_PX, k // columns * (TILE_PX + 34)
        sheet.paste(_tile(phantom), (x, y))
        ImageDraw.Draw(sheet).text((x + 4, y + TILE_PX + 2), _words(phantom), "white", font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _tile(phantom: Phantom) -> Pillow.Image:
    grey = phantom.pixels.astype(float)
    top = max(float(np.percentile(grey, 99.8)), 1.0)
    picture = Pillow.fromarray(np.clip(grey / top * 255, 0, 255).astype(np.uint8)).convert("RGB")
    scale = TILE_PX / max(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    draw = ImageDraw.Draw(picture)
    for hip in phantom.truth.hips:
        box = hip.box
        corners = [v * scale for v in (box.x0, box.y0, box.x1 - 1, box.y1 - 1)]
        draw.rectangle(corners, outline="orange" if hip.side.value == "R" else "cyan")
    return picture


def _words(phantom: Phantom) -> str:
    truth = phantom.truth
    first = f"{truth.image_id}  {truth.view}  {truth.sex}{truth.age}  T {truth.t_score:+.1f}"
    hips = []
    for hip in truth.hips:
        what = [hip.label.replace("_", " "), hip.subtype, hip.implant.replace("_", " ")]
        hips.append(f"{hip.side.value}: " + ", ".join(w for w in what if w))
    return first + "\n" + "   ".join(hips)
