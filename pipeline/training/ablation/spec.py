"""What a user may set about the studies. One recipe for every network: nothing is tuned for one."""

from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.config import describe
from pipeline.document import read_document
from pipeline.errors import ConfigError
from pipeline.training.config import Part

Study = Literal["cost", "fusion", "frames", "taps"]
STUDIES: tuple[Study, ...] = get_args(Study)

QUICK: dict[str, object] = {
    "studies": ("cost", "fusion"),
    "essential": True,
    "seeds": (0,),
    "train_clips": 5_400,
    "test_clips": 1_350,
    "clips": 20_000,
    "measured_pairs": (4, 8),
}
"""The quick form: the four networks without which nothing can be said, one seed."""


class AblationSpec(BaseModel):
    """Data, recipe and sizes of all studies."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    studies: tuple[Study, ...] = Field(default=STUDIES, min_length=1)
    essential: bool = False
    """Only the rows that the main claims need."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    """Of weights, order and augmentation; the data is the same for all."""

    train_clips: int = Field(default=10_800, ge=1)
    """Made once, and seen again in other crops, mirrored and reversed."""
    test_clips: int = Field(default=2_700, ge=1)
    """Of other pictures; looked at once, when a run is over, and chosen by for nothing."""
    data_seed: int = Field(default=11, ge=0)
    stored_frames: int = Field(default=16, ge=2)
    """Pictures of a clip, of which networks take T, spread evenly."""
    stored_px: int = Field(default=72, ge=32, multiple_of=2)

    clips: int = Field(default=24_000, ge=1)
    """That a run sees."""
    frames: int = Field(default=8, ge=2, multiple_of=2)
    """T, where it isn't what is studied."""
    frame_counts: tuple[int, ...] = (4, 8, 16)
    """T, where it is."""
    size_px: int = Field(default=64, ge=32, multiple_of=2)
    parts: dict[str, Part] = Field(default_factory=dict)
    """Of every network, such as its width."""
    batch_size: int = Field(default=32, ge=2)
    lr: float = Field(default=0.05, gt=0)
    warmup_clips: int = Field(default=2_000, ge=0)
    precision: Literal["fp32", "bf16"] = "bf16"
    checkpoint_every_clips: int = Field(default=5_000, ge=1)
    threads: int | None = Field(default=None, ge=1)

    depths: tuple[Literal[50, 101], ...] = (50, 101)
    """At which TSN and bLVNet-TAM are compared."""
    tsn_depths: tuple[Literal[18, 50, 101], ...] = (18, 50, 101)
    """Of which the deepest that fits into the budget is looked for."""
    tam_depths: tuple[Literal[50, 101, 152], ...] = (50, 101, 152)
    pairs: tuple[int, ...] = Field(default=(4, 8, 16, 32), min_length=1)
    """Of the cost study: 8 is f8x2, 16 frames."""
    measured_pairs: tuple[int, ...] = (4, 8, 16, 32)
    """Those of them whose memory is measured, as far as the machine's own allows."""
    cost_px: int = Field(default=224, ge=32, multiple_of=2)
    budget_gib: float = Field(default=16.0, gt=0)
    budget_batch: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _enough_pictures(self) -> Self:
        most = max(self.frames, *self.frame_counts)
        if self.stored_frames < most:
            raise ValueError(
                f"stored_frames ({self.stored_frames}) must be at least the most frames that a "
                f"network takes ({most}), or it would see pictures twice"
            )
        if self.warmup_clips >= self.clips:
            raise ValueError(f"warmup_clips ({self.warmup_clips}) must be less than {self.clips=}")
        return self


def load_ablation(
    path: Path | None, *, quick: bool = False, studies: tuple[str, ...] | None = None
) -> AblationSpec:
    """The settings: the quick form's or the whole one's, then a YAML file's, then ``studies``.

    Raises:
        ConfigError: the file can't be read, or says something impossible.
    """
    document = read_document(path)[0] if path is not None else {}
    try:
        said = {"studies": studies} if studies else {}
        return AblationSpec.model_validate({**(QUICK if quick else {}), **document, **said})
    except ValidationError as error:
        raise ConfigError(f"{path or 'options'}: {describe(error)}") from None
