"""What a network costs, counted on the meta device: nothing is computed.

Multiply-accumulates are those of convolutions, of the classifier, and of TAM taps over all T frames
(over T/2 where there are only pairs), as the paper counts them.

Activation bytes are the peak of what is alive at once while one clip goes through the network in
evaluation, in float32, as the code stands: the clip, and every tensor from the operation that
makes it to the last that reads it. Weights, what a convolution needs for itself, and what an
allocator rounds up are not in it; measured memory is therefore larger, by about the weights.
Trained bytes are what one clip in training keeps for the way back, in float32: every tensor that
autograd saves, counted once, without weights, gradients and what an optimiser holds.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.model.blvnet import BigLittle
from pipeline.model.family import bare
from pipeline.model.mixing import Mixer
from pipeline.model.network import VideoNetwork
from pipeline.spec import AnyArchitecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one clip."""

    parameters: int
    macs: int
    macs_by_stage: dict[str, int]
    activation_bytes: int
    """Peak in inference, in float32, without the weights."""
    training_bytes: int
    """Kept for the way back in training, in float32, without the weights."""


def cost(architecture: AnyArchitecture, *, size_px: int) -> Cost:
    """Count parameters, multiply-accumulates and activations for square frames of a size."""
    network = bare(architecture)
    shape = (1, architecture.frames, architecture.in_channels, size_px, size_px)
    training_bytes = _saved_bytes(network.train(), shape)
    macs: Counter[str] = Counter()
    _count(network.eval(), macs)
    with torch.no_grad(), _Alive(network) as alive:
        network(torch.zeros(shape, device="meta"))
    return Cost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        macs=macs.total(),
        macs_by_stage=dict(macs),
        activation_bytes=alive.peak_bytes,
        training_bytes=training_bytes,
    )


def _saved_bytes(network: VideoNetwork, shape: tuple[int, ...]) -> int:
    own = {id(tensor.untyped_storage()) for tensor in (*network.parameters(), *network.buffers())}
    saved: dict[int, torch.UntypedStorage] = {}  # holds them, so that no id comes twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in own:
            saved[id(storage)] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.zeros(shape, device="meta"))
    return sum(storage.nbytes() for storage in saved.values())


def _count(network: VideoNetwork, macs: Counter[str]) -> None:
    """Hooks that add up as a clip goes through."""
    for name, module in network.named_modules():
        stage = _stage(name)
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            module.register_forward_hook(_weights(macs, stage))
        mixer = getattr(module, "tam", None)
        if not isinstance(mixer, Mixer) or not mixer.macs_per_value:
            continue
        if isinstance(module, BigLittle):
            per_value = mixer.macs_per_value * (1 if module.per_frame else 2)
            module.register_forward_pre_hook(_input(macs, stage, per_value))
        elif hasattr(module, "bl_init"):  # layer 0 mixes what leaves the stem
            module.get_submodule("bn1").register_forward_hook(
                _output(macs, "layer0", mixer.macs_per_value)
            )
        else:
            module.register_forward_pre_hook(_input(macs, stage, mixer.macs_per_value))


def _stage(name: str) -> str:
    part = name.removeprefix("baseline_model.").split(".")[0]
    if part.startswith("layer"):
        return part
    return {"conv1": "stem", "fc": "classifier", "new_fc": "classifier"}.get(part, "layer0")


def _weights(macs: Counter[str], stage: str) -> Callable[[nn.Module, object, Tensor], None]:
    def count(module: nn.Module, _: object, out: Tensor) -> None:
        macs[stage] += out.numel() * module.get_parameter("weight")[0].numel()

    return count


def _input(
    macs: Counter[str], stage: str, per_value: int
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def count(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        macs[stage] += args[0].numel() * per_value

    return count


def _output(
    macs: Counter[str], stage: str, per_value: int
) -> Callable[[nn.Module, object, Tensor], None]:
    def count(_: nn.Module, __: object, out: Tensor) -> None:
        macs[stage] += out.numel() * per_value

    return count


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operations make, and takes them off when they are let go.

    Views of the network's own tensors are no activations.
    """

    def __init__(self, network: VideoNetwork) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak_bytes = 0
        own = (*network.parameters(), *network.buffers())
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in own)

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self._meet(tensor.untyped_storage())
        return out

    def _meet(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        self.bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self.bytes)
        weakref.finalize(storage, self._part, storage.nbytes())

    def _part(self, bytes_: int) -> None:
        self.bytes -= bytes_
