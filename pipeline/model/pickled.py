"""Pickled checkpoints, read without running what they contain.

In: a file that ``torch.save`` wrote, in its zip format or the one before. Out: named tensors. It
takes no more memory than the file has bytes, and a hundred bytes for each step of its pickle.
"""

import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from pipeline.errors import CheckpointRefused
from pipeline.model.allowed import STORED, Unknown
from pipeline.model.archive import HEADER, Archive, Packed, Program
from pipeline.model.storages import Storages
from pipeline.model.unpickle import Foreign, TooLarge, Uncheckable, Unpickler
from pipeline.printable import printable

MAGIC = 0x1950A86A20F9469CFC6C  # begins the format before zip
VERSION = 1001  # of that format, the only one

REAL = {dtype for dtype in STORED.values() if not dtype.is_complex} | {
    *(torch.uint16, torch.uint32, torch.uint64),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
}
"""Numbers that become float32; torch has others, as ``bits8``, that it can't convert."""

DAMAGED = (
    ArithmeticError,  # numbers that no tensor's shape has
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    EOFError,
    OSError,
    struct.error,
    zipfile.BadZipFile,
)
"""What the readers raise for files cut short, or made up."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a pickled checkpoint, ``module.`` taken off its names.

    Raises:
        CheckpointRefused: no checkpoint, a damaged one, or one that wants to run code.
    """
    loaded = read_pickled(path)
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
            f"{path}: holds both {printable(twice)} and module.{printable(twice)}, so which one "
            "counts can't be told"
        )
    return bare


def read_pickled(path: Path) -> object:
    """What ``torch.save`` was given: dicts, lists, numbers, text, tensors; others are ``INERT``.

    Raises:
        CheckpointRefused: none of its files, a damaged one, or one that wants to run code.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(HEADER))
            file.seek(0)
            read = _read_archive if head == HEADER else _read_row
            return read(file, _file_size(path))
    except Unknown as error:
        raise CheckpointRefused(
            f"{path}: wants to run code when it is loaded{_shown(str(error))}; refused. Ask its "
            "author for a file that holds tensors only"
        ) from None
    except (Foreign, Uncheckable, Packed, Program, TooLarge) as error:
        raise CheckpointRefused(f"{path}: {WHY[type(error)]}") from None
    except DAMAGED:
        raise CheckpointRefused(
            f"{path}: damaged, or cut short; copy it again from where it came from"
        ) from None


WHY: dict[type[Exception], str] = {
    Foreign: "damaged, or not a checkpoint at all",
    Uncheckable: (
        "a pickle in which code can't be told from data before it runs; refused. "
        "Save it again with the default protocol of torch.save"
    ),
    Packed: (
        "its parts are compressed, so they may be much larger than they look, and torch.save "
        "compresses nothing; refused. Unpack it, and pack it again with: zip -0 -r"
    ),
    Program: "TorchScript, which is a program; save the state_dict() of its module instead",
    TooLarge: (
        "would take much more memory or time than a checkpoint of its size; refused. Ask its "
        "author for a file that holds the state dict only"
    ),
}


def _read_archive(file: BinaryIO, size: int) -> object:
    archive, storages = Archive(file, size), Storages(size)
    swap = False
    if "byteorder" in archive:
        archive.seek("byteorder")
        swap = file.read(3) == b"big"
    archive.seek("data.pkl")
    value = Unpickler(file, size, storages).load()
    for key in storages.keys():  # noqa: SIM118
        if archive.seek(f"data/{key}") != storages.size(key):
            raise EOFError
        storages.fill(key, file, swap=swap)
    return value


def _read_row(file: BinaryIO, size: int) -> object:
    """Five pickles in a row, and the numbers in the order of the last one's keys."""
    storages = Storages(size)
    pickles = Unpickler(file, size, storages)
    if pickles.load() != MAGIC or pickles.load() != VERSION:
        raise ValueError
    pickles.load()  # about the machine
    value, keys = pickles.load(), pickles.load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise TypeError
    if set(keys) != set(storages.keys()):
        raise LookupError
    for key in keys:
        if int.from_bytes(file.read(8), "little") != storages.count(key):
            raise ValueError
        storages.fill(key, file)
    return value


def _shown(name: str) -> str:
    """In brackets, unless it could steer a terminal."""
    return f" ({name})" if name.replace(".", "_").isidentifier() and name.isascii() else ""


def _file_size(path: Path) -> int:
    """In bytes."""
    return path.stat().st_size


def _is_plain(value: object) -> bool:
    """A tensor of real numbers that holds all its values itself: no view that is larger."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.dtype in REAL
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
