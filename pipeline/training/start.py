"""Where a network's weights come from, and what was not among them.

The rule that is easy to get wrong: two users of the published code lost 8 to 16 points to names
that didn't match and were skipped without a word. What isn't loaded is listed; what has another
shape is an error.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pipeline.errors import CheckpointMismatch, ConfigError
from pipeline.model import load
from pipeline.model.family import architecture_of, build
from pipeline.model.network import VideoNetwork
from pipeline.model.spec import IMAGENET_MEAN, IMAGENET_STD, AnyArchitecture, ModelSpec, Suggests
from pipeline.model.tensors import significant
from pipeline.training.config import NetworkSpec, StartSpec, TrainConfig

SIZE_PX = 64
LEAST_LOADED = 0.5  # of the tensors; fewer are the weights of something else
SHOWN = 6
_UNNAMED = re.compile(r"class_\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A network ready to be trained."""

    network: VideoNetwork
    size_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    suggests: Suggests
    origin: str
    """Where its weights come from, in words."""
    loaded: int
    fresh: tuple[str, ...]
    """Tensors that nothing was loaded for: they start as initialised."""
    unused: tuple[str, ...]
    """Tensors of the file that this network has no place for."""

    @property
    def story(self) -> list[str]:
        """What a user should know, in lines."""
        if not self.loaded:
            return [f"starts from {self.origin}"]
        lines = [f"starts from {self.origin}: {self.loaded} tensors loaded"]
        for what, names in (("new, not loaded", self.fresh), ("in the file, unused", self.unused)):
            if names:
                more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                lines.append(f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}")
        return lines


def start_network(config: TrainConfig, labels: Sequence[str]) -> Started:
    """The network that a config names, with the weights it starts from.

    Raises:
        ModelError: no such network or file, or weights that don't fit; the message lists them.
        ConfigError: the weights' classes aren't those of the data, and ``classifier: new`` isn't
            said.
    """
    if config.start is None:
        network = _built(config, config.network or NetworkSpec(), len(labels))
        return Started(
            network=network,
            size_px=config.size_px or SIZE_PX,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            suggests=config.suggests or Suggests(),
            origin=f"random weights, seed {config.seed}",
            loaded=0,
            fresh=tuple(network.state_dict()),
            unused=(),
        )
    source = load(config.start.weights, device="cpu", frames=config.start.frames)
    if config.start.classifier == "same":
        _check_classes(config.start, source.spec.labels, labels)
    if config.network is None:
        network = build(_adapted(source.spec.architecture, len(labels), config))
    else:
        network = _built(config, config.network, len(labels))
    return _transferred(config, config.start, source.spec, source.network.state_dict(), network)


def _built(config: TrainConfig, spec: NetworkSpec, classes: int) -> VideoNetwork:
    parts = {"dropout": config.dropout, **spec.parts}
    architecture = architecture_of(spec.name, classes=classes, **parts)
    return build(architecture, tam_start=config.tam_start)


def _adapted(architecture: AnyArchitecture, classes: int, config: TrainConfig) -> AnyArchitecture:
    return architecture.model_copy(update={"classes": classes, "dropout": config.dropout})


def _check_classes(start: StartSpec, theirs: Sequence[str], ours: Sequence[str]) -> None:
    if len(theirs) != len(ours):
        raise ConfigError(
            f"from: {start.weights} has {len(theirs)} classes, the data has {len(ours)}; "
            "train a new classifier with classifier: new"
        )
    for own, other in zip(ours, theirs, strict=True):
        if own != other and not _UNNAMED.fullmatch(other):
            raise ConfigError(
                f"from: {start.weights} has other labels than the data ({other!r}, not {own!r}); "
                "train a new classifier with classifier: new"
            )


def _transferred(
    config: TrainConfig,
    start: StartSpec,
    spec: ModelSpec,
    state: dict[str, Tensor],
    network: VideoNetwork,
) -> Started:
    given, wanted = significant(state), significant(network.state_dict())
    given = {_name_in(network, name): tensor for name, tensor in given.items()}
    ours = _classifier_names(network)
    if start.classifier == "new":
        given = {name: tensor for name, tensor in given.items() if name not in ours}
    wrong = [
        f"{name} {list(given[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    taken = {name: tensor for name, tensor in given.items() if name in wanted}
    if wrong or len(taken) < LEAST_LOADED * len(wanted):
        problem = f"of another shape: {', '.join(wrong[:SHOWN])}" if wrong else "names don't match"
        raise CheckpointMismatch(
            f"from: {start.weights} doesn't fit {network.architecture.family}: {len(taken)} of "
            f"{len(wanted)} tensors have a place, {problem}; name the network it was trained as"
        )
    network.load_state_dict({k: v.float() for k, v in taken.items()}, strict=False)
    return Started(
        network=network,
        size_px=config.size_px or spec.size_px,
        mean=spec.mean,
        std=spec.std,
        suggests=config.suggests or _kept(spec, start),
        origin=f"{start.weights} ({spec.name})",
        loaded=len(taken),
        fresh=tuple(name for name in wanted if name not in taken),
        unused=tuple(name for name in given if name not in wanted),
    )


def _kept(spec: ModelSpec, start: StartSpec) -> Suggests:
    """Background classes and thresholds belong to labels, so they don't outlive them."""
    if start.classifier == "same":
        return spec.suggests
    return spec.suggests.model_copy(update={"events": None, "background": ()})


def _classifier_names(network: VideoNetwork) -> set[str]:
    own = {id(parameter) for parameter in network.classifier.parameters()}
    return {name for name, parameter in network.named_parameters() if id(parameter) in own}


def _name_in(network: VideoNetwork, name: str) -> str:
    """With and without dropout, published classifiers bear different names."""
    own = next(iter(_classifier_names(network))).rpartition(".")[0]
    head, _, leaf = name.rpartition(".")
    return f"{own}.{leaf}" if head in ("new_fc", "baseline_model.fc", "fc") else name
