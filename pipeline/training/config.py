"""What a user may set about a training run: one YAML file, checked before anything starts.

Lengths are counted in clips, so that they stay true when the batch changes. ``differences`` says
why a checkpoint of one config can't go on under another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.config import describe
from pipeline.document import read_document
from pipeline.errors import ConfigError
from pipeline.knobs import NotNegative, Positive, Share
from pipeline.spec import ModelName, Suggests
from pipeline.training.data import AugmentSpec, DataConfig

Part = str | int | float | bool | tuple[int, ...]
LEFT_OPEN = frozenset(
    "threads device log_every_steps validate_every_clips checkpoint_every_clips name suggests "
    "data.cache data.workers".split()
)
"""Settings that may change when a run goes on: they don't decide what it learns."""


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False
    )


class NetworkSpec(_Frozen):
    """Which network is trained."""

    name: str = "blvnet-tam-small"
    """As ``actionstream model ls`` lists them."""
    parts: dict[str, Part] = Field(default_factory=dict)
    """Overrides of its architecture, such as ``frames: 16`` or ``taps: 5``."""


class StartSpec(_Frozen):
    """Weights to start from."""

    weights: str
    """A bundle, ``default``, published weights, or those of an image network."""
    classifier: Literal["same", "new"] = "same"
    """``new`` for other classes than the weights were trained for."""
    frames: int | None = None
    """T of published weights, where the file's name doesn't tell."""


class OptimizerSpec(_Frozen):
    """How weights follow gradients."""

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 0.05
    """At its peak, for a whole step (batch times accumulation)."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Nesterov's, for SGD; the first beta for AdamW."""
    weight_decay: NotNegative = 5e-4
    """Not for TAM taps, batch norms and biases, which have a scale to keep."""
    clip_norm: Positive | None = 20.0
    """Gradients longer than this are shortened to it."""


class ScheduleSpec(_Frozen):
    """How the learning rate changes."""

    kind: Literal["cosine", "steps"] = "cosine"
    warmup_clips: int = Field(default=2_000, ge=0)
    """The rate grows linearly from 0 over these."""
    floor: Share = 0.0
    """Cosine: the share of the peak where it ends."""
    milestones: tuple[Share, ...] = (0.5, 0.75)
    """Steps: after which shares of the run the rate drops."""
    gamma: Share = 0.1
    """Steps: what is left of it after each drop."""


class TrainConfig(_Frozen):
    """The whole file."""

    name: ModelName = "trained"
    """Of the model that comes out."""
    network: NetworkSpec | None = None
    """By default that of the weights it starts from, or blvnet-tam-small."""
    start: StartSpec | None = Field(default=None, alias="from")
    tam_start: Literal["published", "identity", "difference"] = "published"
    """Weights of TAM taps that nothing was loaded for."""
    data: DataConfig
    augment: AugmentSpec = AugmentSpec()
    size_px: int | None = Field(default=None, ge=32, multiple_of=2)
    """Side of the frames; by default that of the weights it starts from, or 64."""
    clips: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0, le=1e6)
    batch_size: int = Field(default=32, ge=2)
    """Clips that are computed at once, over all workers together."""
    accumulate: int = Field(default=1, ge=1)
    """Batches per step."""
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    dropout: float = Field(default=0.2, ge=0, lt=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Per step; the averaged weights are evaluated and saved. 0: those of the last step are."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    channels_last: bool = True
    seed: int = Field(default=0, ge=0, lt=2**31)
    validate_every_clips: int | None = Field(default=None, ge=1)
    """By default ten times in a run."""
    checkpoint_every_clips: int = Field(default=10_000, ge=1)
    log_every_steps: int = Field(default=25, ge=1)
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of the network; by default one per core."""
    device: str = "auto"
    suggests: Suggests | None = None
    """What the bundle suggests to pipelines: rate, hop, thresholds, background classes."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.clips is None) == (self.epochs is None):
            raise ValueError(
                "want one of clips and epochs, which say how long to train; "
                f"got clips={self.clips} and epochs={self.epochs}"
            )
        return self

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Self:
        if self.clips is not None and self.schedule.warmup_clips >= self.clips:
            raise ValueError(
                f"schedule.warmup_clips ({self.schedule.warmup_clips}) must be less than clips "
                f"({self.clips}), or the learning rate never reaches its peak"
            )
        return self

    @property
    def clips_per_step(self) -> int:
        """Clips behind one change of the weights."""
        return self.batch_size * self.accumulate


def load_training(path: Path) -> TrainConfig:
    """The config in a YAML file.

    Raises:
        ConfigError: the file can't be read, isn't YAML, or says something impossible.
    """
    return parse_training(read_document(path)[0], where=str(path))


def parse_training(document: dict[str, object], *, where: str) -> TrainConfig:
    """The config in a mapping; ``where`` names it in messages.

    Raises:
        ConfigError: it says something impossible.
    """
    try:
        return TrainConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe(error)}") from None


def differences(before: dict[str, object], now: dict[str, object]) -> list[str]:
    """Settings that differ and decide what is learned: ``optimizer.lr: 0.05, now 0.1``."""
    one, other = dict(_flat(before)), dict(_flat(now))
    return [
        f"{name}: {one.get(name, 'not set')}, now {other.get(name, 'not set')}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name) and not {name, name.split(".")[0]} & LEFT_OPEN
    ]


def _flat(document: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
