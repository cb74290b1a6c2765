"""The learning rate as a function of the step, so that nothing has to be remembered."""

import math

from pipeline.training.config import ScheduleSpec


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
