"""A bundle: one safetensors file with everything that belongs to the weights.

Its header carries the spec (architecture, labels, preprocessing, suggestions, provenance) and the
digest of the model, which is checked when it is read. Nothing here imports torch, which takes a
second or two and 250 MiB: whoever only has to know what a model is, does without.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from pipeline.errors import CheckpointRefused, ModelError
from pipeline.spec import ModelSpec

DEFAULT = "default"
DEFAULT_PATH = Path(__file__).with_name("model") / "default.safetensors"
HEADER = "actionstream"
DIGEST = "actionstream_digest"
MAX_HEADER = 32 << 20  # bytes: a million labels; 50-f8x2 has 44 kB
MAX_TENSORS = 20_000  # even one without an element takes time and memory

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a model is, without its weights."""

    spec: ModelSpec
    digest: str
    """Hash of what decides the scores; see ``digest_of``."""


def named(path: str | Path) -> Path:
    """A path; ``default`` is the one that comes along."""
    return DEFAULT_PATH if str(path) == DEFAULT else Path(path)


def check_file(path: Path) -> None:
    """No pipe, which would block, and no device, which may never end, or would be replaced.

    Raises:
        ModelError: it is one, a URL, which may hold a password, or can't be looked up.
    """
    if re.match("[A-Za-z]+:/", str(path)):
        raise ModelError("a model is a file, and this is a URL; download it, and give the file")
    try:
        odd = path.exists() and not (path.is_file() or path.is_dir())
    except OSError as error:
        raise ModelError(f"{path}: can't be looked up: {error.strerror}") from None
    if odd:
        raise ModelError(f"{path}: a pipe or a device; give a file")


def is_safetensors(path: Path) -> bool:
    """Whether it begins as such a file does: with the length of its JSON header.

    Raises:
        CheckpointRefused: an empty file, a web page, or a header that can't be one.
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
        if (length := int.from_bytes(head[:8], "little")) > MAX_HEADER:
            raise CheckpointRefused(
                f"{path}: damaged: its header would have {length} bytes, and {MAX_HEADER} is the "
                "most; copy it again from where it came from"
            )
        return True
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        raise CheckpointRefused(
            f"{path}: a web page, not a checkpoint; download the file itself, not its page"
        )
    return path.suffix == ".safetensors"


def significant(state: Mapping[str, T]) -> dict[str, T]:
    """Named tensors without batch norm's counters, which decide nothing in evaluation."""
    return {k: v for k, v in state.items() if not k.endswith(".num_batches_tracked")}


def digest_of(arrays: Mapping[str, NDArray[np.float32]], spec: ModelSpec) -> str:
    """Hash of what decides the scores, in 32 hex digits: sorted tensors and requirements.

    Name, provenance and suggestions don't count, nor does the kind of file: a converted file keeps
    its digest.
    """
    total = hashlib.sha256(json.dumps(spec.requirements(), sort_keys=True).encode())
    for name, array in sorted(significant(arrays).items()):
        total.update(f"{name}{list(array.shape)}".encode())
        total.update(array.tobytes())
    return total.hexdigest()[:32]


def card_of(path: Path) -> Card | None:
    """The card of a bundle that holds what its digest says; None: the file must be loaded for it.

    Raises: as ``is_safetensors`` does.
    """
    if not is_safetensors(path):
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            if len(file.keys()) > MAX_TENSORS:
                return None
            metadata: dict[str, str] = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        spec = ModelSpec.model_validate_json(metadata[HEADER])
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if not all(_is_weight(name, array) for name, array in arrays.items()):
        return None
    digest = digest_of({name: array.astype(np.float32) for name, array in arrays.items()}, spec)
    return Card(spec=spec, digest=digest) if digest == metadata.get(DIGEST) else None


def _is_weight(name: str, array: NDArray[np.floating]) -> bool:
    """As bundles are written, and fit to compute with."""
    if array.dtype not in (np.float16, np.float32) or not np.isfinite(array).all():
        return False
    return not (name.endswith(".running_var") and (array < 0).any())
