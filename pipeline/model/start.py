"""A network that starts from the weights of another one: its image relative, or fewer frames.

In: an architecture, and a file that holds a ResNet or bLResNet of ImageNet, or a video network of
the family with any number of frames or classes. Out: the network, and a report of what became of
every tensor. The rule that is easy to get wrong: whoever loads names that don't match without a
word trains from scratch without knowing it; so the report lists them, and a file of which nothing
fits is an error.

2D kernels are inflated (each point in time gets its share of the weight: Carreira, Zisserman, CVPR
2017), and a stem for another number of channels takes the mean over colours.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.bundle import HEADER, is_safetensors, named, significant
from pipeline.errors import CheckpointMismatch
from pipeline.model.bundle import read_bundle, read_safetensors
from pipeline.model.family import build
from pipeline.model.network import VideoNetwork
from pipeline.model.pickled import read_state
from pipeline.model.published_resnet import renamed
from pipeline.model.tam import TAMStart
from pipeline.model.tensors import State, check_values, listed
from pipeline.spec import AnyArchitecture, Architecture

BACKBONE = "baseline_model."  # before every name of a Big-Little video network's backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReport:
    """What became of every tensor; names are the network's, of what is left over the file's."""

    source: str
    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    """Of those loaded: which were changed to fit, and how."""
    missing: tuple[str, ...]
    """Not in the file: as initialised."""
    of_another_shape: tuple[str, ...]
    """In the file, but unusable: as initialised."""
    left_over: tuple[str, ...]
    """In the file, but in no place of the network."""

    @property
    def complete(self) -> bool:
        """Whether every tensor of the network was loaded."""
        return not self.missing and not self.of_another_shape

    def __str__(self) -> str:
        parts = (
            listed("adapted", self.adapted),
            listed("missing (start as initialised)", self.missing),
            listed("of another shape (start as initialised)", self.of_another_shape),
            listed("left over", self.left_over),
        )
        return f"{self.source}: {'; '.join([f'{len(self.loaded)} loaded', *filter(None, parts)])}"


def from_image_weights(
    architecture: AnyArchitecture, path: str | Path, *, tam_start: TAMStart = "published"
) -> tuple[VideoNetwork, StartReport]:
    """A network that starts from a file's weights, as far as they fit; the report lists the rest.

    ``tam_start`` is for TAMs that the file doesn't have.

    Raises:
        CheckpointRefused: no checkpoint, a damaged one, or one that wants to run code.
        CheckpointMismatch: no convolution of the network is in the file.
    """
    path = named(path)
    network = build(architecture, tam_start=tam_start)
    given = _as_in(architecture, significant(_read(path)))
    check_values(given, path)
    wanted = significant(network.state_dict())
    loaded, adapted, other = {}, [], []
    for name in (name for name in wanted if name in given):
        fitting, how = _fitted(given[name], wanted[name].shape, name)
        if fitting is None:
            other.append(f"{name} {list(given[name].shape)} instead of {list(wanted[name].shape)}")
            continue
        loaded[name] = fitting.float()
        if how:
            adapted.append(f"{name} {how}")
    report = StartReport(
        source=str(path),
        loaded=tuple(loaded),
        adapted=tuple(adapted),
        missing=tuple(name for name in wanted if name not in given),
        of_another_shape=tuple(other),
        left_over=tuple(name for name in given if name not in wanted),
    )
    if not _holds_a_convolution(network, loaded):
        raise CheckpointMismatch(f"no weights of a {architecture.family} to start from in {report}")
    network.load_state_dict(loaded, strict=False)
    return network, report


def _read(path: Path) -> State:
    if not is_safetensors(path):
        return read_state(path)
    state, metadata = read_safetensors(path)
    return read_bundle(path)[0] if HEADER in metadata else state


def _as_in(architecture: AnyArchitecture, state: State) -> dict[str, Tensor]:
    """Under the names that a network of this architecture has for them."""
    state = renamed(state)
    if not isinstance(architecture, Architecture):
        return state
    if not any(name.startswith(BACKBONE) for name in state):
        state = {BACKBONE + name: tensor for name, tensor in state.items()}
    here, there = ("new_fc.", BACKBONE + "fc.")
    if not architecture.dropout:
        here, there = there, here
    return {
        here + name.removeprefix(there) if name.startswith(there) else name: tensor
        for name, tensor in state.items()
    }


def _fitted(tensor: Tensor, shape: torch.Size, name: str) -> tuple[Tensor | None, str]:
    """A tensor of that shape and what was done to it, or None where nothing can be."""
    how = ""
    if len(shape) == 5 and tensor.ndim == 4:
        tensor = tensor.float().unsqueeze(2).repeat(1, 1, shape[2], 1, 1) / shape[2]
        how = f"inflated to {shape[2]} frames" if shape[2] > 1 else ""
    is_stem = name.removeprefix(BACKBONE) == "conv1.weight" and tensor.ndim == len(shape)
    if is_stem and tensor.shape[1] != shape[1]:
        mean = tensor.float().mean(dim=1, keepdim=True)
        tensor = mean.expand(-1, shape[1], *tensor.shape[2:])
        how = ", ".join(filter(None, (how, f"averaged for {shape[1]} channels")))
    return (tensor, how) if tensor.shape == shape else (None, "")


def _holds_a_convolution(network: VideoNetwork, loaded: State) -> bool:
    return any(
        f"{name}.weight" in loaded
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d) and ".tam." not in name
    )
