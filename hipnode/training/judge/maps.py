"""What a network looked at: Grad-CAM (MONAI's), guided Grad-CAM, EigenCAM, EigenGradCAM, as PNG.

References
----------
Murphy 2022, Figure 5 and Jang 2022, Figure 2 (Grad-CAM); Yamamoto 2020, 2.9 (guided Grad-CAM);
DXA 2023, Fig. 3 (EigenGradCAM, EigenCAM).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from matplotlib import pyplot as plt
from monai.visualize.class_activation_maps import GradCAM
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hipnode.imaging import preprocess
from hipnode.nets import BundleSpec
from hipnode.nets.architectures.attention import ViTSmall
from hipnode.nets.bundle.contents import METADATA, verify
from hipnode.nets.bundle.spec import read_spec
from hipnode.nets.torch_engine import load_network
from hipnode.reading.classify import preprocessing
from hipnode.training.samples.items import Item
from hipnode.training.samples.manifest import read_image

_LAYER: Final = {"googlenet": "blocks.5b", "densenet172": "net.features"}
"""The module whose output is the last feature map; `features` where none is named."""
_ACTIVATIONS: Final = {"ReLU", "LeakyReLU", "GELU", "SiLU", "Swish", "MemoryEfficientSwish"}


class Logits(nn.Module):
    """A network of the registry as a function of the image alone, as MONAI's tools want it."""

    def __init__(self, net: nn.Module, covariates: Tensor | None) -> None:
        super().__init__()
        self.net = net
        self.covariates = covariates
        for module in net.modules():
            if hasattr(module, "inplace"):
                setattr(module, "inplace", False)  # noqa: B010 (a hook must see what went in)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        more = () if self.covariates is None else (self.covariates,)
        found: Tensor = self.net(x, *more)["logits"]
        return found


def grad_cam(net: Logits, image: Tensor, label: int, network: str) -> NDArray[np.float32]:
    """Return (s, s) in [0, 1]: MONAI's Grad-CAM at the last feature map of ``image`` (1, 1, s, s).

    MONAI's own normalisation is not used: it turns the map upside down.
    """
    layer = f"net.{_LAYER.get(network, 'features')}"
    cam = GradCAM(nn_module=net, target_layers=layer, postprocessing=lambda found: found)
    return _unit(torch.as_tensor(cam(image, class_idx=label)))


def guided_grad_cam(net: Logits, image: Tensor, label: int, network: str) -> NDArray[np.float32]:
    """Return (s, s) in [0, 1]: guided backpropagation times Grad-CAM."""
    cam = grad_cam(net, image, label, network)
    hooks = [
        module.register_full_backward_hook(_only_positive)
        for module in net.modules()
        if type(module).__name__ in _ACTIVATIONS
    ]
    seen = image.clone().requires_grad_()
    try:
        net(seen)[0, label].backward()
    finally:
        for hook in hooks:
            hook.remove()
    gradient = seen.grad if seen.grad is not None else torch.zeros_like(seen)
    return _unit(gradient.abs() * torch.from_numpy(cam))


def _only_positive(
    _module: nn.Module, given: tuple[Tensor, ...] | Tensor, _out: object
) -> tuple[Tensor]:
    """Let only gradients pass that speak for the class (Springenberg 2014)."""
    return (given[0].clamp(min=0),)


def eigen_cam(net: Logits, image: Tensor, network: str) -> NDArray[np.float32]:
    """Return (s, s) in [0, 1]: the first principal component of the last feature map.

    A component's sign is arbitrary; here it agrees with the mean activation.
    """
    with torch.inference_mode():
        if isinstance(net.net, ViTSmall):
            found = _as_map(net.net.tokens(image))
        else:
            found = _seen(net, image, _LAYER.get(network, "features"))[0]
        flat = found[0].flatten(1).T  # (places, channels)
        return _component(flat, (flat - flat.mean(0)).abs().mean(1), image)


