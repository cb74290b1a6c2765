"""The zip archives that ``torch.save`` writes: files that lie in it as they are, side by side.

This is the only reader of their directory, so no second one can see other files in it. Checksums
aren't looked at: ``torch.save`` may be told to leave them out.
"""

import io
import struct
import zipfile
from typing import BinaryIO

DIRECTORY_BYTES = 16 << 20  # 15 times as much in memory; of 20,000 tensors it takes 2
HEADER_BYTES = 30  # before a file's name
HEADER = b"PK\x03\x04"


class Packed(ValueError):
    """Files in it are compressed, so that how large they are is anyone's guess."""


class Program(ValueError):
    """It is TorchScript: a program, not tensors."""


class Archive:
    """Where the files in an open archive begin, and how large they are."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        """``size``: of the archive, in bytes.

        Raises:
            Packed, Program: see there.
            BadZipFile, LookupError, ValueError: damaged.
        """
        self._file, self._size = file, size
        with zipfile.ZipFile(_Bounded(file)) as archive:
            members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise Packed
        self._folder = members[0].filename.split("/")[0]  # torch.save names it
        self._members = {member.filename: member for member in members}
        if f"{self._folder}/constants.pkl" in self._members:
            raise Program

    def __contains__(self, name: str) -> bool:
        return f"{self._folder}/{name}" in self._members

    def seek(self, name: str) -> int:
        """Go to where a file begins; its size in bytes.

        Raises:
            EOFError: it would end behind the archive.
            LookupError: there is no such file.
        """
        member = self._members[f"{self._folder}/{name}"]
        self._file.seek(max(member.header_offset, 0))
        header = self._file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES or not header.startswith(HEADER):
            raise EOFError
        start = self._file.seek(sum(struct.unpack("<HH", header[26:])), 1)
        if start + member.file_size > self._size:
            raise EOFError
        return member.file_size


class _Bounded(io.RawIOBase):
    """A file of which ``zipfile`` doesn't read a directory of any size into memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY_BYTES:
            raise zipfile.BadZipFile
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
