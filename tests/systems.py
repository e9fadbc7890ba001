"""Each system of the papers in a line: how true, beyond chance or not, how judged, where served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hipnode.domain import TASKS
from hipnode.training.recipe.published import PUBLISHED
from hipnode.training.recipe.recipe import Pretraining, Recipe, read_recipe
from tests.peers import ROOT

RECIPES: Final = ROOT / "hipnode" / "training" / "recipe" / "recipes"
_MODELS: Final = ROOT / "hipnode" / "models"
_SHIPS: Final = {"murphy2022-cnn2": "murphy2022-cnn2-real"}
"""By a bundle's name the recipe that it comes from, where that has another."""
_HEAD: Final = """\
*Differs*: where the recipe knowingly departs from the print (`where` in its file says why, and what
is not printed). *Beyond chance*: by the lower end of an interval over other patients and, where
there are some, other seeds; of boxes, beyond the mean box. *Beside the paper's*: so many of its
figures `hipnode evaluate` prints beside its own. *Served*: it ships in a model set, or a node reads
with it in `tests/protocol/test_served.py`, SR and all, there before it has learned; `make league`
does the same with the best bundle of each row.
"""


def systems(document: Mapping[str, Any]) -> str:
    """Return a table of every recipe, with what the league's document says of it."""
    found = {
        row["system"]: (task, row) for task in document["tasks"].values() for row in task["rows"]
    }
    lines = [
        "## System by system", "", _HEAD,
        "| recipe | differs | beyond chance | beside the paper's | served |", "| --- " * 5 + "|",
    ]  # fmt: skip
    for path in sorted(RECIPES.glob("*.toml")):
        recipe = read_recipe(path.stem)
        differs = ", ".join(key for key, why in recipe.where.items() if "differs because" in why)
        cells = [recipe.name, differs or "-", _beyond(*found.get(recipe.name, (None, None)))]
        cells += [str(len(PUBLISHED.get(recipe.name, {})) or "-"), _served(recipe)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _beyond(task: Mapping[str, Any] | None, row: Mapping[str, Any] | None) -> str:
    if task is None or row is None:
        return "-"
    least = 0.5
    if task["of"] == "boxes":
        least = max(one["jaccard"][2] for one in task["yardsticks"])
    word = "yes" if row["low_over_seeds"] > least else "no"
    return f"{word}, {row['value'][0]:.3f} (at least {row['low_over_seeds']:.3f})"


def _served(recipe: Recipe | Pretraining) -> str:
    shipped = {_SHIPS.get(path.name, path.name) for path in _MODELS.iterdir() if path.is_dir()}
    if recipe.name in shipped:
        return "ships"
    if isinstance(recipe, Pretraining):
        return "its heads are"
    return "in a test" if recipe.role in {row.role for row in TASKS.values()} else "-"
