"""What is drawn how often: a recipe, read from TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path

from hipnode.errors import SettingsInvalid


@dataclass(frozen=True, slots=True)
class Recipe:
    """Probabilities are per image, or per hip where the name says ``hip``."""

    name: str = "default"
    kind: str = "pelvis"
    size_px: int = 1024  # the longer edge, unless small
    cache_dir: Path | None = None
    anatomies: dict[str, int] = field(default_factory=lambda: {"train": 80, "val": 16, "test": 16})
    splits: dict[str, float] = field(
        default_factory=lambda: {"train": 0.8, "val": 0.1, "test": 0.1}
    )
    views: dict[str, float] = field(
        default_factory=lambda: {"frontal": 0.8, "one_hip": 0.1, "lateral": 0.05, "abdomen": 0.05}
    )
    p_fracture_hip: float = 0.25
    fractures: dict[str, float] = field(
        default_factory=lambda: {
            "intracapsular": 0.5,
            "trochanteric": 0.38,
            "subtrochanteric": 0.12,
        }
    )
    p_old_hip: float = 0.02
    p_implant_hip: float = 0.08
    p_osteoarthritis_hip: float = 0.15
    p_rotated: float = 0.1
    p_mirrored: float = 0.0
    p_monochrome1: float = 0.15
    p_low_quality: float = 0.1
    p_small: float = 0.25  # a small JPEG-like image, 373 x 454 pixels or so
    p_gross: float = 0.0  # of displaced fractures: drawn up, swung and in pieces
    p_turned_leg: float = 0.0  # an intact leg that lies turned outwards
    p_harsh: float = 0.0  # bones white, thighs dark, air black, a skin line
    p_marker: float = 0.7
    p_gas: float = 0.75
    p_clutter: float = 0.2  # tubing, clips, zips
    people: str = ""  # a cohort of a paper (see `cohorts`); "": see `people`
    readers: bool = False  # what people call each hip stands beside the truth
    uncalibrated: bool = False  # a scan whose grey levels tell no density, as a radiograph's do
    t_score_mean: float = -1.4
    t_score_sd: float = 1.2
    seed_tag: str = ""


def load_recipe(name: str | Path) -> Recipe:
    """Return the packaged recipe of this name, or the one in this TOML file.

    Raises
    ------
    SettingsInvalid
        If there is none, or it holds keys or values that no recipe has.
    """
    path = Path(name)
    packaged = files("hipnode.phantom") / "recipes" / f"{name}.toml"
    try:
        text = path.read_text("utf-8") if path.suffix == ".toml" else packaged.read_text("utf-8")
        values = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsInvalid(f"no usable recipe {name}: {error}") from error
    known = {f.name: f for f in fields(Recipe)}
    if unknown := set(values) - set(known):
        raise SettingsInvalid(f"recipe {name}: unknown keys {', '.join(sorted(unknown))}")
    if "cache_dir" in values:
        values["cache_dir"] = Path(values["cache_dir"])
    if values.get("people", "") not in ("", "yamamoto", "jang", "falls"):
        raise SettingsInvalid(f"recipe {name}: people {values['people']!r} are no cohort")
    return Recipe(**{"name": path.stem, **values})
