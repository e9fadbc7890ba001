"""The phantoms that a league plays on, made once; what lies there already is what was asked for."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from hipnode.errors import InputRefused
from hipnode.phantom import batch, load_recipe, read_manifest, write_manifest
from hipnode.training.league.files import document, write
from hipnode.training.league.profiles import Profile, Task

MADE_OF: Final = "made-of.json"
_SEED: Final = 19
_SEED_ELSEWHERE: Final = 119  # so that nobody there has a name that somebody here has

Tell = Callable[[str], None]


def images(task: Task, profile: Profile, folder: Path, tell: Tell) -> Path:
    """Return the manifest of a task's phantoms, made once.

    Bodies of the test split have shapes that none of the others have (see `phantom.bones`).

    Raises
    ------
    InputRefused
        If the phantoms that lie there are not those of the profile.
    """
    return _images(task.phantom, profile.people_of(task), profile, folder, tell, _SEED)


def elsewhere(task: Task, profile: Profile, folder: Path, tell: Tell) -> Path | None:
    """Return the manifest of another hospital's phantoms, for the test alone; None: none asked."""
    if not task.elsewhere:
        return None
    people = {"test": profile.people["test"]}
    return _images(task.elsewhere, people, profile, folder, tell, _SEED_ELSEWHERE)


def _images(
    phantom: str,
    people: Mapping[str, int],
    profile: Profile,
    folder: Path,
    tell: Tell,
    seed: int,
) -> Path:
    at = folder / "data" / phantom
    manifest = at / "manifest.csv"
    wanted = _made_of(phantom, people, profile, seed)
    if manifest.exists():
        there = document(at / MADE_OF) | {"people": _people(manifest)}
        for what, value in wanted.items():
            if there.get(what, value) != value:
                raise InputRefused(
                    f"{manifest} is not of profile {profile.name}: {what} {there[what]}, not "
                    f"{value}; play it in a folder of its own"
                )
        return manifest
    made = []
    for number, (split, count) in enumerate(people.items()):
        recipe = replace(load_recipe(phantom), splits={split: 1.0})
        if profile.bodies:
            recipe = replace(recipe, anatomies=profile.bodies)
        tell(f"{phantom}: {count} people of split {split}")
        made += list(batch.make_all(batch.Order(recipe, seed + number, at), count, 1))
    write(at / MADE_OF, wanted)
    write_manifest(manifest.with_suffix(".tmp"), made)
    manifest.with_suffix(".tmp").replace(manifest)
    return manifest


def _made_of(
    phantom: str, people: Mapping[str, int], profile: Profile, seed: int
) -> dict[str, Any]:
    """Return what phantoms follow from."""
    recipe = json.dumps(asdict(load_recipe(phantom)), sort_keys=True, default=str)
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    return {"people": people, "bodies": profile.bodies, "recipe": digest, "seed": seed}


def _people(manifest: Path) -> dict[str, int]:
    """Return how many people each split has: of phantoms without `MADE_OF`, all that is known."""
    split_of = {row.get("patient_id"): row.get("split", "") for row in read_manifest(manifest)}
    return dict(Counter(split_of.values()))
