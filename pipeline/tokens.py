"""Is a piece of text a token: made up by a machine, so that nobody can guess it?

Some cameras and recorders have no login but such a path. It can only be told by its looks: a
machine's letters and digits change their kind (lower, upper, digit) far more often than words do.
"""

import re
from itertools import pairwise
from urllib.parse import unquote

MIN_LENGTH = 12  # 60 bits or more; what is shorter can be guessed
MIN_DIGITS = 16  # fewer are a time of day: 20261129120000
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RUN = re.compile(r"[A-Za-z0-9]+")


def plain(text: str) -> str:
    """Without %-encoding, however often it was applied."""
    while (decoded := unquote(text)) != text:
        text = decoded
    return text


def holds_token(text: str) -> bool:
    """Is there one in it? %-encoding has to be gone: see ``plain``."""
    return bool(_UUID.search(text)) or any(map(_is_token, _RUN.findall(text)))


def _is_token(run: str) -> bool:
    if run.isdigit():
        return len(run) >= MIN_DIGITS
    if len(run) < MIN_LENGTH or not re.search("[0-9]", run):
        return False  # videoStreamOfTheEntrance
    return 4 * sum(_kind(a) != _kind(b) for a, b in pairwise(run)) > len(run)


def _kind(character: str) -> int:
    return character.isdigit() + 2 * character.isupper()
