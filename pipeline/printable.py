"""Text from outside, as any terminal and any Redis takes it."""

import re
from pathlib import Path

_USER = re.compile(r"\b([a-z][a-z0-9+.-]*:/{1,2}).*(?<![:/]\*\*\*)@(?=[\w\[])", re.IGNORECASE)

KNOWN_SCHEMES = frozenset(
    "concat crypto data file ftp ftps hls http https mms pipe redis rediss rtmp rtmps rtp rtsp "
    "rtsps sftp smb srt subfile tcp tls udp unix valkey valkeys ws wss".split()
)
"""Of addresses: what else stands before a colon may be a password that slipped."""


def printable(text: Path | str) -> str:
    """With what is no text, ends a line or steers a terminal escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def without_passwords(text: str) -> str:
    """Without what stands before an ``@`` in addresses, unless it is masked already.

    Also in one that was taken for a path, where ``//`` has become ``/``.
    """
    return _USER.sub(r"\1***@", text)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no text (PEP 383)
        return f"\\x{ord(character) - 0xDC00:x}"
    return character.encode("unicode_escape").decode()
