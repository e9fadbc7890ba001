"""Augmentation of a whole batch at once, on the device that holds it.

Every draw comes from one generator that the loop seeds with (seed, epoch, step): a resumed run
sees the same images. The ranges are a frozen table that recipes set; none of them is hidden here.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from hipnode.training.recipe.augmentation import Augmentation
from hipnode.training.samples.batches import resize


def augment(
    images: Tensor, masks: Tensor | None, how: Augmentation, generator: Generator
) -> tuple[Tensor, Tensor | None]:
    """Change a batch at random.

    Parameters
    ----------
    images
        (n, 1, s, s) float32 in [0, 1], bright bone.
    masks
        (n, 1, s, s) float32 in [0, 1] that moves along, or None.
    how
        The ranges.
    generator
        Where all randomness comes from; on the CPU.

    Returns
    -------
    images, masks
        New tensors of the same shapes; images in [0, 1].
    """
    n = len(images)
    images = _coarsen(images, how.coarse, generator)
    kind = torch.randint(0, 5, (n,), generator=generator) if how.one_of else None
    grid = _geometry(n, how, generator, kind)
    still = torch.eye(2, 3).expand(n, 2, 3)
    changed = _chance(n, how.often, generator)
    grid = torch.where(changed[..., 0], grid, still).to(images.device)
    field = functional.affine_grid(grid, list(images.shape), align_corners=False)
    moved = functional.grid_sample(
        images, field, padding_mode="border" if how.shutter == 0 else "zeros", align_corners=False
    )
    if masks is not None:
        masks = functional.grid_sample(masks, field, align_corners=False)
    place = moved
    if how.histogram:
        moved = _match(moved, how.histogram, generator)
    moved = _tone(moved, how, generator)
    moved = _curve(moved, how.curve, generator) if how.curve else moved
    moved = _shade(moved, how.shading, generator) if how.shading else moved
    moved = _local(moved, how.local, generator) if how.local else moved
    moved = _focus(moved, how, generator, kind)
    moved = _noise(moved, how.noise, generator) if how.noise else moved
    moved = _shutter(moved, how.shutter, generator) if how.shutter else moved
    moved = _erase(moved, how.erase, generator) if how.erase else moved
    inverted = _chance(n, how.invert, generator).to(moved.device)
    moved = torch.where(inverted, 1 - moved, moved)
    return torch.where(changed.to(moved.device), moved, place).clamp(0, 1), masks


def window(n: int, epsilon: float, generator: Generator) -> Tensor | None:
    """Return by how many sigma each image's window is wider than 2 sigma, (n,); None: not at all.

    References
    ----------
    Jang 2022, "Training details": z = (x - mu) / (2 sigma +- epsilon sigma), clipped at -1 and 1,
    epsilon drawn anew for each image.
    """
    return _uniform(n, -epsilon, epsilon, generator) if epsilon else None


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def _chance(n: int, probability: float, generator: Generator) -> Tensor:
    return (torch.rand(n, generator=generator) < probability).view(n, 1, 1, 1)


def _coarsen(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Shrink some images to 0.33 to 0.73 of their pixels a side and back, as archives do."""
    if not probability:
        return images
    side = images.shape[-1]
    found = []
    for image, used in zip(images, _chance(len(images), probability, generator), strict=True):
        small = int(side * (0.33 + 0.4 * torch.rand(1, generator=generator).item()))
        few = resize(image[None], small)
        back = functional.interpolate(few, (side, side), mode="bicubic", align_corners=False)
        found.append(back[0].clamp(0, 1) if used.item() else image)
    return torch.stack(found)


def _geometry(n: int, how: Augmentation, generator: Generator, kind: Tensor | None) -> Tensor:
    """Return (n, 2, 3) affine maps from output to input, in the grid's coordinates.

    ``kind`` (n,): where each image is changed in one way alone, 3 is shear and 4 is rotation.
    """
    angle = _uniform(n, -how.rotate_deg, how.rotate_deg, generator) * math.pi / 180
    zoom = torch.exp(_uniform(n, -1, 1, generator) * math.log1p(how.scale))
    stretch = torch.exp(_uniform(n, -1, 1, generator) * math.log1p(how.aspect))
    shear = _uniform(n, -how.shear, how.shear, generator)
    if kind is not None:
        angle, shear = angle * (kind == 4), shear * (kind == 3)
    mirror = 1 - 2 * (torch.rand(n, generator=generator) < how.flip).float()
    upside = torch.ones(n)
    if how.flip_vertical:
        upside = 1 - 2 * (torch.rand(n, generator=generator) < how.flip_vertical).float()
    cos, sin = torch.cos(angle), torch.sin(angle)
    # rotation, shear, anisotropic zoom and mirror, multiplied out
    matrix = torch.stack(
        [
            mirror * zoom * stretch * cos,
            upside * zoom / stretch * (shear * cos - sin),
            2 * _uniform(n, -how.shift, how.shift, generator),
            mirror * zoom * stretch * sin,
            upside * zoom / stretch * (shear * sin + cos),
            2 * _uniform(n, -how.shift, how.shift, generator),
        ],
        1,
    )
    return matrix.view(n, 2, 3)


