"""The model card that every bundle carries as ``docs/README.md``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hipnode import DISCLAIMER


@dataclass(frozen=True)
class Card:
    """What a reader must know before trusting a figure of this model.

    ``figures`` are (what was measured, on what) to the result, as measured.
    """

    title: str
    paper: str
    purpose: str
    network: str
    data: str
    training: str
    figures: Mapping[tuple[str, str], str]
    limits: tuple[str, ...]

    def markdown(self) -> str:
        """Return the card."""
        rows = [f"| {what} | {where} | {value} |" for (what, where), value in self.figures.items()]
        return "\n".join(
            [
                f"# {self.title}",
                "",
                f"**{DISCLAIMER}.** No figure below says that it is accurate or safe on patients.",
                "",
                f"- **Follows:** {self.paper}",
                f"- **For:** {self.purpose}",
                f"- **Network:** {self.network}",
                f"- **Data:** {self.data}",
                f"- **Training:** {self.training}",
                "",
                "## Measured",
                "",
                "| what | on | result |",
                "| --- | --- | --- |",
                *rows,
                "",
                "## Limits",
                "",
                *(f"- {limit}" for limit in self.limits),
                "",
            ]
        )
