"""Pickled checkpoints, read without running what they contain.

In: a file that ``torch.save`` wrote, in its zip format or the one before. Out: named tensors. Only
what is on a short list is ever built; anything else that a pickle asks for ends the reading.
"""

import argparse
import pickle
import re
import struct
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import CheckpointRefused

Rebuild = Callable[..., object]


def _numpy_rebuilders() -> list[tuple[Rebuild, str]]:
    """What numpy pickles scalars and arrays by, under its names before and since version 2."""
    found = [cast("Rebuild", value.__reduce__()[0]) for value in (np.float32(0), np.zeros(0))]
    return [
        (rebuild, f"numpy.{core}.multiarray.{rebuild.__name__}")
        for rebuild in found
        for core in ("core", "_core")
    ]


HARMLESS: list[Rebuild | tuple[Rebuild, str]] = [
    argparse.Namespace,
    Counter,
    OrderedDict,
    np.dtype,
    np.ndarray,
    np.float32,
    np.float64,
    *_numpy_rebuilders(),
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")),
]
"""What training scripts put beside the weights, and can't do anything when it is loaded."""

NOT_WHOLE = (zipfile.BadZipFile, struct.error)  # raised inside by files cut short
ZIP = b"PK\x03\x04"
UNCHECKABLE = (b"\x80\x04", b"\x80\x05")  # pickle protocols that torch's safe reader doesn't know


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a pickled checkpoint, ``module.`` taken off its names.

    Raises:
        CheckpointRefused: no checkpoint, a damaged one, or one that wants to run code.
    """
    _check_sizes(path)
    loaded = _load(path)
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not state:
        raise CheckpointRefused(f"{path}: holds no state dict (parameter names and tensors)")
    if not all(isinstance(k, str) and _is_plain(v) for k, v in state.items()):
        raise CheckpointRefused(f"{path}: its state dict holds other things than named tensors")
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > _file_size(path):
        raise CheckpointRefused(f"{path}: its tensors share memory, and apart they would be larger")
    bare = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if len(bare) < len(state):
        twice = next(name for name in state if f"module.{name}" in state)
        raise CheckpointRefused(
            f"{path}: holds both {twice} and module.{twice}, so which one counts can't be told"
        )
    return bare


def _check_sizes(path: Path) -> None:
    """Nothing in it becomes much larger than the file: ``torch.save`` compresses nothing."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        fills = data.find(b"\nbytearray\n") >= 0  # torch lets a pickle ask for any number of bytes
        if data[: len(ZIP)] != ZIP or fills:
            parts = 0
        else:
            try:
                with zipfile.ZipFile(file) as archive:
                    parts = sum(member.file_size for member in archive.infolist())
            except (OSError, ValueError, LookupError, RuntimeError, *NOT_WHOLE):
                raise _damaged(path) from None
    if fills or parts > _file_size(path):
        raise CheckpointRefused(
            f"{path}: unpacked, it would be larger than it is, as no checkpoint that torch.save "
            "wrote; refused"
        )


def _file_size(path: Path) -> int:
    """In bytes."""
    return path.stat().st_size


def _load(path: Path) -> object:
    try:
        with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual protocols, which are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, *NOT_WHOLE):
        raise _damaged(path) from None
    except Exception as error:  # noqa: BLE001 - a hostile pickle may raise anything
        raise CheckpointRefused(
            f"{path}: not a checkpoint that can be read ({type(error).__name__})"
        ) from None


def _damaged(path: Path) -> CheckpointRefused:
    return CheckpointRefused(
        f"{path}: damaged, or cut short; copy it again from where it came from"
    )


def _is_plain(value: object) -> bool:
    """A tensor of real numbers that holds all its values itself: no view that is larger."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_complex() or value.is_quantized or value.is_meta)
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def _refusal(path: Path, text: str) -> CheckpointRefused:
    if "Unsupported operand" in text:
        with path.open("rb") as file:
            head = file.read(4)
        if head != ZIP and head[:2] not in UNCHECKABLE:
            return CheckpointRefused(f"{path}: damaged, or not a checkpoint at all")
        return CheckpointRefused(
            f"{path}: a pickle in which code can't be told from data before it runs; refused. "
            "Save it again with the default protocol of torch.save"
        )
    wanted = re.search(r"(?:GLOBAL |class |function )([\w.]+)", text)
    if "nsupported" in text or wanted:
        what = f" ({wanted[1]})" if wanted else ""
        return CheckpointRefused(
            f"{path}: wants to run code when it is loaded{what}; refused. Ask its author for a "
            "file that holds tensors only"
        )
    return CheckpointRefused(f"{path}: damaged, or not a checkpoint at all")
