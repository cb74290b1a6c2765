"""One run: a row's network trained with one seed, and how often it was right.

    WORK/runs/blvnet-tam-small-t8-s0-1f0c9a2b/result.json     kept; who has it doesn't train again
    WORK/runs/…/checkpoint.pt                                 while it isn't there yet

The folder's name ends in a hash of all that decides the result, so that other settings or other
data never meet an old result.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.training.ablation.material import Material
from pipeline.training.ablation.rows import Row
from pipeline.training.ablation.spec import AblationSpec
from pipeline.training.checkpoint import write_whole
from pipeline.training.config import NetworkSpec, OptimizerSpec, ScheduleSpec, TrainConfig
from pipeline.training.data import AugmentSpec, DataConfig
from pipeline.training.evaluate import Evaluation
from pipeline.training.listen import Listener
from pipeline.training.prepare import Decoded, prepare

Group = Literal["all", "neighbour", "long"]
GROUPS: tuple[Group, ...] = get_args(Group)
"""All classes; those that some pair of neighbouring frames gives away; those that none does."""

RECORDED = {"augment", "batch_size", "clips", "dropout", "ema_decay", "label_smoothing"} | {
    *("network", "optimizer", "precision", "schedule", "seed", "size_px", "tam_start")
}
"""Settings that decide the result, beside the data."""


class RunResult(BaseModel):
    """What is kept of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    seed: int
    right: dict[Group, int]
    """Test clips whose best class is the right one."""
    of: dict[Group, int]
    """Test clips."""
    seconds: float
    """Of training."""

    def top1(self, group: Group) -> float:
        """Share of a group's clips; 0 of none."""
        return self.right[group] / self.of[group] if self.of[group] else 0.0


def config_of(row: Row, seed: int, spec: AblationSpec, material: Material) -> TrainConfig:
    """The recipe of a run: the same for every row but for the network."""
    return TrainConfig(
        name=f"{row.title}, seed {seed}",
        network=NetworkSpec(name=row.network, parts=row.parts_in(spec)),
        tam_start=row.tam_start,
        data=DataConfig(
            root=material.root,
            format="motions",
            validation="test",
            short_side_px=spec.stored_px,
            cache=material.root / "cache",
            cache_frames=spec.stored_frames,  # one cache for all numbers of frames
        ),
        augment=AugmentSpec(
            scales=(1, spec.size_px / spec.stored_px),
            places="anywhere",
            mirror=True,
            reverse=True,
            brightness=0.15,
            contrast=0.2,
        ),
        size_px=spec.size_px,
        clips=spec.clips,
        batch_size=spec.batch_size,
        optimizer=OptimizerSpec(lr=spec.lr),
        schedule=ScheduleSpec(warmup_clips=spec.warmup_clips),
        label_smoothing=0.05,
        precision=spec.precision,
        seed=seed,
        validate_every_clips=spec.clips + spec.batch_size,  # once, when it is over
        checkpoint_every_clips=spec.checkpoint_every_clips,
        threads=spec.threads,
    )


def folder_of(row: Row, config: TrainConfig, material: Material, work: Path) -> Path:
    """Where a run keeps its checkpoint and its result."""
    said = {**config.model_dump(mode="json", include=RECORDED), "data": material.digest}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]
    assert config.network is not None
    name = f"{row.network}-t{config.network.parts['frames']}-s{config.seed}-{digest}"
    return work / "runs" / name


def read_result(folder: Path) -> RunResult | None:
    """What a run came to, if it is done."""
    try:
        return RunResult.model_validate_json((folder / "result.json").read_bytes())
    except (OSError, ValidationError):
        return None  # not there, or cut short by a full disk: made anew


def run(
    config: TrainConfig,
    title: str,
    material: Material,
    folder: Path,
    *,
    listener: Listener,
    decoded: Decoded,
    stop: Callable[[], bool],
) -> RunResult | None:
    """Train, or go on; None if told to stop.

    Raises:
        ConfigError, DataError, TrainingError: as training does.
    """
    trained = prepare(config, folder, listener=listener, decoded=decoded).trainer.run(stop)
    if trained.evaluation is None:
        return None
    right, of = counted(trained.evaluation, material.long_range)
    result = RunResult(
        title=title, seed=config.seed, right=right, of=of, seconds=round(trained.elapsed_s, 1)
    )
    write_whole(folder / "result.json", result.model_dump_json(indent=1).encode() + b"\n")
    with suppress(OSError):
        (folder / "checkpoint.pt").unlink()
    return result


def counted(
    evaluation: Evaluation, long_range: frozenset[str]
) -> tuple[dict[Group, int], dict[Group, int]]:
    """Right clips and all clips, by group of classes."""
    right: dict[Group, int] = dict.fromkeys(GROUPS, 0)
    of: dict[Group, int] = dict.fromkeys(GROUPS, 0)
    for truth, guess in zip(evaluation.truth_N.tolist(), evaluation.guesses.tolist(), strict=True):
        own: Group = "long" if evaluation.labels[truth] in long_range else "neighbour"
        for group in ("all", own):
            of[group] += 1
            right[group] += truth == guess
    return right, of
