"""What a network is, what it requires of its input, and what it suggests: all that isn't weights.

An architecture builds the network: ``Architecture`` a Big-Little one, the others its relatives.
``ModelSpec`` travels with the weights in one file: what it requires (sizes, frames, normalisation,
labels) nothing else may decide, what it suggests a config may override.
"""

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from pipeline.knobs import rate
from pipeline.printable import printable
from pipeline.settings import EventSpec

PUBLISHED_BLOCKS = {50: (3, 4, 6, 3), 101: (4, 8, 18, 3), 152: (5, 12, 30, 3)}
"""Blocks of layers 1 to 4 of Big-Little networks, by depth (Fan et al., NeurIPS 2019)."""

RESNET_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Blocks of layers 1 to 4 of plain ResNets, by depth (He et al., CVPR 2016); basic up to 34."""

MAX_LABEL = 500
MAX_NAME = 255  # stands in every event; a published checkpoint is named after its file
MAX_CLIP_PIXELS = 1 << 26  # 256 pictures of 512 x 512; f32x2 at 224 has a twentieth
MIN_STD = 1e-6  # of colours between 0 and 1; less has become 0 in float32, or nearly
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Count = Annotated[int, Field(ge=0, le=128)]  # the deepest published layer has 36
Blocks = tuple[Count, Count, Count, Count]
Shown = Annotated[str, AfterValidator(printable)]
ModelName = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(printable)]
Mixing = Literal["tam", "tsm", "none"]
Pooling = Literal["none", "max", "avg"]
Rate = Annotated[Fraction, BeforeValidator(rate), PlainSerializer(str)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Member(_Frozen):
    """What every network of the family has; its ``family`` says how frames are mixed."""

    family: str
    blocks: Blocks = RESNET_BLOCKS[50]
    """Of layers 1 to 4."""
    width: int = Field(default=64, ge=4, le=4096, multiple_of=4)
    """Channels of the stem."""
    taps: int = Field(default=3, ge=1, le=63)
    """Frames that a TAM mixes; without meaning where there is none."""
    frames: int = Field(ge=2, le=1024)
    """T, frames per clip."""
    in_channels: int = Field(default=3, ge=1, le=1024)
    classes: int = Field(ge=1, le=1_000_000)
    dropout: float = Field(default=0.5, ge=0, lt=1)

    @field_validator("frames")
    @classmethod
    def _even(cls, frames: int) -> int:
        if frames % 2:
            raise ValueError(
                f"frames must be even, because big and little frames alternate; got {frames}"
            )
        return frames

    @field_validator("taps")
    @classmethod
    def _odd(cls, taps: int) -> int:
        if taps % 2 == 0:
            raise ValueError(f"taps must be odd: as many before a frame as after it; got {taps}")
        return taps

    @property
    def mixing(self) -> Mixing:
        """What mixes neighbouring frames."""
        parts = self.family.split("-")
        return "tam" if "tam" in parts else "tsm" if "tsm" in parts else "none"

    @property
    def pairs(self) -> int:
        """P, pairs of a little and a big frame, as the pipeline deals them out."""
        return self.frames // 2

    def requirements(self) -> dict[str, object]:
        """What decides scores, beside the weights."""
        return self.model_dump(mode="json", exclude={"dropout"})


class Architecture(_Member):
    """A Big-Little network.

    ``blvnet…`` deal frames out to the two branches. ``…-blresnet`` is the image network they come
    from: every frame goes through both branches, and logits are averaged over frames.
    """

    family: Literal[
        "blvnet-tam", "blvnet-tsm", "blvnet", "tam-blresnet", "tsm-blresnet", "tsn-blresnet"
    ] = "blvnet-tam"
    blocks: Blocks = PUBLISHED_BLOCKS[50]
    """The stages have 4, 8, 16 and 32 times the width."""
    alpha: int = Field(default=2, ge=1)
    """Little's channels are one alpha-th of Big's."""
    beta: int = Field(default=4, ge=1, le=1024)
    """Little's blocks are about one beta-th of Big's."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """With dropout the classifier is called ``new_fc``, without it ``baseline_model.fc``."""
    big_input: Literal["high", "low"] = "high"

    @model_validator(mode="after")
    def _buildable(self) -> "Architecture":
        if min(self.blocks[:3]) < 2 or self.blocks[3] < 1:
            raise ValueError(
                "blocks must be at least (2, 2, 2, 1), one for big and one to fuse; "
                f"got {self.blocks}"
            )
        if self.width // self.alpha < 1:
            raise ValueError(f"alpha {self.alpha} leaves nothing of {self.width} channels")
        if self.frame_by_frame and self.big_input == "low":
            raise ValueError(f"a {self.family} takes every frame at full size: big_input is high")
        return self

    @property
    def frame_by_frame(self) -> bool:
        """Whether every frame goes through both branches."""
        return self.family.endswith("blresnet")

    @property
    def little_blocks(self) -> tuple[int, int, int]:
        """Bottlenecks of Little in layers 1 to 3; several betas may give the same."""
        first, second, third, _ = self.blocks
        return (
            max(1, first // self.beta - 1),
            max(1, second // self.beta - 1),
            max(1, third // self.beta - 1),
        )

    @property
    def depth(self) -> int | None:
        """50, 101 or 152, or None for a network of another depth."""
        return next((d for d, blocks in PUBLISHED_BLOCKS.items() if blocks == self.blocks), None)

    def requirements(self) -> dict[str, object]:
        """What decides scores, beside the weights: of beta, what it makes of Little."""
        said = self.model_dump(mode="json", exclude={"beta", "dropout"})
        return {**said, "little_blocks": list(self.little_blocks)}


class _Plain(_Member):
    """A ResNet: every frame at full size, its stages 1, 2, 4 and 8 (basic) or 4 times as wide."""

    block: Literal["basic", "bottleneck"] = "bottleneck"
    big_input: Literal["high"] = "high"

    @model_validator(mode="after")
    def _has_blocks(self) -> Self:
        if min(self.blocks) < 1:
            raise ValueError(f"blocks must be at least 1 in each layer; got {self.blocks}")
        return self

    @property
    def depth(self) -> int | None:
        """18 to 152, or None for a network of another depth."""
        return next(
            (
                depth
                for depth, blocks in RESNET_BLOCKS.items()
                if blocks == self.blocks and (depth < 50) == (self.block == "basic")
            ),
            None,
        )


class ResNetArchitecture(_Plain):
    """A plain ResNet on frames one by one, whose logits are averaged; TAM or TSM in its blocks."""

    family: Literal["tsn-resnet", "tsm-resnet", "tam-resnet"] = "tsn-resnet"
    temporal_pooling: Pooling = "none"
    """After layers 1, 2 and 3: half the frames each time."""


class I3DArchitecture(_Plain):
    """A ResNet inflated to 3D: 3x7x7 stem, 3x3x3 in every block; TAM before the blocks, or not."""

    family: Literal["i3d-resnet", "i3d-tam-resnet"] = "i3d-resnet"
    temporal_stride: Literal[1, 2] = 1
    """Of layers 2, 3 and 4."""


AnyArchitecture = Annotated[
    Architecture | ResNetArchitecture | I3DArchitecture, Field(discriminator="family")
]


class Suggests(_Frozen):
    """What a config may override."""

    sample_fps: Rate = Fraction(8)
    hop: int | None = Field(default=None, ge=2, multiple_of=2)
    """Frames from one window to the next; by default half a window, made even."""
    short_side_px: int | None = Field(default=None, ge=1, le=8192)
    """By default the size of the crop."""
    events: EventSpec | None = None
    background: tuple[str, ...] = ()


def check_labels(labels: Iterable[str]) -> None:
    """Each can be shown, and stand in an event.

    Raises:
        ValueError: one is empty, very long, or holds a control character.
    """
    for label in labels:
        if not 0 < len(label) <= MAX_LABEL or not label.isprintable():
            raise ValueError(
                f"the label {label[:40]!r} can't be shown: want 1 to {MAX_LABEL} characters, none "
                "of them a control character"
            )


def check_clip(frames: int, size_px: int) -> None:
    """A clip of so many squares fits into memory, whatever its network makes of it.

    Raises:
        ValueError: it may not.
    """
    if frames * size_px**2 > MAX_CLIP_PIXELS:
        raise ValueError(
            f"{frames} frames of {size_px} x {size_px} pixels would take gigabytes for each clip; "
            f"want at most {MAX_CLIP_PIXELS} pixels in all"
        )


class ModelSpec(_Frozen):
    """What weights require and suggest."""

    name: ModelName
    architecture: AnyArchitecture
    labels: tuple[str, ...]
    size_px: int = Field(default=224, ge=32, le=4096, multiple_of=2)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    score: Literal["softmax", "sigmoid"] = "softmax"
    """sigmoid: several labels may hold at once."""
    suggests: Suggests = Suggests()
    provenance: dict[Shown, Shown] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSpec":
        architecture = self.architecture
        if len(self.labels) != architecture.classes:
            raise ValueError(
                f"the network has {architecture.classes} classes, but {len(self.labels)} labels"
            )
        check_labels(self.labels)
        if len(set(self.labels)) != len(self.labels):
            twice = Counter(self.labels).most_common(1)[0][0]
            raise ValueError(f"the label {twice!r} is there twice; their events would mix")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, architecture.in_channels):
                raise ValueError(f"{name} wants 1 or {architecture.in_channels} values: {values}")
        if min(self.std) < MIN_STD:
            raise ValueError(f"std must be at least {MIN_STD}, got {self.std}")
        check_clip(architecture.frames, self.size_px)
        return self

    @property
    def hop(self) -> int:
        """Suggested hop, in frames."""
        return self.suggests.hop or max(2, self.architecture.frames // 4 * 2)

    @property
    def short_side_px(self) -> int:
        """Suggested length of the shorter side before the crop."""
        return self.suggests.short_side_px or self.size_px

    def requirements(self) -> dict[str, object]:
        """What goes into the model's digest: all that decides its scores, beside the weights."""
        rest = self.model_dump(mode="json", include={"labels", "size_px", "mean", "std", "score"})
        return {"architecture": self.architecture.requirements(), **rest}
