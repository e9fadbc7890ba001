"""``hipnode train`` with a recipe without labels: a manifest in, a backbone's weights out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.nn import functional

from hipnode.errors import ManifestInvalid
from hipnode.nets.architectures import build
from hipnode.training.learn.loop import Lesson, fit
from hipnode.training.learn.selfsupervised import Dino, Moco, teacher_of
from hipnode.training.learn.speed import settled
from hipnode.training.learn.state import first_in_turn
from hipnode.training.pack.export import check_out
from hipnode.training.recipe.recipe import Pretraining
from hipnode.training.runs import ready
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
    cache: Path | None = None,
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
    device, resume, telling, cache
        As for `hipnode.training.runs.train.train`.

    Returns
    -------
    Path
        Of ``backbone.safetensors``: the weights of the network without its head.

    Raises
    ------
    ManifestInvalid
        If a file cannot be read, or the split is empty.
    InputRefused
        Before anything is learned, if ``out``, the device, a number of the recipe or a checkpoint
        cannot be used.
    """
    telling = telling or Telling()
    ready.check_numbers(recipe)
    ready.check_device(device)
    check_out(out, BACKBONE, ())
    run = out.with_name(out.name + ".run")
    if resume:
        ready.check_checkpoints(run)
    run.mkdir(parents=True, exist_ok=True)
    rows = read_manifest(manifest, seed=recipe.plan.seed)
    with first_in_turn():
        kept = cache or run / "cache"
        splits = {n: images(recipe, rows, n, kept, telling) for n in ("train", "val")}
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
            save_file(backbone_weights(learned.backbone), run / BACKBONE)
            (run / BACKBONE).replace(out / BACKBONE)
            text = json.dumps(history.rows, indent=1)
            (out / "history.json").write_text(text, encoding="utf-8")
            curves.history(history.rows, out / "curves.png")
    return out / BACKBONE


def is_whole(backbone: Path) -> bool:
    """Tell whether a backbone's weights are there and can be read."""
    try:
        with safe_open(backbone, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False


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
    """Return what is done with a batch: views of it, each cut out and changed by itself."""
    plan, how, settings = recipe.plan, recipe.augmentation, recipe.settings
    side = recipe.preprocess.size_px
    kinds = [(side, settings.global_area)] * 2
    if recipe.method == "dino":
        kinds += [(min(side, settings.local_px), settings.local_area)] * settings.local_views

    def teach(model: nn.Module, batch: Batch, generator: Generator, device: torch.device) -> Tensor:
        views = []
        images = batch.images.to(device)
        for px, area in kinds:
            view, _ = augment(images, None, how, generator)
            view = pieces(centre(view, plan), px, area, generator)
            views.append(Preprocess(recipe.preprocess_of(px))(view))
        with torch.autocast(device.type, torch.bfloat16, enabled=plan.bf16 is True):
            loss: Tensor = model(views)
        return loss.float()

    return teach


def pieces(images: Tensor, side: int, area: tuple[float, float], generator: Generator) -> Tensor:
    """Return a piece of each image at a random place, (n, 1, side, side).

    Parameters
    ----------
    images
        (n, 1, s, s).
    side
        In pixels.
    area
        The least and the largest share of an image that is shown, drawn for each one; a piece may
        be up to a third longer one way than the other.
    generator
        Where the randomness comes from.
    """
    n = len(images)
    share = area[0] + (area[1] - area[0]) * torch.rand(n, generator=generator)
    ratio = torch.exp((2 * torch.rand(n, generator=generator) - 1) * math.log(4 / 3))
    spans = [(share * ratio).sqrt().clamp(max=1), (share / ratio).sqrt().clamp(max=1)]
    grid = torch.zeros(n, 2, 3)
    for axis, span in enumerate(spans):
        grid[:, axis, axis] = span
        grid[:, axis, 2] = (1 - span) * (2 * torch.rand(n, generator=generator) - 1)
    field = functional.affine_grid(grid.to(images.device), [n, 1, side, side], align_corners=False)
    return functional.grid_sample(images, field, padding_mode="border", align_corners=False)


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


def backbone_weights(backbone: nn.Module) -> dict[str, Tensor]:
    """Return a backbone's weights without its head, as another network of its kind takes them."""
    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in backbone.state_dict().items()
        if not name.startswith("score.")
    }
