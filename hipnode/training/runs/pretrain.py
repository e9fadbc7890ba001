"""``hipnode train`` with a recipe without labels: a manifest in, a backbone's weights out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from hipnode.errors import ManifestInvalid
from hipnode.nets.architectures import build
from hipnode.training.learn.loop import Lesson, fit
from hipnode.training.learn.selfsupervised import Dino, Moco, teacher_of
from hipnode.training.learn.speed import settled
from hipnode.training.learn.state import first_in_turn
from hipnode.training.recipe.recipe import Pretraining
from hipnode.training.runs.train import Telling
from hipnode.training.samples.augment import augment
from hipnode.training.samples.batches import Batch, Samples, centre, load, resize
from hipnode.training.samples.gather import Split, store
from hipnode.training.samples.items import Item
from hipnode.training.samples.manifest import Manifests, Row, name_of, read_manifest
from hipnode.training.samples.transforms import Preprocess
from hipnode.training.stats import curves

BACKBONE = "backbone.safetensors"


def pretrain(
    recipe: Pretraining,
    manifest: Manifests,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    telling: Telling | None = None,
) -> Path:
    """Learn a backbone from images without labels.

    Parameters
    ----------
    recipe
        The method and the network.
    manifest
        From what: every image of the split ``train``, whatever it shows. No label is read.
    out
        The folder of ``backbone.safetensors``, the history and its curves. Beside it,
        ``<out>.run`` keeps the cache and the checkpoints.
    device, resume, telling
        As for `hipnode.training.runs.train.train`.

    Returns
    -------
    Path
        Of ``backbone.safetensors``: the weights of the network without its head.

    Raises
    ------
    ManifestInvalid
        If a file cannot be read, or the split is empty.
    """
    telling = telling or Telling()
    run = out.with_name(out.name + ".run")
    run.mkdir(parents=True, exist_ok=True)
    rows = read_manifest(manifest, seed=recipe.plan.seed)
    with first_in_turn():
        splits = {n: images(recipe, rows, n, run / "cache", telling) for n in ("train", "val")}
    if not splits["train"].items:
        raise ManifestInvalid(f"{name_of(manifest)} has no image in split train")
    torch.manual_seed(recipe.plan.seed)
    side = recipe.preprocess.size_px
    method = teacher_of(
        recipe.method,
        build(recipe.network.name, dict(recipe.network.arguments)),
        torch.zeros(1, 1, side, side),
        recipe.settings,
    )
    plan = settled(
        recipe.plan,
        lambda plan: lesson(recipe.model_copy(update={"plan": plan})),
        method, splits["train"].samples, device, run,
    )  # fmt: skip
    recipe = recipe.model_copy(update={"plan": plan})
    learned, history = fit(
        method,
        splits["train"].samples,
        lesson(recipe),
        lambda model: spread(recipe, model, splits["val"].samples),
        recipe.plan,
        folder=run,
        device=device,
        resume=resume,
        after_step=follow,
        tell=telling.epoch,
    )
    with first_in_turn() as first:
        if first and isinstance(learned, Dino | Moco):
            out.mkdir(parents=True, exist_ok=True)
            save_file(weights(learned.backbone), out / BACKBONE)
            text = json.dumps(history.rows, indent=1)
            (out / "history.json").write_text(text, encoding="utf-8")
            curves.history(history.rows, out / "curves.png")
    return out / BACKBONE


def images(
    recipe: Pretraining, rows: Sequence[Row], split: str, cache: Path, telling: Telling
) -> Split:
    """Return every image of a split, whole, without labels."""
    chosen = [Item(row, None, 0) for row in rows if row.split == split]
    if not chosen:
        return Split(Samples(np.zeros((0, 8, 8), np.uint16), np.zeros(0), np.ones(0)), (), {})
    stored, _ = store(recipe, chosen, cache / split, partial(telling.decoded, split))
    telling.left_out(split, {})
    targets = np.zeros(len(chosen), np.int64)
    return Split(Samples(stored, targets, np.ones(len(chosen))), tuple(chosen), {})


def lesson(recipe: Pretraining) -> Lesson:
    """Return what is done with a batch: views of it, each changed by itself."""
    plan, how = recipe.plan, recipe.augmentation
    prepare = Preprocess(recipe.preprocess)
    side = recipe.preprocess.size_px
    small = max(16, round(side * recipe.settings.local_share / 16) * 16)
    locals_ = recipe.settings.local_views if recipe.method == "dino" else 0

    def teach(model: nn.Module, batch: Batch, generator: Generator, device: torch.device) -> Tensor:
        views = []
        for index in range(2 + locals_):
            view, _ = augment(batch.images, None, how, generator)
            view = centre(view, plan)
            view = view if view.shape[-1] == side else resize(view, side)
            if index >= 2:
                view = _somewhere(view, small, generator)
                spec = recipe.preprocess_of(small)
                views.append(Preprocess(spec)(view).to(device))
            else:
                views.append(prepare(view).to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=plan.bf16 is True):
            loss: Tensor = model(views)
        return loss.float()

    return teach


def _somewhere(images: Tensor, side: int, generator: Generator) -> Tensor:
    """Return a square out of all images, (n, 1, side, side), at a random place."""
    room = images.shape[-1] - side + 1
    top, left = (int(torch.randint(0, room, (1,), generator=generator)) for _ in range(2))
    return images[..., top : top + side, left : left + side]


def follow(model: nn.Module, done: float) -> None:
    """Move what follows the network."""
    if isinstance(model, Dino | Moco):
        model.follow(done)


def spread(recipe: Pretraining, model: nn.Module, samples: Samples) -> dict[str, float]:
    """Return how far embeddings of different images differ; 0 would be a collapse.

    The last epoch is kept: without labels, no figure says which is best.
    """
    if not len(samples) or not isinstance(model, Dino | Moco):
        return {"score": 0.0}
    side = recipe.preprocess.size_px
    batch = load(samples, range(min(len(samples), 64)), recipe.plan).images
    batch = Preprocess(recipe.preprocess)(resize(centre(batch, recipe.plan), side))
    where = next(model.parameters()).device
    with torch.inference_mode():
        embedding = model.backbone.eval()(batch.to(where))["embedding"].float()
    unit = nn.functional.normalize(embedding, dim=1)
    return {"spread": float(unit.std(0).mean() * unit.shape[1] ** 0.5), "score": 0.0}


def weights(backbone: nn.Module) -> dict[str, Tensor]:
    """Return a backbone's weights without its head, as another network of its kind takes them."""
    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in backbone.state_dict().items()
        if not name.startswith("score.")
    }