def eigen_grad_cam(net: Logits, image: Tensor, label: int, network: str) -> NDArray[np.float32]:
    """Return (s, s) in [0, 1]: the first principal component of activations times gradients.

    Its sign agrees with what speaks for the class. Of a transformer these are the tokens before
    the last layer's attention: after it, the logits hang on the class token alone.
    """
    transformer = net.net if isinstance(net.net, ViTSmall) else None
    last = f"layers.layers.{len(transformer.layers.layers) - 1}.norm1" if transformer else ""
    layer = last or _LAYER.get(network, "features")
    found, logits = _seen(net, image.clone().requires_grad_(), layer)
    (slope,) = torch.autograd.grad(logits[0, label], found)
    product = (found * slope).detach()
    flat = (_as_map(product) if transformer else product)[0].flatten(1).T
    return _component(flat, flat.sum(1), image)


def _seen(net: Logits, image: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Return what a layer gives out, and the logits."""
    kept: list[Tensor] = []
    hook = net.net.get_submodule(layer).register_forward_hook(
        lambda _module, _in, out: kept.append(out)
    )
    try:
        logits = net(image)
    finally:
        hook.remove()
    return kept[-1], logits


def _as_map(tokens: Tensor) -> Tensor:
    """Return (1, channels, h, w) of tokens (1, 1 + patches, channels)."""
    side = round((tokens.shape[1] - 1) ** 0.5)
    return tokens[0, 1:].T.reshape(1, -1, side, side)


def _component(flat: Tensor, toward: Tensor, image: Tensor) -> NDArray[np.float32]:
    """Return the first principal component of (places, channels), signed as ``toward``."""
    flat = flat.float() - flat.float().mean(0)
    _, _, axes = torch.linalg.svd(flat, full_matrices=False)
    component = flat @ axes[0]
    if (component * (toward - toward.mean())).sum() < 0:
        component = -component
    side = round(len(component) ** 0.5)
    fine = functional.interpolate(
        component.view(1, 1, side, side), image.shape[2:], mode="bilinear"
    )
    return _unit(fine)


def _unit(found: Tensor) -> NDArray[np.float32]:
    values = found.detach().float().cpu().numpy().reshape(found.shape[-2:])
    values = np.maximum(values, 0)
    return np.asarray(values / max(float(values.max()), 1e-9), np.float32)


def write_maps(bundle: Path, examples: Sequence[Item], out: Path) -> list[Path]:
    """Write one PNG an example: the crop as the network saw it, and the maps beside it.

    Parameters
    ----------
    bundle
        Whose network.
    examples
        Items; their images are read again.
    out
        The folder.

    Returns
    -------
    list of Path
        The files.
    """
    files, digest = verify(bundle)
    spec = read_spec(files[METADATA], digest)
    how = preprocessing(spec)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number, item in enumerate(examples):
        seen = read_image(item.row)
        mirror = item.hip is not None and how.mirrors(item.hip.side)
        box = seen.hip(item.hip).box if item.hip else None
        image = torch.from_numpy(preprocess(seen.pixels, how, box, mirror=mirror))[None]
        known = [item.row.number(name) for name in spec.covariates]
        more = torch.tensor([known], dtype=torch.float32) if known else None
        net = Logits(load_network(bundle), more).eval()
        label = int(net(image).argmax())
        maps = maps_of(net, image, label, spec)
        path = out / f"{number:02d}-{spec.labels[item.target]}-read-as-{spec.labels[label]}.png"
        _draw(image[0, 0].numpy(), maps, path)
        written.append(path)
    return written


def maps_of(
    net: Logits, image: Tensor, label: int, spec: BundleSpec
) -> dict[str, NDArray[np.float32]]:
    """Return the maps that a network allows, by name."""
    if spec.network == "clinical_only":
        return {}
    eigen = {
        "EigenCAM": eigen_cam(net, image, spec.network),
        "EigenGradCAM": eigen_grad_cam(net, image, label, spec.network),
    }
    if isinstance(net.net, ViTSmall):
        return eigen
    return {
        "Grad-CAM": grad_cam(net, image, label, spec.network),
        "guided Grad-CAM": guided_grad_cam(net, image, label, spec.network),
        **eigen,
    }


def _draw(image: NDArray[np.float32], maps: dict[str, NDArray[np.float32]], path: Path) -> None:
    figure, axes = plt.subplots(1, 1 + len(maps), figsize=(3.2 * (1 + len(maps)), 3.4))
    for axis, name in zip(np.atleast_1d(axes), ["as the network saw it", *maps], strict=True):
        axis.imshow(image, cmap="gray")
        if name in maps:
            axis.imshow(maps[name], cmap="inferno", alpha=0.55, vmin=0, vmax=1)
        axis.set_title(name)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
