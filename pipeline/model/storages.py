"""Memory for the numbers in a checkpoint: never more than the file holds, and never read past.

Which numbers they are is filled in when the pickle that names them has been read.
"""

from typing import BinaryIO

import torch
from torch import Tensor

DIMENSIONS = 64  # what PyTorch computes with, at most


class Storage:
    """One row of numbers, of which tensors show parts."""

    def __init__(self, bytes_B: Tensor, dtype: torch.dtype) -> None:
        self._bytes_B = bytes_B
        self._numbers = bytes_B.view(dtype)

    def __len__(self) -> int:
        return len(self._numbers)

    def seen_as(self, dtype: torch.dtype) -> "Storage":
        """The same bytes as numbers of another type."""
        return Storage(self._bytes_B, dtype)

    def part(self, start: int, count: int) -> "Storage":
        """Numbers from one on."""
        if not 0 <= start <= start + count <= len(self):
            raise ValueError(f"{start=} {count=} of {len(self)}")
        size = self._numbers.element_size()
        return Storage(self._bytes_B[start * size : (start + count) * size], self._numbers.dtype)

    def tensor(self, start: object, shape: object, strides: object) -> Tensor:
        """A view. Checked here: ``Tensor.set_`` makes the storage longer if a view wants it."""
        shape, strides = _whole(shape), _whole(strides)
        (start,) = _whole((start,))
        last = start + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if 0 not in shape and last >= len(self):
            raise ValueError(f"{start=} {shape=} {strides=} of {len(self)}")
        if 0 in shape:
            return self._numbers.new_empty(shape)
        return self._numbers.as_strided(shape, strides, start + self._numbers.storage_offset())


class Storages:
    """All rows of numbers of one file, by the keys that its pickle gives them."""

    def __init__(self, size: int) -> None:
        """``size``: of the file, in bytes; together they are no larger."""
        self._left = size
        self._bytes: dict[str, Tensor] = {}
        self._types: dict[str, torch.dtype] = {}

    def storage(
        self, dtype: object, key: object, _device: object, count: object, view: object = None
    ) -> Storage:
        """What a pickle calls by these words; always the same one for a key.

        Raises:
            TypeError, ValueError: no such words, or more numbers than the file has room for.
        """
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise TypeError
        (count,) = _whole((count,))
        if key not in self._bytes:
            self._left -= count * dtype.itemsize
            if self._left < 0:
                raise EOFError
            self._bytes[key] = torch.empty(count * dtype.itemsize, dtype=torch.uint8)
            self._types[key] = dtype
        whole = Storage(self._bytes[key], dtype)
        if view is None:
            return whole
        if not isinstance(view, tuple):
            raise TypeError
        _, start, count = view
        return whole.part(*_whole((start, count)))

    def keys(self) -> list[str]:
        """Those asked for so far."""
        return list(self._bytes)

    def count(self, key: str) -> int:
        """How many numbers."""
        return len(self._bytes[key]) // self._types[key].itemsize

    def size(self, key: str) -> int:
        """In bytes."""
        return len(self._bytes[key])

    def fill(self, key: str, file: BinaryIO, *, swap: bool = False) -> None:
        """Read it from where the file is; ``swap`` if its numbers are big-endian.

        Raises:
            EOFError: the file ends before.
        """
        into = self._bytes[key]
        if file.readinto(into.numpy()) < len(into):  # type: ignore[attr-defined]
            raise EOFError
        if swap:
            into.untyped_storage().byteswap(self._types[key])  # type: ignore[no-untyped-call]


def _whole(numbers: object) -> tuple[int, ...]:
    """A few numbers, none below zero."""
    if not isinstance(numbers, tuple) or len(numbers) > DIMENSIONS:
        raise TypeError
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError
    return numbers
