"""What sink and subscriber agree on: keys, field names, the version of the schema.

A stored entry has plain fields that a consumer can filter on, and ``data``, a JSON object that
holds the rest. Readers ignore fields they don't know; taking one away, or giving a word (a type,
a clock, a flag) to a field that has a closed list of them, raises the version.

Whoever can write to the stream can write anything, so reading checks every field: an entry is an
event of this schema, or one ``ValueError`` that names the field.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Literal, TypeVar

from pipeline.records import ActionEvent, Clock, EventType, Flag, SourceKind

SCHEMA_VERSION = 1
DEFAULT_PREFIX = "actionstream"
DETACHED = "detached"
GONE = frozenset({"ended", DETACHED})
"""States of streams that nobody asks for any more."""

_PLAIN = ("event_id", "seq", "type", "stream_id", "label")
_UNSTORED = ("arrived_s", "held_pts_s")
_REST = tuple(field.name for field in fields(ActionEvent) if field.name not in _PLAIN + _UNSTORED)
_DEAD = ("id", "group", "consumer", "deliveries", "reason", "at")
_BY = re.compile("[0-9a-f]{1,32}")
_SOURCE_KINDS: dict[object, SourceKind] = {"live": "live", "file": "file"}

Word = TypeVar("Word", bound=StrEnum)


def events_key(prefix: str = DEFAULT_PREFIX) -> str:
    """The stream of action events."""
    return f"{prefix}:events"


def last_key(event_id: str, prefix: str = DEFAULT_PREFIX) -> str:
    """What was stored last of an event; on a Redis cluster it lies where the stream does."""
    return f"{{{events_key(prefix)}}}:last:{event_id}"


def status_key(prefix: str = DEFAULT_PREFIX) -> str:
    """The stream of what sources did: connected, ended, failed."""
    return f"{prefix}:status"


def alive_key(by: str, prefix: str = DEFAULT_PREFIX) -> str:
    """There while whoever tells of states under this name lives and reaches Redis."""
    return f"{prefix}:alive:{by}"


def dead_key(prefix: str = DEFAULT_PREFIX) -> str:
    """The stream of entries that a consumer gave up on."""
    return f"{prefix}:dead"


def seen_key(group: str, prefix: str = DEFAULT_PREFIX) -> str:
    """The sorted set of what a consumer group has handled lately, to recognise repeats."""
    return f"{prefix}:seen:{group}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLine:
    """A change of state of one stream, as in ``status_key``."""

    stream_id: str
    state: str
    detail: str
    at: float
    """Unix seconds."""
    by: str = ""
    """Who tells it, as in ``alive_key``; empty for who can't be asked."""


def to_record(event: ActionEvent) -> dict[str, object]:
    """One flat JSON object per event, for JSON lines and for people."""
    flat: dict[str, object] = {"schema_version": SCHEMA_VERSION}
    flat.update({name: getattr(event, name) for name in _PLAIN + _REST})
    flat["flags"] = list(event.flags)
    return flat


def to_json(event: ActionEvent) -> str:
    """The same, as one line of text without the line's end."""
    return json.dumps(to_record(event), separators=(",", ":"), allow_nan=False)


def to_fields(event: ActionEvent) -> dict[str, str]:
    """The fields of a Redis entry."""
    flat = to_record(event)
    stored = {"schema_version": str(SCHEMA_VERSION)}
    stored.update({name: str(flat[name]) for name in _PLAIN})
    rest = {name: flat[name] for name in _REST}
    stored["data"] = json.dumps(rest, separators=(",", ":"), allow_nan=False)
    return stored


def from_fields(stored: Mapping[str, str]) -> ActionEvent:
    """The event in a Redis entry.

    Raises:
        ValueError: not an entry of this schema.
    """
    if "data" not in stored:
        raise ValueError("the entry has no field 'data'")
    flat: dict[str, object] = _json_object(stored["data"], "the entry's 'data'")
    flat.update({name: text for name, text in stored.items() if name != "data"})
    for name in ("schema_version", "seq"):
        if name in stored:
            flat[name] = _parse_whole(name, stored[name])
    return from_record(flat)


def from_json(line: str) -> ActionEvent:
    """The event in a line that ``to_json`` wrote.

    Raises:
        ValueError: not JSON, or not an event of this schema.
    """
    return from_record(_json_object(line, "the line"))


