"""How strongly training images are changed at random."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Augmentation(BaseModel):
    """How far an image may be changed; 0, which all begin with, is not at all.

    References
    ----------
    Murphy 2022, Methods: flips, grey-scale inversion of half the images, random shifts, rotation
    within 10 degrees. Gale 2017, 3.1: translations, rotations, shears, histogram matching. The
    contrast curve, noise, blur and shutters are for the step from the phantom to real images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotate_deg: float = Field(default=0, ge=0, le=180)
    shift: float = Field(default=0, ge=0, le=0.5)  # of the side
    scale: float = Field(default=0, ge=0, le=0.9)  # zoom in [1 / (1 + scale), 1 + scale]
    aspect: float = Field(default=0, ge=0, le=0.5)
    shear: float = Field(default=0, ge=0, le=0.5)
    flip: float = Field(default=0, ge=0, le=1)  # probability of a mirror image
    flip_vertical: float = Field(default=0, ge=0, le=1)  # probability of an image upside down
    invert: float = Field(default=0, ge=0, le=1)  # probability
    brightness: float = Field(default=0, ge=0, le=0.5)  # added, at most; Yamamoto 2020, 2.6
    contrast: float = Field(default=0, ge=0, le=0.5)  # share by which contrast changes, at most
    curve: float = Field(default=0, ge=0, le=1)  # strength of a random monotone contrast curve
    shading: float = Field(default=0, ge=0, le=1)  # strength of a smooth additive field
    local: float = Field(default=0, ge=0, le=1)  # probability of a maker's multi-scale processing
    coarse: float = Field(default=0, ge=0, le=1)  # probability of an image of few pixels
    noise: float = Field(default=0, ge=0, le=0.5)  # largest standard deviation
    blur_px: float = Field(default=0, ge=0, le=8)  # largest Gaussian sigma
    sharpen: float = Field(default=0, ge=0, le=4)  # largest unsharp weight
    shutter: float = Field(default=0, ge=0, le=1)  # probability of a collimated or bright edge
    erase: float = Field(default=0, ge=0, le=1)  # probability of a marker or tube
    histogram: float = Field(default=0, ge=0, le=1)  # probability of another image's histogram
    window: float = Field(default=0, ge=0, lt=2)  # epsilon of Jang 2022's 2 sigma +- epsilon sigma
    often: float = Field(default=1, ge=0, le=1)  # probability that an image is changed at all
    one_of: bool = False  # each image: as it is, or blurred, sharpened, sheared or turned (Jang)

    @model_validator(mode="after")
    def _check(self) -> Augmentation:
        chosen = {"rotate_deg", "shear", "blur_px", "sharpen", "window", "one_of", "often"}
        if self.one_of and (more := sorted(self.model_dump(exclude_defaults=True).keys() - chosen)):
            raise ValueError(f"one_of chooses among four changes; it leaves no {', '.join(more)}")
        return self
