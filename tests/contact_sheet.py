"""Draw what the shipped models find on real pelves: ``python -m tests.contact_sheet OUT.jpg``.

The radiographs are those of FracAtlas (Abedeen et al. 2023, CC BY 4.0) that its index calls AP
pelves, in thumbnails, with the attribution on the sheet.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hipnode import imaging, nets
from hipnode.domain import Radiograph, Reading, Side
from hipnode.reading import ReadPolicy, read
from tests.peers import shared_data

TILE_PX: Final = 116
COLUMNS: Final = 12
COLOURS: Final = {Side.RIGHT: "orange", Side.LEFT: "cyan"}
CREDIT: Final = (
    "Radiographs: FracAtlas, Abedeen et al. 2023, Sci Data 10:521, "
    "doi 10.6084/m9.figshare.22363012, CC BY 4.0; scaled down, boxes and letters added."
)


def main(out: Path) -> None:
    """Read every AP pelvis and write the sheet."""
    folder = shared_data("fracatlas")
    with (folder / "index.csv").open(encoding="utf-8") as file:
        files = [row["file"] for row in csv.DictReader(file) if row["view"].startswith("AP pelvis")]
    models = nets.load_model_set("default", device="cpu", threads=1)
    tiles, both = [], 0
    for name in files:
        header, radiograph = imaging.load_picture(folder / name)
        reading = read(header, radiograph, models, ReadPolicy())
        both += len({hip.roi.side for hip in reading.hips}) == 2
        tiles.append(tile(Path(name).stem.removeprefix("IMG000"), radiograph, reading))
    said = f"both hips found on {both} of {len(files)} AP pelves; right orange, left cyan"
    sheet(tiles, [f"{models.name} {models.digest[:12]}: {said}.", CREDIT]).save(out, quality=72)


def tile(name: str, radiograph: Radiograph, reading: Reading) -> Image.Image:
    """Return one thumbnail with its boxes, struck out where a hip was not assessed."""
    scale = TILE_PX / max(radiograph.pixels.shape)
    size = tuple(max(1, round(extent * scale)) for extent in radiograph.pixels.shape)
    grey = imaging.resample(radiograph.pixels, (size[0], size[1]))
    picture = Image.fromarray((np.clip(grey, 0, 1) * 255).astype(np.uint8)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for hip in reading.hips:
        box, colour = hip.roi.box, COLOURS[hip.roi.side]
        x0, y0, x1, y1 = (v * scale for v in (box.x0, box.y0, box.x1 - 1, box.y1 - 1))
        draw.rectangle((x0, y0, x1, y1), outline=colour)
        if hip.abstention is not None:
            draw.line((x0, y0, x1, y1), fill=colour)
    whole = Image.new("RGB", (TILE_PX, TILE_PX + 12))
    whole.paste(picture, (0, 12))
    why = f" {reading.abstention.reason}" if reading.abstention else ""
    ImageDraw.Draw(whole).text((1, 0), name + why, "white", ImageFont.load_default(9))
    return whole


def sheet(tiles: list[Image.Image], words: list[str]) -> Image.Image:
    """Return the tiles in rows, with lines of text below."""
    rows = -(-len(tiles) // COLUMNS)
    high = rows * (TILE_PX + 12)
    whole = Image.new("RGB", (COLUMNS * TILE_PX, high + 16 * len(words)))
    for index, one in enumerate(tiles):
        whole.paste(one, (index % COLUMNS * TILE_PX, index // COLUMNS * (TILE_PX + 12)))
    draw = ImageDraw.Draw(whole)
    for line, text in enumerate(words):
        draw.text((4, high + 16 * line + 1), text, "white", ImageFont.load_default(11))
    return whole


if __name__ == "__main__":
    main(Path(sys.argv[1]))
