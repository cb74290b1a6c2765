"""What changes weights: the optimizer with its two kinds of parameters, and their average."""

import copy

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from pipeline.model.network import VideoNetwork
from pipeline.training.config import OptimizerSpec


def make_optimizer(network: nn.Module, spec: OptimizerSpec) -> Optimizer:
    """The optimizer of a network's parameters.

    What has one value per channel (batch norms, biases, TAM taps) isn't decayed: pulled to zero,
    a TAM forgets its neighbours.
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in network.parameters():
        per_channel = parameter.numel() == parameter.shape[0]
        (kept if per_channel else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": spec.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    if spec.kind == "sgd":
        return SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.momentum > 0)
    return AdamW(groups, lr=spec.lr, betas=(spec.momentum, 0.999))


def load_optimizer(optimizer: Optimizer, state: dict[str, object]) -> None:
    """Give it what another one remembered of the same parameters; its settings stay its own.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is the memory of other parameters.
    """
    own = [
        {name: group[name] for name in group if name != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update(settings)
    names = {"momentum_buffer"} if isinstance(optimizer, SGD) else {"step", "exp_avg", "exp_avg_sq"}
    for parameter, memory in optimizer.state.items():
        if set(memory) != names:
            raise ValueError("the memory of another kind of optimizer")
        for name, value in memory.items():
            shape = () if name == "step" else parameter.shape
            if tuple(value.shape) != tuple(shape):
                raise ValueError(f"{name} of another shape")


class Average:
    """Exponential moving average of a network's weights and batch statistics.

    Over the first steps the decay is smaller, ``(1 + step) / (10 + step)``, or the average would
    hold its random start for long. Cost: one pass over the weights per step.
    """

    def __init__(self, network: VideoNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay
        self._of = _tensors(network)
        self._own = _tensors(self.network)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step (from 0)."""
        decay = min(self._decay, (1 + step) / (10 + step)) if self._decay else 0.0
        torch._foreach_lerp_(self._own, self._of, 1 - decay)


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    """Parameters and batch statistics; batch norm's counters decide nothing."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
