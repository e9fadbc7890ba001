"""What training does to an image before a network sees it: as the papers say, and as makers do."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

import torch

from hipnode.training.recipe.augmentation import Augmentation
from hipnode.training.recipe.recipe import Recipe, read_recipe
from hipnode.training.samples.augment import augment
from tests.unit.test_training_papers import CALM

pytestmark = pytest.mark.slow


def test_augmentation_of_the_papers() -> None:
    generator = torch.Generator().manual_seed(0)
    dark, bright = torch.rand(1, 1, 64, 64) * 0.3, 0.6 + torch.rand(1, 1, 64, 64) * 0.3
    pair = torch.cat([dark, bright])
    how = Augmentation.model_validate(
        CALM | {"rotate_deg": 0, "shift": 0, "scale": 0, "aspect": 0, "shear": 0, "histogram": 1}
    )
    matched = torch.cat([augment(pair, None, how, generator)[0] for _ in range(6)])
    means = matched.mean((1, 2, 3))
    assert (means < 0.3).any()
    assert ((means - pair.mean((1, 2, 3)).repeat(6)).abs() > 0.4).any()  # took the other's
    still = Augmentation.model_validate(CALM | {"often": 0, "flip": 1, "invert": 1})
    assert torch.allclose(augment(pair, None, still, generator)[0], pair, atol=1e-5)


def test_jang_changes_an_image_in_one_way_of_five() -> None:
    recipe = read_recipe("jang2022-vgg16")
    assert isinstance(recipe, Recipe)
    assert recipe.plan.epoch_images == 4000
    how = recipe.augmentation
    image = torch.rand(1, 1, 48, 48)
    many = image.expand(400, 1, 48, 48)
    found, _ = augment(many, None, how, torch.Generator().manual_seed(1))
    change = (found - image).abs().mean((1, 2, 3))
    assert 0.12 < (change < 1e-5).float().mean() < 0.28  # a fifth stays as it is
    spread = found.std((1, 2, 3)) / image.std()
    assert (spread < 0.9).any()  # blurred
    assert (spread > 1.01).any()  # sharpened
    with pytest.raises(ValueError, match="it leaves no noise"):
        Augmentation.model_validate({"one_of": True, "noise": 0.1})


def test_brightness_and_contrast_change_by_the_printed_share() -> None:
    """Yamamoto 2020, 2.6."""
    how = Augmentation(brightness=0.05, contrast=0.05)
    image = 0.3 + 0.4 * torch.rand(1, 1, 32, 32)
    found, _ = augment(image.expand(300, 1, 32, 32), None, how, torch.Generator().manual_seed(0))
    shifts = found.mean((1, 2, 3)) - image.mean()
    ratios = found.std((1, 2, 3)) / image.std()
    assert 0.045 < shifts.abs().max() <= 0.0501
    assert 0.045 < (ratios - 1).abs().max() <= 0.0501


def test_a_maker_s_processing_lifts_what_is_fine_and_holds_back_what_is_coarse() -> None:
    """Of an image: a slope from dark to bright, and faint texture."""
    slope = torch.linspace(0.2, 0.8, 128).expand(1, 1, 128, 128)
    texture = 0.02 * torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(2))
    images = (slope + texture).expand(40, 1, 128, 128)
    how = Augmentation(local=1)
    made, _ = augment(images, None, how, torch.Generator().manual_seed(1))
    assert torch.equal(made, augment(images, None, how, torch.Generator().manual_seed(1))[0])
    coarse = made.mean(2).squeeze(1)  # (40, 128)
    fine = made - coarse.view(40, 1, 1, 128)
    assert (coarse.amax(1) - coarse.amin(1) < 0.7).all()
    assert (fine.std((1, 2, 3)) > 0.019).all()
    assert fine.std((1, 2, 3)).max() > 0.05
    assert 0 <= made.min() <= made.max() <= 1
