"""What a network costs, counted on the meta device: nothing is computed.

Multiply-accumulates of convolutions, of the classifier, and of TAM taps over all T frames, as the
paper counts them.
"""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.model.blvnet import Backbone, BigLittle, BLVNetTAM, Bottleneck
from pipeline.model.spec import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one clip."""

    parameters: int
    macs: int
    macs_by_stage: dict[str, int]


def cost(architecture: Architecture, *, size_px: int) -> Cost:
    """Count parameters and multiply-accumulates for square frames of a size."""
    with torch.device("meta"):
        network = BLVNetTAM(architecture).eval()
        clip = torch.zeros(1, architecture.frames, architecture.in_channels, size_px, size_px)
    macs: Counter[str] = Counter()
    for name, module in network.named_modules():
        stage = _stage(name)
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(_count_conv(macs, stage))
        elif isinstance(module, nn.Linear):
            module.register_forward_hook(_count_linear(macs, stage))
        elif isinstance(module, BigLittle):
            module.register_forward_pre_hook(_count_tam(macs, stage, 2 * architecture.taps))
        elif isinstance(module, Bottleneck) and module.tam is not None:
            module.register_forward_pre_hook(_count_tam(macs, stage, architecture.taps))
        elif isinstance(module, Backbone):
            module.bn1.register_forward_hook(_count_stem_tam(macs, architecture.taps))
    network(clip)
    return Cost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        macs=macs.total(),
        macs_by_stage=dict(macs),
    )


def _stage(name: str) -> str:
    part = name.removeprefix("baseline_model.").split(".")[0]
    if part.startswith("layer"):
        return part
    return {"conv1": "stem", "fc": "classifier", "new_fc": "classifier"}.get(part, "layer0")


def _count_conv(macs: Counter[str], stage: str):  # type: ignore[no-untyped-def]
    def count(module: nn.Conv2d, _: object, out: Tensor) -> None:
        macs[stage] += out.numel() * module.weight[0].numel()

    return count


def _count_linear(macs: Counter[str], stage: str):  # type: ignore[no-untyped-def]
    def count(module: nn.Linear, _: object, out: Tensor) -> None:
        macs[stage] += out.numel() * module.in_features

    return count


def _count_tam(macs: Counter[str], stage: str, taps: int):  # type: ignore[no-untyped-def]
    def count(_: nn.Module, args: tuple[Tensor, int]) -> None:
        macs[stage] += args[0].numel() * taps

    return count


def _count_stem_tam(macs: Counter[str], taps: int):  # type: ignore[no-untyped-def]
    def count(_: nn.Module, __: object, out: Tensor) -> None:
        macs["layer0"] += out.numel() * taps

    return count
