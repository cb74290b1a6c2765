"""Which events have been here lately, in bounded memory."""

from collections import OrderedDict

from pipeline.printable import printable
from pipeline.records import ActionEvent


def identity(event: ActionEvent) -> str:
    """What a repeat shares with the original: ``event_id:seq``.

    Printable: JSON may hold half a character (U+D800), which a Redis client can't send.
    """
    return f"{printable(event.event_id)}:{event.seq}"


class Recent:
    """The last ``size`` identities; about 150 bytes each."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._seen

    def add(self, name: str) -> None:
        """Remember it; the one longest not seen is forgotten."""
        self._seen[name] = None
        self._seen.move_to_end(name)
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)