def _tone(images: Tensor, how: Augmentation, generator: Generator) -> Tensor:
    """Change brightness and contrast, each by up to its share (Yamamoto 2020, 2.6)."""
    if not how.brightness and not how.contrast:
        return images
    n = len(images)
    added = _uniform(n, -how.brightness, how.brightness, generator).view(n, 1, 1, 1)
    times = 1 + _uniform(n, -how.contrast, how.contrast, generator).view(n, 1, 1, 1)
    middle = images.mean((1, 2, 3), keepdim=True)
    return middle + (images - middle) * times.to(images.device) + added.to(images.device)


def _curve(images: Tensor, strength: float, generator: Generator) -> Tensor:
    """Apply a random monotone curve: nine steps of random height, summed and scaled to [0, 1]."""
    n, knots = len(images), 8
    steps = torch.exp(torch.randn(n, knots, generator=generator) * strength * 0.8)
    gamma = torch.exp(torch.randn(n, 1, generator=generator) * strength * 0.8)
    values = functional.pad(steps.cumsum(1), (1, 0))
    values = (values / values[:, -1:]) ** gamma  # (n, knots + 1), from 0 to 1
    values = values.to(images.device)
    position = images.flatten(1).clamp(0, 1) * knots
    below = position.floor().long().clamp(max=knots - 1)
    low, high = values.gather(1, below), values.gather(1, below + 1)
    return (low + (high - low) * (position - below)).view_as(images)


