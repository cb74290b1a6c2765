"""Our own file: one safetensors file with everything that belongs to the weights.

Its header carries the spec (architecture, labels, preprocessing, suggestions, provenance) and the
digest of the model, which is checked when it is read. Weights that float16 holds exactly are
stored so.
"""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.config import describe
from pipeline.errors import CheckpointRefused, ModelError
from pipeline.model.spec import ModelSpec
from pipeline.model.tensors import State, significant

DEFAULT = "default"
DEFAULT_PATH = Path(__file__).with_name("default.safetensors")
HEADER = "actionstream"
DIGEST = "actionstream_digest"


def named(path: str | Path) -> Path:
    """A path; ``default`` is the one that comes along."""
    return DEFAULT_PATH if str(path) == DEFAULT else Path(path)


def check_file(path: Path) -> None:
    """No pipe, which would block, and no device, which may never end, or would be replaced.

    Raises:
        ModelError: it is one, or its name can't be looked up.
    """
    try:
        odd = path.exists() and not (path.is_file() or path.is_dir())
    except OSError as error:
        raise ModelError(f"{path}: can't be looked up: {error.strerror}") from None
    if odd:
        raise ModelError(f"{path}: a pipe or a device; give a file")


def is_safetensors(path: Path) -> bool:
    """Whether it begins as such a file does: with the length of its JSON header.

    Raises:
        CheckpointRefused: an empty file, or a web page.
        ModelError: no file, or one that can't be read.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; check the path of the model") from None
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}") from None
    if not head:
        raise CheckpointRefused(f"{path}: the file is empty; was it copied to its end?")
    if head[8:9] == b"{":  # asked first: the length before it may begin with any byte, as "<"
        return True
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        raise CheckpointRefused(
            f"{path}: a web page, not a checkpoint; download the file itself, not its page"
        )
    return path.suffix == ".safetensors"


def digest_of(state: State, spec: ModelSpec) -> str:
    """Hash of what decides the scores, in 32 hex digits: sorted tensors and requirements.

    Name, provenance and suggestions don't count, nor does the kind of file: a converted file keeps
    its digest.
    """
    total = hashlib.sha256(json.dumps(spec.requirements(), sort_keys=True).encode())
    for name, tensor in sorted(significant(state).items()):
        values = tensor.detach().to("cpu", torch.float32).contiguous()
        total.update(f"{name}{list(values.shape)}".encode())
        total.update(values.numpy().tobytes())
    return total.hexdigest()[:32]


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
        CheckpointRefused: damaged, or cut short.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if not any(tensor.is_complex() for tensor in tensors.values()):
                return {name: tensor.float() for name, tensor in tensors.items()}, metadata
    except (SafetensorError, OSError, ValueError, RuntimeError):
        raise CheckpointRefused(
            f"{path}: damaged, or cut short; copy it again from where it came from"
        ) from None
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
    values = tensor.detach().to("cpu", torch.float32).contiguous()
    half = values.half()
    return half if torch.equal(half.float(), values) else values
