"""model: windows in, scores out; the network, its weights, and how it is fed.

In: ``Window``s of exactly the shape that the weights require. Out: ``Scores``, one per label.
The rule that is easy to get wrong: weights decide what they require; a tensor whose name or shape
doesn't fit is an error, never skipped.
Cost: see ``cost``; 50-f8x2 takes 23.85 GMAC per clip, 2.75 times less than a TSN ResNet-50.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from pipeline.bundle import DEFAULT, DEFAULT_PATH, check_file, is_safetensors, named
from pipeline.config import ModelConfig, describe
from pipeline.errors import ModelError
from pipeline.model.bundle import digest_of, read_bundle, write_bundle
from pipeline.model.cost import Cost, cost
from pipeline.model.device import pick, share_cpu
from pipeline.model.family import NAMES, architecture_of, bare, build
from pipeline.model.network import VideoNetwork
from pipeline.model.pickled import read_state
from pipeline.model.published import DATASET_CLASSES, read_architecture, read_dataset
from pipeline.model.published_resnet import renamed
from pipeline.model.recognizer import Recognizer
from pipeline.model.start import StartReport, from_image_weights
from pipeline.model.tensors import check_tensors
from pipeline.spec import (
    AnyArchitecture,
    Architecture,
    I3DArchitecture,
    ModelSpec,
    Pooling,
    ResNetArchitecture,
    Suggests,
)

MAX_LABELS_BYTES = 16 << 20


def load(
    path: str | Path,
    *,
    device: str = "auto",
    frames: int | None = None,
    beta: int | None = None,
    temporal_pooling: Pooling | None = None,
    labels: str | Path | Sequence[str] | None = None,
) -> Recognizer:
    """The recognizer in a file: our bundle, or a checkpoint as the papers' authors release it.

    ``default`` is the one that comes along. ``frames`` (T), ``beta`` and, for ResNets,
    ``temporal_pooling`` are for checkpoints whose name doesn't tell; ``labels`` is a text file
    with one per line, or the labels themselves. Code in a file is never run.

    Raises:
        CheckpointRefused: no checkpoint, a damaged one, or one that wants to run code.
        CheckpointMismatch: tensors that don't fit; the message lists them.
        ModelError: something is missing, or contradicts the file.
    """
    path = named(path)
    where = pick(device)
    if is_safetensors(path):
        state, spec, digest = read_bundle(path)
        check_tensors(state, spec.architecture, path)
        said = {"frames": frames, "beta": beta, "temporal_pooling": temporal_pooling}
        _check_said(path, spec.architecture, said)
        if labels is not None:
            spec = _checked(path, spec.model_dump() | {"labels": _labels(labels)})
            digest = digest_of(state, spec)
    else:
        state = renamed(read_state(path))
        architecture = read_architecture(
            state, path, frames=frames, beta=beta, temporal_pooling=temporal_pooling
        )
        check_tensors(state, architecture, path)
        spec = _published_spec(path, architecture, labels)
        digest = digest_of(state, spec)
    network = bare(spec.architecture).to_empty(device="cpu")
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    for name, buffer in network.named_buffers():
        if name.endswith(".num_batches_tracked"):
            buffer.zero_()
    return Recognizer(network, spec, digest, where)


def load_from(config: ModelConfig) -> Recognizer:
    """The recognizer that a config names; see ``load``."""
    return load(
        config.path,
        device=config.device,
        frames=config.frames,
        beta=config.beta,
        labels=config.labels,
    )


def save_bundle(recognizer: Recognizer, path: str | Path) -> None:
    """Write a recognizer as one file that carries everything it needs.

    Raises:
        ModelError: the file can't be written.
    """
    write_bundle(Path(path), recognizer.network.state_dict(), recognizer.spec)


def _check_said(path: Path, architecture: AnyArchitecture, said: Mapping[str, object]) -> None:
    for name, value in said.items():
        found = getattr(architecture, name, None)
        if value is not None and value != found:
            raise ModelError(f"{path}: {name}={value} was given, but the bundle says {found}")


def _published_spec(
    path: Path, architecture: AnyArchitecture, labels: str | Path | Sequence[str] | None
) -> ModelSpec:
    dataset = read_dataset(path)
    wanted = DATASET_CLASSES.get(dataset or "")
    if wanted is not None and wanted != architecture.classes:
        raise ModelError(
            f"{path}: its name says {dataset}, which has {wanted} classes, its "
            f"tensors have {architecture.classes}"
        )
    if labels is None:
        given = tuple(f"class_{n}" for n in range(architecture.classes))
    else:
        given = _labels(labels)
    normalisation = {} if architecture.in_channels == 3 else {"mean": (0.5,), "std": (0.5,)}
    stem = path.name.removesuffix(".tar").removesuffix(".pth")
    return _checked(
        path,
        {
            "name": stem,
            "architecture": architecture,
            "labels": given,
            "provenance": {"source": f"published checkpoint {path.name}"},
            **normalisation,
        },
    )


def _checked(path: Path, parts: dict[str, object]) -> ModelSpec:
    try:
        return ModelSpec.model_validate(parts)
    except ValidationError as error:
        raise ModelError(f"{path}: {describe(error)}") from None


def _labels(labels: str | Path | Sequence[str]) -> tuple[str, ...]:
    if not isinstance(labels, str | Path):
        return tuple(labels)
    if (size := _size(Path(labels))) > MAX_LABELS_BYTES:
        raise ModelError(f"{labels}: {size >> 20} MiB are no text file with a label per line")
    try:
        lines = Path(labels).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file in UTF-8"
        raise ModelError(f"{labels}: can't read the labels: {reason}") from None
    return tuple(" ".join(line.split()) for line in lines if line.strip())


def _size(path: Path) -> int:
    check_file(path)
    return path.stat().st_size if path.exists() else 0


__all__ = [
    "DEFAULT",
    "DEFAULT_PATH",
    "NAMES",
    "AnyArchitecture",
    "Architecture",
    "Cost",
    "I3DArchitecture",
    "ModelSpec",
    "Recognizer",
    "ResNetArchitecture",
    "StartReport",
    "Suggests",
    "VideoNetwork",
    "architecture_of",
    "build",
    "cost",
    "from_image_weights",
    "load",
    "load_from",
    "save_bundle",
    "share_cpu",
]