def _match(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Give some images the histogram of another of the batch, through 64 quantiles of each."""
    n, marks = len(images), torch.linspace(0, 1, 64)
    used = torch.rand(n, generator=generator) < probability
    other = torch.randperm(n, generator=generator)
    step = max(1, images.shape[-1] // 128)  # quantiles need no more than this
    few = images[..., ::step, ::step].flatten(1)
    levels = torch.quantile(few, marks.to(few.device), dim=1).T.contiguous()  # (n, 64)
    flat = images.flatten(1).contiguous()
    above = torch.searchsorted(levels, flat).clamp(1, 63)
    low, high = levels.gather(1, above - 1), levels.gather(1, above)
    share = ((flat - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    wanted = levels[other]
    low, high = wanted.gather(1, above - 1), wanted.gather(1, above)
    matched = (low + share * (high - low)).view_as(images)
    return torch.where(used.view(n, 1, 1, 1).to(images.device), matched, images)


def _shade(images: Tensor, strength: float, generator: Generator) -> Tensor:
    coarse = torch.randn(len(images), 1, 3, 3, generator=generator) * strength * 0.3
    field = functional.interpolate(
        coarse.to(images.device), images.shape[2:], mode="bicubic", align_corners=True
    )
    return images + field * images.clamp(0, 1)


def _local(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Process some images as makers do: coarse structure is held back, fine structure lifted.

    Each is split at a scale of a fiftieth to a sixth of its side. What is coarser moves towards
    grey; what is finer is amplified, most where there is little of it.
    """
    n, side = len(images), images.shape[-1]
    used = _chance(n, probability, generator)
    cells = torch.exp(_uniform(n, math.log(6), math.log(50), generator)).long().tolist()
    held, even = (_uniform(n, 0, most, generator).view(n, 1, 1, 1) for most in (0.8, 0.7))
    lift = _uniform(n, 1, 1.8, generator).view(n, 1, 1, 1)
    held, even, lift = (value.to(images.device) for value in (held, even, lift))

    def coarse(of: Tensor) -> Tensor:
        return torch.cat([
            functional.interpolate(
                functional.adaptive_avg_pool2d(one[None], few), (side, side),
                mode="bicubic", align_corners=False,
            ) for one, few in zip(of, cells, strict=True)
        ])  # fmt: skip

    below = coarse(images)
    fine = images - below
    spread = coarse(fine.square()).clamp(min=0).sqrt() + 0.03
    gain = lift * (1 - even + even * 0.15 / spread)
    made = below * (1 - held) + 0.5 * held + gain.clamp(max=6) * fine
    return torch.where(used.to(images.device), made, images).clamp(0, 1)


def _focus(images: Tensor, how: Augmentation, generator: Generator, kind: Tensor | None) -> Tensor:
    """Blur some images, sharpen others (radiographs come out of their maker's edge filter).

    ``kind`` (n,): where each image is changed in one way alone, 1 is blurred and 2 sharpened.
    """
    if how.blur_px == 0 and how.sharpen == 0:
        return images
    n = len(images)
    sigma = _uniform(n, 0.3, max(how.blur_px, 0.31), generator)
    reach = torch.arange(-4.0, 5.0)
    kernel = torch.exp(-0.5 * (reach / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(images.device)
    rows = images.transpose(0, 1)  # (1, n, s, s): one group per image
    soft = functional.conv2d(rows, kernel.view(n, 1, 9, 1), padding=(4, 0), groups=n)
    soft = functional.conv2d(soft, kernel.view(n, 1, 1, 9), padding=(0, 4), groups=n)
    soft = soft.transpose(0, 1)
    weight = _uniform(n, -1, how.sharpen, generator)  # below 0: towards the blurred image
    if kind is None:
        weight = torch.where(torch.rand(n, generator=generator) < 0.4, torch.zeros(n), weight)
    else:
        weight = torch.where(kind == 1, -torch.ones(n), weight.abs()) * ((kind == 1) | (kind == 2))
    return images + weight.view(n, 1, 1, 1).to(images.device) * (images - soft)


def _noise(images: Tensor, strength: float, generator: Generator) -> Tensor:
    n, _, rows, columns = images.shape
    where = images.device
    level = _uniform(n, 0, strength, generator) * torch.rand(n, generator=generator)
    fine = _normal((n, 1, rows, columns), generator, where)
    grain = _normal((n, 1, rows // 2, columns // 2), generator, where)
    grain = functional.interpolate(grain, (rows, columns), mode="bilinear", align_corners=False)
    mix = torch.rand(n, 1, 1, 1, generator=generator).to(where)
    return images + level.view(n, 1, 1, 1).to(where) * (mix * fine + (1 - mix) * 1.5 * grain)


def _normal(shape: tuple[int, ...], generator: Generator, where: torch.device) -> Tensor:
    """Return normal noise, drawn on the device that takes it: it is as much as there are pixels."""
    if where.type == "cpu":
        return torch.randn(shape, generator=generator)
    seed = int(torch.randint(0, 1 << 31, (1,), generator=generator))
    return torch.randn(shape, generator=Generator(where).manual_seed(seed), device=where)


def _shutter(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Cover one edge with black, or with the white of unexposed or overexposed film."""
    n, _, rows, columns = images.shape
    used = torch.rand(n, generator=generator) < probability
    edge = torch.randint(0, 4, (n,), generator=generator)
    reach = _uniform(n, 0, 0.16, generator)
    level = (torch.rand(n, generator=generator) < 0.25).float().view(n, 1, 1, 1)
    down, along = _rulers(images)
    reach = torch.where(used, reach, torch.full((n,), -1.0)).view(n, 1, 1, 1).to(images.device)
    edge = edge.view(n, 1, 1, 1).to(images.device)
    distance = torch.where(
        edge < 2,
        torch.where(edge == 0, down, 1 - down).expand(n, 1, rows, columns),
        torch.where(edge == 2, along, 1 - along).expand(n, 1, rows, columns),
    )
    covered = distance < reach
    return torch.where(covered, level.to(images.device).expand_as(images), images)


def _rulers(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return where rows and columns lie, from 0 to 1, on the images' device."""
    rows, columns = images.shape[2:]
    down = torch.linspace(0, 1, rows, device=images.device).view(1, 1, rows, 1)
    return down, torch.linspace(0, 1, columns, device=images.device).view(1, 1, 1, columns)


def _erase(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Lay a marker or a piece of tubing (a bright or dark rectangle) over some images."""
    n = len(images)
    used = torch.rand(n, generator=generator) < probability
    top, left = (_uniform(n, 0, 0.95, generator) for _ in range(2))
    height, width = (_uniform(n, 0.01, 0.14, generator) for _ in range(2))
    height = torch.where(used, height, torch.zeros(n))
    level = torch.rand(n, generator=generator)
    down, along = _rulers(images)
    top, left, height, width, level = (
        value.view(n, 1, 1, 1).to(images.device) for value in (top, left, height, width, level)
    )
    covered = (down >= top) & (down < top + height) & (along >= left) & (along < left + width)
    return torch.where(covered, level.expand_as(images), images)
