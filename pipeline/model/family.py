"""The family: networks by name, and the one place where an architecture becomes a network.

Every member takes the same call: ``forward`` on whole clips, ``forward_pairs`` on frames that the
pipeline has already dealt out to the two branches.
"""

from collections.abc import Mapping

import torch
from pydantic import TypeAdapter, ValidationError

from pipeline.config import describe
from pipeline.errors import ModelError
from pipeline.model.blvnet import BLResNet, BLVNet
from pipeline.model.i3d import I3DResNet
from pipeline.model.network import VideoNetwork
from pipeline.model.resnet import ResNet
from pipeline.model.tam import TAM, TAMStart
from pipeline.spec import (
    PUBLISHED_BLOCKS,
    RESNET_BLOCKS,
    AnyArchitecture,
    Architecture,
    ResNetArchitecture,
)

Parts = Mapping[str, object]

FRAMES = 16  # of 50-f8x2, the paper's usual network
SMALL: dict[str, object] = {
    "blocks": (2, 2, 3, 2),
    "width": 16,
    "beta": 2,
    "frames": 8,
    "big_input": "low",
}


def _members() -> dict[str, Parts]:
    found: dict[str, Parts] = {}
    for mixing in ("tsn", "tsm", "tam"):
        for depth in (18, 50, 101):
            block = "basic" if depth < 50 else "bottleneck"
            found[f"{mixing}-resnet-{depth}"] = {
                "family": f"{mixing}-resnet",
                "blocks": RESNET_BLOCKS[depth],
                "block": block,
            }
    for family, depths in {
        "tsn-blresnet": (50, 101),
        "tsm-blresnet": (50,),
        "tam-blresnet": (50,),
        "blvnet": (50, 101),
        "blvnet-tsm": (50, 101),
        "blvnet-tam": (50, 101, 152),
    }.items():
        for depth in depths:
            found[f"{family}-{depth}"] = {"family": family, "blocks": PUBLISHED_BLOCKS[depth]}
    for family in ("i3d-resnet", "i3d-tam-resnet"):
        found[f"{family}-50"] = {"family": family, "blocks": RESNET_BLOCKS[50]}
    for family in ("blvnet", "blvnet-tsm", "blvnet-tam"):
        found[f"{family}-small"] = {"family": family, **SMALL}
    high = {**SMALL, "big_input": "high"}
    found["tsn-blresnet-small"] = {"family": "tsn-blresnet", **high}
    plain = {name: high[name] for name in ("blocks", "width", "frames", "big_input")}
    for mixing in ("tsn", "tsm", "tam"):
        found[f"{mixing}-resnet-small"] = {"family": f"{mixing}-resnet", **plain}
    return {name: {"frames": FRAMES, **parts} for name, parts in found.items()}


_MEMBERS = _members()
NAMES: tuple[str, ...] = tuple(_MEMBERS)
"""Every name that ``architecture_of`` knows."""


def build(architecture: AnyArchitecture, *, tam_start: TAMStart = "published") -> VideoNetwork:
    """A network of this architecture, initialised; ``tam_start`` says where its TAMs begin."""
    network = _build(architecture)
    if tam_start != "published":
        for module in network.modules():
            if isinstance(module, TAM):
                module.start(tam_start)
    return network


def bare(architecture: AnyArchitecture) -> VideoNetwork:
    """The same on the meta device: shapes only, at no cost."""
    with torch.device("meta"):
        return _build(architecture)


def architecture_of(name: str, *, classes: int, **said: object) -> AnyArchitecture:
    """The architecture that a name stands for; ``said`` overrides its parts.

    Raises:
        ModelError: no such name, or parts that it doesn't have or that contradict each other.
    """
    if name not in _MEMBERS:
        raise ModelError(f"no network is called {name!r}; the known are {', '.join(NAMES)}")
    parts = {**_MEMBERS[name], **said, "classes": classes}
    try:
        return TypeAdapter[AnyArchitecture](AnyArchitecture).validate_python(parts)
    except ValidationError as error:
        raise ModelError(f"{name}: {describe(error)}") from None


def _build(architecture: AnyArchitecture) -> VideoNetwork:
    if isinstance(architecture, Architecture):
        return (BLResNet if architecture.frame_by_frame else BLVNet)(architecture)
    if isinstance(architecture, ResNetArchitecture):
        return ResNet(architecture)
    return I3DResNet(architecture)
