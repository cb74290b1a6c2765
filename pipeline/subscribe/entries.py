"""Redis's replies about streams, in types of our own."""

from dataclasses import dataclass

FIRST = "0-0"
"""Before every entry: where a reading starts, and where XAUTOCLAIM's cursor ends."""
LARGEST = 2**64 - 1  # either half of an id


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a stream as it was delivered."""

    id: str
    fields: dict[str, str]
    """Empty where the entry was trimmed away while it was pending."""
    deliveries: int = 1


def from_stream(reply: object) -> list[Entry]:
    """The entries of ``[[id, {field: value}], …]``, as redis-py gives XRANGE."""
    if not isinstance(reply, list):
        return []
    return [
        Entry(id=str(entry_id), fields=dict(fields or {}))
        for entry_id, fields in reply
        if entry_id is not None
    ]


def from_streams(reply: object) -> list[Entry]:
    """The entries of ``[[key, entries]]``, as redis-py gives XREAD of one stream; [] for none."""
    if not isinstance(reply, list) or not reply:
        return []
    _, entries = reply[0]
    return from_stream(entries)


def just_after(entry_id: str) -> str | None:
    """The least id above, None above the last: 7-1 -> 7-2."""
    time_ms, _, number = entry_id.partition("-")
    if int(number) < LARGEST:
        return f"{time_ms}-{int(number) + 1}"
    return f"{int(time_ms) + 1}-0" if int(time_ms) < LARGEST else None


def just_before(entry_id: str) -> str:
    """The greatest id below: reading "after" it starts with ``entry_id``. 7-2 -> 7-1."""
    time_ms, _, number = entry_id.partition("-")
    if int(number) > 0:
        return f"{time_ms}-{int(number) - 1}"
    return f"{int(time_ms) - 1}-{LARGEST}" if int(time_ms) > 0 else FIRST