def from_record(flat: Mapping[str, object]) -> ActionEvent:
    """The event in a flat JSON object.

    Raises:
        ValueError: a field is missing or of the wrong kind, or the schema is another.
    """
    version = _whole(flat, "schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"schema_version is {version}, this reader knows {SCHEMA_VERSION}; update actionstream"
        )
    return ActionEvent(
        event_id=_text(flat, "event_id"),
        seq=_whole(flat, "seq"),
        type=_word(EventType, "type", _field(flat, "type")),
        stream_id=_text(flat, "stream_id"),
        label=_text(flat, "label"),
        source_kind=_source_kind(flat),
        session_id=_text(flat, "session_id"),
        label_id=_whole(flat, "label_id"),
        score=_number(flat, "score"),
        peak_score=_number(flat, "peak_score"),
        mean_score=_number(flat, "mean_score"),
        start_pts_s=_number(flat, "start_pts_s"),
        end_pts_s=_number_or_none(flat, "end_pts_s"),
        start_time=_number_or_none(flat, "start_time"),
        end_time=_number_or_none(flat, "end_time"),
        clock=_word(Clock, "clock", _field(flat, "clock")),
        first_window=_whole(flat, "first_window"),
        last_window=_whole(flat, "last_window"),
        model_name=_text(flat, "model_name"),
        model_digest=_text(flat, "model_digest"),
        flags=_flags(flat),
        published_at=_number_or_none(flat, "published_at"),
        latency_ms=_number_or_none(flat, "latency_ms"),
    )


def to_status_fields(line: StatusLine) -> dict[str, str]:
    """The fields of a Redis entry, all plain."""
    stored = {
        "schema_version": str(SCHEMA_VERSION),
        "stream_id": line.stream_id,
        "state": line.state,
        "detail": line.detail,
        "at": repr(line.at),
    }
    return stored | {"by": line.by} if line.by else stored


def from_status_fields(stored: Mapping[str, str]) -> StatusLine:
    """The change of state in a Redis entry.

    Raises:
        ValueError: not an entry of this schema.
    """
    try:
        at = float(_text(stored, "at"))
    except ValueError:
        raise ValueError("the entry's field 'at' is missing or no number") from None
    return StatusLine(
        stream_id=_text(stored, "stream_id"),
        state=_text(stored, "state"),
        detail=_text(stored, "detail"),
        at=at,
        by=by if _BY.fullmatch(by := stored.get("by", "")) else "",
    )


def to_dead_fields(
    original: Mapping[str, str],
    *,
    entry_id: str,
    group: str,
    consumer: str,
    deliveries: int,
    reason: str,
    at: float,
) -> dict[str, str]:
    """A dead letter: the entry's own fields as they were, and why nobody could use it."""
    return {
        **original,
        "dead_id": entry_id,
        "dead_group": group,
        "dead_consumer": consumer,
        "dead_deliveries": str(deliveries),
        "dead_reason": reason,
        "dead_at": repr(at),
    }


def from_dead_fields(stored: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Why nobody could use it (``group``, ``reason`` …), and the entry's own fields."""
    names = {f"dead_{name}": name for name in _DEAD}
    about = {names[name]: text for name, text in stored.items() if name in names}
    original = {name: text for name, text in stored.items() if name not in names}
    return about, original


def _json_object(text: str, what: str) -> dict[str, object]:
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # RecursionError: '[[[[…', deeper than Python's stack
        raise ValueError(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not a JSON object")
    return value


def _refuse_constant(name: str) -> Literal[0]:
    raise ValueError(f"{name} is not JSON")


def _parse_whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # fits 63 bits
        raise _wrong(name, "a whole number", text)
    return int(text)


def _field(flat: Mapping[str, object], name: str) -> object:
    try:
        return flat[name]
    except KeyError:
        raise ValueError(f"the entry has no field {name!r}") from None


def _text(flat: Mapping[str, object], name: str) -> str:
    value = _field(flat, name)
    if not isinstance(value, str):
        raise _wrong(name, "text", value)
    return value


def _whole(flat: Mapping[str, object], name: str) -> int:
    value = _field(flat, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _wrong(name, "a whole number", value)
    return value


def _number(flat: Mapping[str, object], name: str) -> float:
    value = _field(flat, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise _wrong(name, "a number", value)


def _number_or_none(flat: Mapping[str, object], name: str) -> float | None:
    return None if _field(flat, name) is None else _number(flat, name)


def _word(words: type[Word], name: str, value: object) -> Word:
    for word in words:
        if word == value:
            return word
    raise _wrong(name, "one of " + ", ".join(words), value)


def _source_kind(flat: Mapping[str, object]) -> SourceKind:
    value = _text(flat, "source_kind")
    if value not in _SOURCE_KINDS:
        raise _wrong("source_kind", "one of live, file", value)
    return _SOURCE_KINDS[value]


def _flags(flat: Mapping[str, object]) -> tuple[Flag, ...]:
    value = _field(flat, "flags")
    if not isinstance(value, list):
        raise _wrong("flags", "a list", value)
    return tuple(_word(Flag, "flags", flag) for flag in value)


def _wrong(name: str, wanted: str, value: object) -> ValueError:
    return ValueError(f"the entry's field {name!r} is not {wanted}: {repr(value)[:60]}")
