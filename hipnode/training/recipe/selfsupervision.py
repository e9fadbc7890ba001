"""The settings of training without labels."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SelfSupervision(BaseModel):
    """The settings of both methods; a method reads its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    momentum: float = Field(default=0.99, ge=0, lt=1)  # of what follows; DINO raises it to 1
    temperature: float = Field(default=0.1, gt=0)  # DINO's student; MoCo
    teacher_temperature: float = Field(default=0.04, gt=0)
    centre_momentum: float = Field(default=0.9, ge=0, lt=1)
    prototypes: int = Field(default=1024, ge=8)  # DINO's outputs
    local_views: int = Field(default=2, ge=0)
    local_share: float = Field(default=0.5, gt=0.2, lt=1)  # of the side that a local view shows
    dimensions: int = Field(default=128, ge=8)  # MoCo's embedding
    queue: int = Field(default=4096, ge=2)
