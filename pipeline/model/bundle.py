"""Bundles, read and written: see ``pipeline.bundle`` for what they hold.

Weights that float16 holds exactly are stored so.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline import bundle
from pipeline.bundle import DIGEST, HEADER, MAX_TENSORS, check_file, significant
from pipeline.config import describe
from pipeline.errors import CheckpointRefused, ModelError
from pipeline.model.tensors import State
from pipeline.spec import ModelSpec


def digest_of(state: State, spec: ModelSpec) -> str:
    """See ``pipeline.bundle.digest_of``."""
    return bundle.digest_of({name: _plain(tensor).numpy() for name, tensor in state.items()}, spec)


def read_bundle(path: Path) -> tuple[dict[str, Tensor], ModelSpec, str]:
    """Tensors (float32), spec and digest.

    Raises:
        CheckpointRefused: damaged, cut short, no bundle of ours, or not what its digest says.
    """
    state, metadata = read_safetensors(path)
    if HEADER not in metadata:
        raise CheckpointRefused(
            f"{path}: a safetensors file without the header of actionstream; make a bundle of the "
            "original checkpoint with: actionstream model convert IN OUT"
        )
    try:
        spec = ModelSpec.model_validate_json(metadata[HEADER])
    except ValidationError as error:
        raise CheckpointRefused(f"{path}: its header is not valid: {describe(error)}") from None
    digest = digest_of(state, spec)
    if digest != metadata.get(DIGEST):
        raise CheckpointRefused(f"{path}: its tensors are not those that its digest was made of")
    return state, spec, digest


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (float32) and the header's texts of any safetensors file.

    Raises:
        CheckpointRefused: damaged, cut short, or with more tensors than a network has.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            names = file.keys()
            too_many = len(names) > MAX_TENSORS
            tensors = {} if too_many else {name: file.get_tensor(name) for name in names}
            if not (too_many or any(tensor.is_complex() for tensor in tensors.values())):
                return {name: tensor.float() for name, tensor in tensors.items()}, metadata
    except (SafetensorError, OSError, ValueError, RuntimeError):
        raise CheckpointRefused(
            f"{path}: damaged, or cut short; copy it again from where it came from"
        ) from None
    if too_many:
        raise CheckpointRefused(
            f"{path}: holds {len(names)} tensors, and no network of ours over {MAX_TENSORS}"
        )
    raise CheckpointRefused(f"{path}: holds complex numbers, which no weights of ours are")


def write_bundle(path: Path, state: State, spec: ModelSpec) -> None:
    """Write whole or not at all.

    Raises:
        ModelError: the file can't be written, or is a device.
    """
    check_file(path)
    tensors = {name: _smallest(tensor) for name, tensor in significant(state).items()}
    header = {HEADER: spec.model_dump_json(), DIGEST: digest_of(state, spec)}
    data = save(tensors, metadata=header)
    if not path.parent.is_dir():
        raise ModelError(
            f"{path}: can't be written: there is no folder {path.parent}; make it first"
        )
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ModelError(f"{path}: can't be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise ModelError(f"{path}: can't be written: {error.strerror}") from None
    finally:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()


def _smallest(tensor: Tensor) -> Tensor:
    values = _plain(tensor)
    half = values.half()
    return half if torch.equal(half.float(), values) else values


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32).contiguous()
