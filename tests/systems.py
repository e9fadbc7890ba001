"""Each system of the papers in a line: how true, beyond chance or not, how judged, where served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hipnode.domain import TASKS
from hipnode.training.league.profiles import TASKS as LEAGUE
from hipnode.training.league.profiles import UNTRAINED
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
does the same with the best bundle of each row. What only begins another recipe is judged with it.
A recipe that no paper prints and no league plays is ours: what it is worth stands, if anywhere, in
[models.md](models.md). ImageNet's weights come from elsewhere, and no league was given them.
"""


def systems(document: Mapping[str, Any]) -> str:
    """Return a table of every recipe, with what the league's document says of it."""
    found = {
        recipe: (task, row)
        for name, task in document["tasks"].items()
        for row in task["rows"]
        if (recipe := _recipe_of(name, row["system"]))
    }
    lines = [
        "## System by system", "", _HEAD,
        "| recipe | differs | beyond chance | beside the paper's | served |", "| --- " * 5 + "|",
    ]  # fmt: skip
    for path in sorted(RECIPES.glob("*.toml")):
        recipe = read_recipe(path.stem)
        differs = ", ".join(key for key, why in recipe.where.items() if "differs because" in why)
        beside = str(len(PUBLISHED.get(recipe.name, {})) or "-")
        beyond = _beyond(*found[recipe.name]) if recipe.name in found else _unplayed(recipe.name)
        where = _served(recipe, played=recipe.name in found)
        if goes_on := _goes_on(recipe.name):
            beyond = where = f"see {goes_on}"
        cells = [recipe.name, differs or "-", beyond, beside, where]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _goes_on(name: str) -> str:
    """Return the recipe that goes on from this one, and is what is judged and served."""
    rows = [row for task in LEAGUE for row in task.systems.values()]
    return next((row.recipe for row in rows if row.start == name), "")


def _recipe_of(task: str, system: str) -> str:
    """Return whose recipe a row shows whole; nothing of an ablation, or of what learned nothing."""
    (row,) = (one.systems[system] for one in LEAGUE if one.name == task)
    return "" if row.changes or row.start == UNTRAINED else row.recipe


def _unplayed(name: str) -> str:
    if "imagenet" in name:
        return "not played: weights from elsewhere"
    return "not played" if name in PUBLISHED else "ours"


def _beyond(task: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    least = 0.5
    if task["of"] == "boxes":
        least = max(one["jaccard"][2] for one in task["yardsticks"])
    word = "yes" if row["low_over_seeds"] > least else "no"
    return f"{word}, {row['value'][0]:.3f} (at least {row['low_over_seeds']:.3f})"


def _served(recipe: Recipe | Pretraining, *, played: bool) -> str:
    shipped = {_SHIPS.get(path.name, path.name) for path in _MODELS.iterdir() if path.is_dir()}
    if recipe.name in shipped:
        return "ships"
    if isinstance(recipe, Recipe) and recipe.role in {row.role for row in TASKS.values()}:
        return "in a test"
    return "by `make league`" if played else "-"
