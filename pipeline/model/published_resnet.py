"""ResNets for video as their authors release them: TAM-ResNet, TSN on a ResNet, I3D-ResNet.

Names are those of an ordinary ResNet, with ``layerX.Y.tam.prev_se.fc1.weight`` for a tap. Neither
frames nor temporal pooling can be told by a tensor: they are in the file's name, such as
``K400-TAM-ResNet-50-f32`` or ``kinetics400-rgb-resnet-50-ts-max-f8``, or are said.

Source: IBM/action-recognition-pytorch@67cc96f.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError
from torch import Tensor

from pipeline.config import describe
from pipeline.errors import CheckpointMismatch, ModelError
from pipeline.model.tensors import State, count, shape
from pipeline.spec import (
    RESNET_BLOCKS,
    Blocks,
    I3DArchitecture,
    Pooling,
    ResNetArchitecture,
)

_NAME = re.compile(
    r"(?:(?P<dataset>[\w.]+)-)?(?:(?:rgb|flow)-)?"
    r"(?:(?P<kind>TAM|TSM|TSN|I3D)(?:-b\d+-[a-z]+)?-)?ResNet-?(?P<depth>\d+)(?P<rest>.*)",
    re.IGNORECASE,
)
_FRAMES = re.compile(r"-f(\d+)(?![0-9a-z])", re.IGNORECASE)  # not resnet18-f37072fd
_POOLING = re.compile(r"-(?:tp|ts)(?:-(max|avg|mean))?(?![0-9a-z])", re.IGNORECASE)
_TAP = re.compile(r"\.tam\.(?:(prev|curr|next)_se|(blending_layers\.\d+))\.fc1\.")


@dataclass(frozen=True, slots=True)
class ResNetName:
    """What a file's name says, where it follows the authors' convention."""

    dataset: str | None
    kind: str | None
    depth: int
    frames: int | None
    pooling: Pooling | None


def read_resnet_name(path: Path) -> ResNetName | None:
    """The name's parts, or None for another name."""
    match = _NAME.search(path.name)
    if match is None:
        return None
    frames, pooled = _FRAMES.search(match["rest"]), _POOLING.search(match["rest"])
    pooling: Pooling | None = None
    if pooled is not None:
        pooling = "avg" if (pooled[1] or "max").lower() in ("avg", "mean") else "max"
    dataset, kind = match["dataset"], match["kind"]
    return ResNetName(
        dataset=dataset and dataset.lower(),
        kind=kind and kind.lower(),
        depth=int(match["depth"]),
        frames=int(frames[1]) if frames else None,
        pooling=pooling,
    )


def renamed(state: State) -> dict[str, Tensor]:
    """With TAM's weights named as in the other family: ``tam.prev_se.fc1`` -> ``tam.prev``."""
    return {
        _TAP.sub(lambda match: f".tam.{match[1] or match[2]}.", name): tensor
        for name, tensor in state.items()
    }


def is_resnet(state: State) -> bool:
    """Whether names are those of an ordinary ResNet, or of one inflated to 3D."""
    return any(name.startswith("layer1.0.") for name in state)


def read_resnet(
    state: State, path: Path, *, frames: int | None, pooling: Pooling | None
) -> ResNetArchitecture | I3DArchitecture:
    """The architecture that names and shapes tell, completed by file name and arguments.

    Raises:
        CheckpointMismatch: no such network.
        ModelError: the number of frames isn't known, or what was said contradicts the tensors.
    """
    name = read_resnet_name(path)
    named = name.frames if name else None
    if None not in (frames, named) and frames != named:
        raise ModelError(f"{path}: frames={frames} was given, but the file's name says {named}")
    if frames is None and named is None:
        raise ModelError(
            f"{path}: the tensors don't tell how many frames (T) it takes, and the file's name is "
            "not like K400-TAM-ResNet-50-f32.pth.tar; say frames=… (--frames)"
        )
    if pooling not in (None, *get_args(Pooling)):
        raise ModelError(f"temporal_pooling must be none, max or avg; got {pooling!r}")
    stem = shape(state, "conv1.weight", (64, 3))
    mixing = "tam" if any(".tam." in key for key in state) else "tsn"
    inflated = any(tensor.ndim == 5 for tensor in state.values())
    kind = "i3d" if inflated else mixing
    if name is not None and name.kind not in (None, kind):
        raise ModelError(f"{path}: its name says {name.kind}, its tensors say {kind}")
    parts: dict[str, object] = {
        "blocks": _blocks(state, name, path),
        "block": "bottleneck" if _is_bottleneck(state) else "basic",
        "width": stem[0],
        "in_channels": stem[1],
        "taps": _taps(state),
        "frames": named if frames is None else frames,
        "classes": shape(state, "fc.weight", (1,))[0],
    }
    pooling = _pooling(name.pooling if name else None, pooling, path)
    try:
        if inflated:
            family = "i3d-tam-resnet" if mixing == "tam" else "i3d-resnet"
            stride = 1 if pooling == "none" else 2
            parts |= {"family": family, "temporal_stride": stride}
            return I3DArchitecture.model_validate(parts)
        parts |= {"family": f"{mixing}-resnet", "temporal_pooling": pooling}
        return ResNetArchitecture.model_validate(parts)
    except ValidationError as error:
        raise CheckpointMismatch(f"{path}: no such ResNet: {describe(error)}") from None


def _pooling(named: Pooling | None, said: Pooling | None, path: Path) -> Pooling:
    if said is not None and named is not None and said != named:
        raise ModelError(f"{path}: temporal_pooling={said} was given, but its name says {named}")
    return said or named or "none"


def _is_bottleneck(state: State) -> bool:
    return any(name.endswith(".conv3.weight") for name in state)


def _taps(state: State) -> int:
    """3 where taps have names; also where there are none, or too few to tell."""
    if not any(".tam.blending_layers." in name for name in state):
        return 3
    return count(state, "layer1.0.tam.blending_layers.") or 1


def _blocks(state: State, name: ResNetName | None, path: Path) -> Blocks:
    """Blocks of layers 1 to 4: those that the name's depth has, where the tensors have others.

    So a file that lost the last blocks of a layer isn't taken for a smaller network.
    """
    one, two, three, four = (count(state, f"layer{n}.") for n in (1, 2, 3, 4))
    found = (one, two, three, four)
    wanted = RESNET_BLOCKS.get(name.depth) if name else None
    if wanted is None or wanted == found:
        return found
    if sum(a != b for a, b in zip(found, wanted, strict=True)) == 1:
        return wanted
    raise ModelError(
        f"{path}: its name says depth {name and name.depth}, its tensors have blocks {found}"
    )
