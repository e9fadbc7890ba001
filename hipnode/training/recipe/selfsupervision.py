"""The settings of training without labels."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SelfSupervision(BaseModel):
    """The settings of both methods, as their authors' own code has them; a method reads its own.

    References
    ----------
    Caron 2021, the release's ``main_dino.py`` (defaults of its command line). He 2020 and Chen
    2020, the release's ``main_moco.py`` with the options of the second version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    momentum: float = Field(default=0.996, ge=0, lt=1)  # of what follows; DINO raises it to 1
    temperature: float = Field(default=0.1, gt=0)  # DINO's student; MoCo
    teacher_temperature: float = Field(default=0.04, gt=0)
    centre_momentum: float = Field(default=0.9, ge=0, lt=1)
    prototypes: int = Field(default=65536, ge=8)  # DINO's outputs
    hidden: int = Field(default=2048, ge=8)  # of DINO's projection
    still: float = Field(default=0.01, ge=0, lt=1)  # share of all steps with prototypes unmoved
    local_views: int = Field(default=8, ge=0)
    local_px: int = Field(default=96, ge=16, multiple_of=16)
    local_area: tuple[float, float] = (0.05, 0.4)  # of the image, that a local view shows
    global_area: tuple[float, float] = (0.4, 1.0)
    dimensions: int = Field(default=128, ge=8)  # MoCo's embedding
    queue: int = Field(default=65536, ge=2)
