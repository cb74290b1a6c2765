"""Where a network's weights come from, and what was not among them.

The rule that is easy to get wrong: a classifier for other classes is useless, even where its shape
fits; so classes that differ are an error until ``classifier: new`` is said.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from pipeline.bundle import is_safetensors, named
from pipeline.errors import CheckpointMismatch, ConfigError
from pipeline.model import (
    StartReport,
    VideoNetwork,
    architecture_of,
    build,
    from_image_weights,
    load,
)
from pipeline.spec import IMAGENET_MEAN, IMAGENET_STD, AnyArchitecture, ModelSpec, Suggests
from pipeline.training.config import NetworkSpec, StartSpec, TrainConfig

SIZE_PX = 64
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
    story: tuple[str, ...]
    """What a user should know of that, in lines: above all what was not loaded."""


def start_network(config: TrainConfig, labels: Sequence[str]) -> Started:
    """The network that a config names, with the weights it starts from.

    Raises:
        ModelError: no such network or file, or weights that don't fit; the message lists them.
        ConfigError: the weights' classes aren't those of the data, and ``classifier: new`` isn't
            said.
    """
    start = config.start
    if start is None:
        architecture = _named(config, config.network or NetworkSpec(), len(labels))
        origin = f"random weights, seed {config.seed}"
        network = build(architecture, tam_start=config.tam_start)
        return _started(config, network, origin=origin, story=(f"starts from {origin}",))
    spec = _spec_of(config, start)
    if spec is not None and start.classifier == "same":
        _check_labels(start, spec.labels, labels)
    if config.network is not None:
        architecture = _named(config, config.network, len(labels))
    else:
        assert spec is not None, "without a network, _spec_of reads the weights' own"
        ours = {"classes": len(labels), "dropout": config.dropout}
        architecture = spec.architecture.model_copy(update=ours)
    network, report = from_image_weights(architecture, start.weights, tam_start=config.tam_start)
    _check_shapes(start, network, report)
    story = [f"starts from {report}"]
    if start.classifier == "new":
        _renew(network.classifier)
        story.append(f"the classifier is new, for {len(labels)} classes")
    return _started(config, network, spec, origin=report.source, story=tuple(story))


def places_of(data: Sequence[str], network: Sequence[str], *, what: str) -> list[int]:
    """Per label of the data, its place among a network's labels.

    Labels that a published checkpoint was not given stand for those of the data, in their order.

    Raises:
        ConfigError: the network doesn't know a label, or has another number of unnamed classes.
    """
    if all(_UNNAMED.fullmatch(label) for label in network):
        if len(network) != len(data):
            raise ConfigError(f"{what} has {len(network)} classes, the data has {len(data)}")
        return list(range(len(data)))
    index = {label: place for place, label in enumerate(network)}
    unknown = [label for label in data if label not in index]
    if unknown:
        raise ConfigError(
            f"{what} doesn't know {len(unknown)} of the data's {len(data)} labels, such as "
            f"{unknown[0]!r}; it knows {len(network)}, such as {network[0]!r}"
        )
    return [index[label] for label in data]


def _named(config: TrainConfig, spec: NetworkSpec, classes: int) -> AnyArchitecture:
    parts: dict[str, object] = {"dropout": config.dropout, **spec.parts}
    return architecture_of(spec.name, classes=classes, **parts)


def _spec_of(config: TrainConfig, start: StartSpec) -> ModelSpec | None:
    """What the weights require and suggest; None for a published file under another network."""
    if config.network is not None and not is_safetensors(named(start.weights)):
        return None
    return load(start.weights, device="cpu", frames=start.frames).spec


def _check_labels(start: StartSpec, theirs: Sequence[str], ours: Sequence[str]) -> None:
    if len(theirs) != len(ours):
        raise ConfigError(
            f"from: {start.weights} has {len(theirs)} classes, the data has {len(ours)}; "
            "to train a new classifier, say classifier: new"
        )
    for own, other in zip(ours, theirs, strict=True):
        if own != other and not _UNNAMED.fullmatch(other):
            raise ConfigError(
                f"from: {start.weights} has other labels than the data ({other!r} instead of "
                f"{own!r}); to train a new classifier, say classifier: new"
            )


def _check_shapes(start: StartSpec, network: VideoNetwork, report: StartReport) -> None:
    """Only a new classifier may differ in shape."""
    own = {id(parameter) for parameter in network.classifier.parameters()}
    classifier = {name for name, parameter in network.named_parameters() if id(parameter) in own}
    wrong = [line for line in report.of_another_shape if line.split()[0] not in classifier]
    if wrong:
        raise CheckpointMismatch(
            f"from: {start.weights} doesn't fit a {network.architecture.family}: "
            f"{', '.join(wrong[:8])}; name the network that it was trained as"
        )
    if report.of_another_shape and start.classifier == "same":
        raise ConfigError(
            f"from: {start.weights} has a classifier for other classes "
            f"({report.of_another_shape[0]}); to train a new one, say classifier: new"
        )


def _renew(layer: nn.Linear) -> None:
    """As new classifiers start."""
    nn.init.normal_(layer.weight, 0, 0.001)
    nn.init.zeros_(layer.bias)


def _started(
    config: TrainConfig,
    network: VideoNetwork,
    spec: ModelSpec | None = None,
    *,
    origin: str,
    story: tuple[str, ...],
) -> Started:
    suggests = config.suggests
    if suggests is None:
        suggests = spec.suggests if spec is not None else Suggests()
        if config.start is not None and config.start.classifier == "new":
            # thresholds and background classes belong to labels, and don't outlive them
            suggests = suggests.model_copy(update={"events": None, "background": ()})
    return Started(
        network=network,
        size_px=config.size_px or (spec.size_px if spec is not None else SIZE_PX),
        mean=spec.mean if spec is not None else IMAGENET_MEAN,
        std=spec.std if spec is not None else IMAGENET_STD,
        suggests=suggests,
        origin=origin,
        story=story,
    )
