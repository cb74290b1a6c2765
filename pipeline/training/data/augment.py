"""Crops, flips and light: one clip of pictures in, one of the network's size out.

Axes: T pictures of H x W pixels, 3 colours; S is the side of the crop.
Crops follow the published code: a pair of scales is drawn, then one of thirteen places, and the
crop is brought to S x S with an antialiased bilinear kernel. A flip whose label is None is never
applied. Cost for 8 pictures of 72 px: 0.1 ms where a crop has the right size, 0.3 ms where not.

Source: Wang et al., "Temporal Segment Networks" (ECCV 2016), section 3.2, and its code.
"""

from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.training.data.examples import DataSet

Clip = NDArray[np.uint8]

SNAP_PX = 3  # a crop within this of S is S, and needn't be scaled (as published)
PLACES = (
    *((0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0)),
    *((1, 1), (3, 1), (1, 3), (3, 3)),
)
"""Quarters of the room to the right and below: corners, centre, middles of the sides, between."""


class AugmentSpec(BaseModel):
    """How training clips are varied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scales: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(1, 0.875, 0.75, 0.66), min_length=1
    )
    """Sides of crops, as shares of the shorter side."""
    distort: int = Field(default=1, ge=0)
    """Height and width are scales at most so many places apart."""
    places: Literal["fixed", "anywhere"] = "fixed"
    """Of a crop: one of thirteen as published, or any."""
    mirror: bool = True
    """Half of the clips that may be are mirrored, with their labels."""
    reverse: bool = False
    """Half of the clips that may be are played backwards, with their labels. Data sets say which
    may: by default none does, see ``DataSet.reverse``."""
    brightness: float = Field(default=0, ge=0, lt=1)
    """Largest share of the full range that is added or taken away."""
    contrast: float = Field(default=0, ge=0, lt=1)
    """Largest change of the contrast's factor from 1."""


@dataclass(frozen=True, slots=True)
class Box:
    """Part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def augmented(
    clip_THWC: Clip,
    label: int,
    *,
    dataset: DataSet,
    spec: AugmentSpec,
    size_px: int,
    chance: np.random.Generator,
) -> tuple[Clip, int]:
    """A variant of a clip, [T, S, S, 3], and its label."""
    box = random_box(clip_THWC.shape[1], clip_THWC.shape[2], spec, size_px, chance)
    mirror, reverse, brightness, contrast = chance.random(4).tolist()  # drawn whether used or not
    clip = cropped(clip_THWC, box, size_px)
    after = dataset.mirror[label]
    if spec.mirror and mirror < 0.5 and after is not None:
        clip, label = clip[:, :, ::-1], after
    after = dataset.reverse[label]
    if spec.reverse and reverse < 0.5 and after is not None:
        clip, label = clip[::-1], after
    if spec.brightness or spec.contrast:
        clip = relit(
            clip, (2 * brightness - 1) * spec.brightness, (2 * contrast - 1) * spec.contrast
        )
    return clip, label


def random_box(
    height: int, width: int, spec: AugmentSpec, size_px: int, chance: np.random.Generator
) -> Box:
    """A crop as training takes them."""
    sides = [_snapped(int(min(height, width) * scale), size_px) for scale in spec.scales]
    pairs = [
        (tall, wide)
        for (i, tall), (j, wide) in product(enumerate(sides), repeat=2)
        if abs(i - j) <= spec.distort
    ]
    tall, wide = pairs[chance.integers(len(pairs))]
    if spec.places == "anywhere":
        top, left = chance.integers(height - tall + 1), chance.integers(width - wide + 1)
        return Box(int(top), int(left), tall, wide)
    right, down = PLACES[chance.integers(len(PLACES))]
    return Box((height - tall) // 4 * down, (width - wide) // 4 * right, tall, wide)


def _snapped(side: int, size_px: int) -> int:
    return size_px if abs(side - size_px) < SNAP_PX else max(1, side)


def square(height: int, width: int, size_px: int, *, place: float = 0.5) -> Box:
    """A crop as tests take them; ``place`` goes along the longer side, 0 to 1."""
    down, right = (place, 0.5) if height > width else (0.5, place)
    return Box(int((height - size_px) * down), int((width - size_px) * right), size_px, size_px)


def cropped(clip_THWC: Clip, box: Box, size_px: int) -> Clip:
    """The part of each picture, brought to S x S."""
    part = clip_THWC[:, box.top : box.top + box.height, box.left : box.left + box.width]
    if (box.height, box.width) == (size_px, size_px):
        return part
    part_TCHW = torch.from_numpy(np.ascontiguousarray(part)).permute(0, 3, 1, 2)
    scaled = F.interpolate(part_TCHW, (size_px, size_px), mode="bilinear", antialias=True)
    result: Clip = scaled.permute(0, 2, 3, 1).numpy()
    return result


def relit(clip_THWC: Clip, brightness: float, contrast: float) -> Clip:
    """The clip in another light: the contrast changes around mid-grey."""
    levels = (np.arange(256) - 127.5) * (1 + contrast) + 127.5 + 255 * brightness
    table: Clip = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.take(table, clip_THWC)
