"""What stands on top of a backbone: the clinical branch, and the class scores.

References
----------
Yamamoto 2020, 2.6 and 2.7 (a two-layer perceptron for the clinical covariates, joined with the
image before the last layer); DXA 2023, Fig. 1B (the same, and a perceptron as head).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Clinical(nn.Module):
    """A perceptron of two layers over what is known about the patient.

    The means and spreads of the training split are part of the weights, so whoever serves the
    network hands over plain numbers in their own units.

    Parameters
    ----------
    covariates
        How many numbers come in.
    features
        How many go out.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, covariates: int, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(covariates))
        self.register_buffer("spread", torch.ones(covariates))
        self.layers = nn.Sequential(
            nn.Linear(covariates, features), nn.ReLU(), nn.Linear(features, features), nn.ReLU()
        )

    def learn_scale(self, values: Tensor) -> None:
        """Take mean and standard deviation from (n, covariates) of the training split."""
        self.mean.copy_(values.mean(0))
        self.spread.copy_(values.std(0, correction=0).clamp(min=1e-3))

    def forward(self, covariates: Tensor) -> Tensor:
        """Return (n, features) of ``covariates`` (n, k), in their own units."""
        found: Tensor = self.layers((covariates - self.mean) / self.spread)
        return found


class Head(nn.Module):
    """From an image's embedding, and the covariates where there are any, to class scores.

    Parameters
    ----------
    width
        Of the embedding.
    classes
        Of the output.
    covariates
        How many numbers about the patient come along; 0 for the image alone.
    hidden
        Units of a hidden layer; 0 for one linear layer, which alone allows a class activation
        map within the same pass.
    clinical
        Features that the clinical branch hands over.
    dropout
        Before the last layer.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        *,
        covariates: int = 0,
        hidden: int = 0,
        clinical: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = width
        self.clinical = Clinical(covariates, clinical) if covariates else None
        joined = width + (clinical if covariates else 0)
        self.hidden = nn.Sequential(nn.Linear(joined, hidden), nn.GELU()) if hidden else None
        self.dropout = nn.Dropout(dropout)
        last = nn.Linear(hidden or joined, classes)
        self.weight, self.bias = last.weight, last.bias

    def forward(self, embedding: Tensor, covariates: Tensor | None) -> Tensor:
        """Return logits (n, classes)."""
        joined = embedding
        if self.clinical is not None:
            if covariates is None:
                raise ValueError("this network needs covariates beside the image")
            joined = torch.cat([embedding, self.clinical(covariates)], 1)
        if self.hidden is not None:
            joined = self.hidden(joined)
        return functional.linear(self.dropout(joined), self.weight, self.bias)

    def outputs(self, found: Tensor, covariates: Tensor | None) -> dict[str, Tensor]:
        """Return the outputs over a feature map (n, width, h, w).

        ``logits`` (n, classes); ``embedding`` (n, width); and ``cam`` (n, classes, h, w). Where the
        head is linear, the mean of ``cam`` is the image's part of the logit (Zhou 2016). Where it
        has a hidden layer, ``cam`` is what the head would say if the whole image looked as each
        place does, with the patient's own covariates.
        """
        embedding = found.mean((2, 3))
        logits = self(embedding, covariates)
        return {"logits": logits, "embedding": embedding, "cam": self.places(found, covariates)}

    def places(self, found: Tensor, covariates: Tensor | None) -> Tensor:
        """Return ``cam`` of a feature map; see `outputs`."""
        if self.hidden is None:
            return functional.conv2d(found, self.weight[:, : self.width, None, None])
        at = found.permute(0, 2, 3, 1)  # (n, h, w, width)
        if self.clinical is not None and covariates is not None:
            known = self.clinical(covariates)[:, None, None]
            at = torch.cat([at, known.expand(-1, found.shape[2], found.shape[3], -1)], 3)
        scores: Tensor = functional.linear(self.hidden(at), self.weight, self.bias)
        return scores.permute(0, 3, 1, 2)


class ClinicalOnly(nn.Module):
    """What the covariates say without the image: the yardstick beside the networks.

    References
    ----------
    DXA 2023, Table 1, "Clinical data only".
    """

    def __init__(self, covariates: int, classes: int = 3, features: int = 32) -> None:
        super().__init__()
        self.score = nn.Sequential(Clinical(covariates, features), nn.Linear(features, classes))

    def forward(self, _x: Tensor, covariates: Tensor) -> dict[str, Tensor]:
        """Return ``logits`` (n, classes)."""
        return {"logits": self.score(covariates)}
