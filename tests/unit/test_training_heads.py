"""What a head learns over standardised embeddings stands in the network over plain ones."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

import torch

from hipnode.nets.architectures.heads import Head
from hipnode.training.learn.features import OnEmbeddings


@pytest.mark.parametrize("hidden", [0, 16])
@pytest.mark.parametrize("covariates", [0, 3])
def test_a_head_says_the_same_over_plain_embeddings(hidden: int, covariates: int) -> None:
    torch.manual_seed(0)
    seen = 5 + torch.rand(12) * torch.randn(40, 12)
    seen[:, 3] = 2.0  # says nothing
    known = torch.randn(40, covariates) if covariates else None
    learned, plain = (Head(12, 3, covariates=covariates, hidden=hidden).eval() for _ in range(2))
    over = OnEmbeddings(learned, seen)
    over.into(plain)
    assert torch.allclose(over(seen, known)["logits"], plain(seen, known), atol=1e-4)
    assert not torch.allclose(learned(seen, known), plain(seen, known), atol=0.1)
    assert over(seen, known)["logits"].isfinite().all()
