"""Lengths, rates and seeds as functions of the step, so that nothing has to be remembered."""

import math

import numpy as np

from pipeline.errors import ConfigError
from pipeline.training.config import ScheduleSpec, TrainConfig
from pipeline.training.peers import Peers


def rate_at(step: int, steps: int, spec: ScheduleSpec, *, clips_per_step: int) -> float:
    """Share of the peak learning rate, in [0, 1], for the step with this number (from 0).

    Source of the cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts.
    """
    warmup = min(steps - 1, -(-spec.warmup_clips // clips_per_step))
    if step < warmup:
        return (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1, steps - warmup)
    if spec.kind == "cosine":
        return spec.floor + (1 - spec.floor) * (1 + math.cos(math.pi * share)) / 2
    passed = sum(step / steps >= milestone for milestone in spec.milestones)
    return float(spec.gamma**passed)


def steps_of(config: TrainConfig, examples: int) -> int:
    """Steps of a whole run."""
    clips = config.clips if config.clips is not None else (config.epochs or 0) * examples
    return max(1, math.ceil(clips / config.clips_per_step))


def share_of(config: TrainConfig, examples: int, peers: Peers) -> int:
    """Clips of a batch that this process computes.

    Raises:
        ConfigError: a batch can't be shared evenly.
    """
    if config.batch_size % peers.size:
        raise ConfigError(
            f"batch_size ({config.batch_size}) must be a multiple of the workers ({peers.size}), "
            "which share each batch"
        )
    if peers.size > 1 and examples < config.batch_size:
        raise ConfigError(
            f"{examples} clips are less than one batch of {config.batch_size}, which {peers.size} "
            "workers would share; lower batch_size"
        )
    return config.batch_size // peers.size


def seed_of(seed: int, step: int, rank: int) -> int:
    """Of dropout in one step of one process."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> 1)
