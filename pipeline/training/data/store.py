"""Decoded clips in one file, mapped into memory: decoded once, read as slices ever after.

    pixels of one clip after another  |  index, JSON  |  its length, its checksum, digest, magic

It is written under another name and renamed when it is whole. The digest tells which clips, files
and sizes it was made of; every clip has a checksum. A file that fails any of these is no store,
and whoever wanted one makes it anew.
"""

import json
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.training.data.examples import Broken

try:
    import fcntl
except ImportError:  # not on this system: two runs at once would both make the store
    fcntl = None  # type: ignore[assignment]

MAGIC = b"ASCLIPS1"
TAIL = struct.Struct("<QI32s8s")
Found = tuple[int, NDArray[np.uint8] | Broken]
"""An example's index, and its pictures [F, H, W, 3] or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class _Entry:
    index: int
    offset: int
    shape: tuple[int, int, int, int]
    checksum: int


class ClipStore:
    """A store that was found whole."""

    def __init__(self, path: Path, entries: list[_Entry], broken: tuple[Broken, ...]) -> None:
        self.path = path
        self.broken = broken
        self.indices = tuple(entry.index for entry in entries)
        """The examples that it holds."""
        self._entries = {entry.index: entry for entry in entries}
        self._pixels: NDArray[np.uint8] = np.memmap(path, np.uint8, mode="r")

    def clip(self, index: int) -> NDArray[np.uint8]:
        """All pictures that are kept of an example, [F, H, W, 3], without a copy."""
        entry = self._entries[index]
        end = entry.offset + math.prod(entry.shape)
        return self._pixels[entry.offset : end].reshape(entry.shape)

    def is_whole(self) -> bool:
        """Does every clip have its checksum? 3 GB/s and core, where the file is in memory."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return all(pool.map(self._is_intact, self._entries.values()))

    def _is_intact(self, entry: _Entry) -> bool:
        return zlib.crc32(self.clip(entry.index).data) == entry.checksum


def open_store(path: Path, digest: str) -> ClipStore | None:
    """The store in a file, or None where there is none, a damaged one, or another one."""
    try:
        with path.open("rb") as file:
            entries, broken = _read_index(file, digest)
        store = ClipStore(path, entries, broken)
        return store if store.is_whole() else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_store(path: Path, digest: str, clips: Iterable[Found]) -> None:
    """Write whole or not at all.

    Raises:
        DataError: there is no room, or the file can't be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            _write(file, digest, clips)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"{path}: can't write the cache of decoded clips: {error.strerror}; give data.cache "
            "a folder with more room, or leave it out"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Waits until no other process makes this store; the lock goes with the process that has it.

    Raises:
        DataError: the folder can't be made or written to.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("wb")
    except OSError as error:
        raise DataError(
            f"data.cache {path.parent}: can't be written to: {error.strerror}"
        ) from None
    with file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(file: BinaryIO, digest: str, clips: Iterable[Found]) -> None:
    entries: list[list[int]] = []
    broken: list[list[str]] = []
    for index, clip in clips:
        if isinstance(clip, Broken):
            broken.append([clip.key, clip.reason])
            continue
        pixels = np.ascontiguousarray(clip)
        entries.append([index, *pixels.shape, zlib.crc32(pixels.data)])
        file.write(pixels.data)
    text = json.dumps({"clips": entries, "broken": broken}).encode()
    file.write(text)
    file.write(TAIL.pack(len(text), zlib.crc32(text), digest.encode(), MAGIC))


def _read_index(file: BinaryIO, digest: str) -> tuple[list[_Entry], tuple[Broken, ...]]:
    """Raises ValueError where it isn't what its tail says, or isn't the one wanted."""
    size = file.seek(0, os.SEEK_END)
    tail_at = max(0, size - TAIL.size)
    file.seek(tail_at)
    try:
        length, checksum, found, magic = TAIL.unpack(file.read())
    except struct.error as error:
        raise ValueError(str(error)) from None
    if magic != MAGIC or found != digest.encode() or length > tail_at:
        raise ValueError("not the store that is wanted")
    file.seek(tail_at - length)
    text = file.read(length)
    if zlib.crc32(text) != checksum:
        raise ValueError("its index is damaged")
    document = json.loads(text)
    entries, offset = [], 0
    for index, frames, height, width, colours, crc in document["clips"]:
        shape = (frames, height, width, colours)
        entries.append(_Entry(index, offset, shape, crc))
        offset += math.prod(shape)
    if offset != tail_at - length:
        raise ValueError("its pixels are cut short")
    return entries, tuple(Broken(key=key, reason=reason) for key, reason in document["broken"])
