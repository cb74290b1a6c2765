"""The cost study: what bLVNet-TAM and TSN take, counted and measured, at the paper's sizes."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.model import architecture_of, cost
from pipeline.model.cost import Cost
from pipeline.spec import AnyArchitecture
from pipeline.training.ablation.memory import measure
from pipeline.training.ablation.spec import AblationSpec
from pipeline.training.checkpoint import write_whole

NETWORKS = ("tsn-resnet", "blvnet-tam")
"""The baseline, and what it is compared with."""
CLASSES = 174  # as Something-Something has
STATE_BYTES = 12  # per parameter: weight, gradient, momentum


class Price(BaseModel):
    """Of one network on one clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    frames: int
    size_px: int
    parameters: int
    macs: int
    activation_bytes: int
    training_bytes: int
    measured_inference: int | None = None
    measured_training: int | None = None


@functools.cache
def counted(architecture: AnyArchitecture, size_px: int) -> Cost:
    """As ``cost``, once per network: a deep one takes a second."""
    return cost(architecture, size_px=size_px)


def price(network: str, frames: int, spec: AblationSpec, work: Path, *, measured: bool) -> Price:
    """What a network costs; known ones are read from ``work``.

    Raises:
        TrainingError: it can't be written there.
    """
    path = work / "cost" / f"{network}-t{frames}-{spec.cost_px}px.json"
    known = _known(path)
    if known is not None and (known.measured_training is not None or not measured):
        return known
    found = counted(architecture_of(network, classes=CLASSES, frames=frames), spec.cost_px)
    needs = found.training_bytes + STATE_BYTES * found.parameters
    peaks = measure(network, frames, spec.cost_px, CLASSES, needs_bytes=needs) if measured else None
    result = Price(
        network=network,
        frames=frames,
        size_px=spec.cost_px,
        parameters=found.parameters,
        macs=found.macs,
        activation_bytes=found.activation_bytes,
        training_bytes=found.training_bytes,
        measured_inference=peaks["inference"] if peaks else None,
        measured_training=peaks["training"] if peaks else None,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, result.model_dump_json(indent=1).encode() + b"\n")
    return result


def depths_of(spec: AblationSpec) -> dict[str, tuple[int, ...]]:
    """By family, the depths of which it is said what fits."""
    wanted = {"tsn-resnet": spec.tsn_depths, "blvnet-tam": spec.tam_depths}
    return {name: tuple(sorted({*wanted[name], *spec.depths})) for name in NETWORKS}


def planned(spec: AblationSpec) -> list[tuple[str, int, bool]]:
    """Networks, frames, and whether memory is measured, in the order of the table."""
    compared = [
        (f"{name}-{depth}", 2 * pairs, pairs in spec.measured_pairs)
        for depth in spec.depths
        for pairs in spec.pairs
        for name in NETWORKS
    ]
    return compared + [
        (f"{name}-{depth}", frames, False)
        for name, depths in depths_of(spec).items()
        for depth in depths
        for frames in (8, 16)
        if (f"{name}-{depth}", frames) not in [entry[:2] for entry in compared]
    ]


def prices(
    spec: AblationSpec, work: Path, *, begins: Callable[[str], None], stop: Callable[[], bool]
) -> Iterator[Price]:
    """All of them, until told to stop."""
    for network, frames, measured in planned(spec):
        if stop():
            return
        begins(f"cost of {network}, {frames} frames")
        yield price(network, frames, spec, work, measured=measured)


def frames_that_fit(eight: Price, sixteen: Price, spec: AblationSpec) -> int:
    """The most frames (even) whose training fits into the budget, 0 if not even two do.

    What training keeps grows by the same amount with every pair of frames, so two counts give all.
    """
    state = STATE_BYTES * eight.parameters
    per_clip = (spec.budget_gib * 2**30 - state) / spec.budget_batch
    per_frame = (sixteen.training_bytes - eight.training_bytes) / 8
    fixed = eight.training_bytes - 8 * per_frame
    return max(0, int((per_clip - fixed) / per_frame) // 2 * 2)


def _known(path: Path) -> Price | None:
    try:
        return Price.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
