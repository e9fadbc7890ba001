"""What a head learns over standardised embeddings stands in the network over plain ones."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

import torch

from hipnode.errors import InputRefused
from hipnode.nets.architectures.heads import Head
from hipnode.training.learn.features import OnEmbeddings
from hipnode.training.learn.state import State
from hipnode.training.recipe.plan import Plan


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
    again = OnEmbeddings(plain, seen, begun=True)  # goes on from a head that is done
    assert torch.allclose(over(seen, known)["logits"], again(seen, known)["logits"], atol=1e-4)


@pytest.mark.parametrize("spread", [0.0, 1e-6, 1e-3])
def test_embeddings_that_hardly_differ_end_in_no_nan(spread: float) -> None:
    """A backbone that collapsed: its bundle must say in other arithmetic what it says here."""
    torch.manual_seed(0)
    seen = 3 + spread * torch.randn(40, 12)
    learned, plain = (Head(12, 3, hidden=8).eval() for _ in range(2))
    over = OnEmbeddings(learned, seen)
    over.into(plain)
    for head in (over(seen)["logits"], plain(seen, None), plain(seen.half().float(), None)):
        assert head.isfinite().all()
    assert torch.allclose(over(seen)["logits"], plain(seen, None), atol=2e-3)


def test_a_checkpoint_of_another_backbone_is_refused(tmp_path: Path) -> None:
    """Its head is all that a checkpoint has: on another backbone it would be a third network."""
    plan = Plan(epochs=1, bf16=False)
    states = [
        State(OnEmbeddings(Head(4, 2), torch.rand(9, 4) + shift), plan, 9, "cpu")
        for shift in (0, 0, 1)
    ]
    states[0].net.load_state_dict(states[1].net.state_dict())
    states[1].save(tmp_path / "last.pt")
    states[0].load(tmp_path / "last.pt")
    for other in (states[2], State(Head(4, 2), plan, 9, "cpu")):
        with pytest.raises(InputRefused, match="of another network or of other weights"):
            other.load(tmp_path / "last.pt")
