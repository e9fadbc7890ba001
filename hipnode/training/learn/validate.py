"""What a network says about a split, un-augmented, as serving would see it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from hipnode.training.recipe.recipe import Recipe
from hipnode.training.samples.batches import Samples, centre, resize, tensor_of
from hipnode.training.samples.transforms import Preprocess
from hipnode.training.stats import calibrate


def prepared(recipe: Recipe, samples: Samples, rows: slice) -> Tensor:
    """Return samples (n, 1, size_px, size_px) as serving prepares them; embeddings as they are."""
    images = tensor_of(np.asarray(samples.images[rows]))
    if images.ndim == 2:
        return images
    side = round(recipe.preprocess.size_px / recipe.plan.view)
    plan = recipe.plan.model_copy(update={"size_px": recipe.preprocess.size_px})
    images = images if images.shape[-1] == side else resize(images, side)
    return Preprocess(recipe.preprocess)(centre(images, plan))


def forward(
    recipe: Recipe, net: nn.Module, samples: Samples, output: str, device: str
) -> NDArray[np.float32]:
    """Return an output of the network for all samples."""
    found = []
    net.eval()
    where = next(net.parameters()).device if device != "cpu" else torch.device("cpu")
    with torch.inference_mode():
        for start in range(0, len(samples), 32):
            rows = slice(start, start + 32)
            known = samples.covariates
            more = () if known is None else (torch.from_numpy(known[rows]).to(where),)
            outputs = net(prepared(recipe, samples, rows).to(where), *more)
            found.append(outputs[output].float().cpu().numpy())
    return np.concatenate(found)


def measure(recipe: Recipe, net: nn.Module, samples: Samples, device: str) -> dict[str, float]:
    """Return the validation figures of an epoch; ``score`` decides which one is kept."""
    if recipe.role == "localiser":
        wanted = np.asarray(samples.targets) > 127
        if "box" in recipe.outputs:
            inside = _filled(forward(recipe, net, samples, "box", device), wanted.shape[-1])
        else:
            inside = forward(recipe, net, samples, "mask", device)[:, 0] >= 0.5
        union = np.maximum((inside | wanted).sum((1, 2)), 1)
        jaccard = (inside & wanted).sum((1, 2)) / union
        return {"jaccard": float(jaccard.mean()), "score": float(jaccard.mean())}
    p = calibrate.probabilities(forward(recipe, net, samples, "logits", device), 1.0)
    actual = samples.classes
    positive = np.isin(actual, recipe.positive_indices)
    p_positive = p[:, recipe.positive_indices].sum(1)
    surprise = -float(np.log(p[np.arange(len(actual)), actual] + 1e-9).mean())
    both = positive.any() and not positive.all()
    accuracy = float((p.argmax(1) == actual).mean())
    score = {"accuracy": accuracy, "loss": -surprise, "last": 0.0}[recipe.keep]  # ties: the later
    return {
        "accuracy": accuracy,
        "auc": float(roc_auc_score(positive, p_positive)) if both else float("nan"),
        "val_loss": surprise,
        "score": score,
    }


def _filled(boxes: NDArray[np.float32], side: int) -> NDArray[np.bool_]:
    """Return boxes (n, 4) in shares of the side as masks (n, side, side)."""
    at = (np.arange(side) + 0.5) / side
    x0, y0, x1, y1 = (boxes[:, [index]] for index in range(4))
    columns, rows = (at >= x0) & (at < x1), (at >= y0) & (at < y1)
    return np.asarray(rows[:, :, None] & columns[:, None, :])
