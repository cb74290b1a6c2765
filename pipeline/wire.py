"""What sink and subscriber agree on: keys, field names, the version of the schema.

A stored entry has plain fields that a consumer can filter on, and ``data``, a JSON object that
holds the rest. Readers ignore fields they don't know; taking one away raises the version.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pipeline.records import ActionEvent, Clock, EventType, Flag

SCHEMA_VERSION = 1
DEFAULT_PREFIX = "actionstream"

_PLAIN = ("event_id", "seq", "type", "stream_id", "label")
_REST = tuple(field.name for field in fields(ActionEvent) if field.name not in _PLAIN)


def events_key(prefix: str = DEFAULT_PREFIX) -> str:
    """The stream of action events."""
    return f"{prefix}:events"


def status_key(prefix: str = DEFAULT_PREFIX) -> str:
    """The stream of what sources did: connected, ended, failed."""
    return f"{prefix}:status"


def dead_key(prefix: str = DEFAULT_PREFIX) -> str:
    """The stream of entries that a consumer gave up on."""
    return f"{prefix}:dead"


def to_record(event: ActionEvent) -> dict[str, object]:
    """One flat JSON object per event, for JSON lines and for people."""
    flat: dict[str, object] = {"schema_version": SCHEMA_VERSION}
    flat.update({name: getattr(event, name) for name in _PLAIN + _REST})
    flat["flags"] = list(event.flags)
    return flat


def to_fields(event: ActionEvent) -> dict[str, str]:
    """The fields of a Redis entry."""
    flat = to_record(event)
    stored = {"schema_version": str(SCHEMA_VERSION)}
    stored.update({name: str(flat[name]) for name in _PLAIN})
    stored["data"] = json.dumps({name: flat[name] for name in _REST}, separators=(",", ":"))
    return stored


def from_record(flat: Mapping[str, Any]) -> ActionEvent:
    """The event in a flat JSON object.

    Raises:
        ValueError: a field is missing or of the wrong kind, or the schema is newer.
    """
    version = int(flat.get("schema_version", 0))
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"schema_version is {version}, this reader knows {SCHEMA_VERSION}; update actionstream"
        )
    try:
        known = {name: flat[name] for name in _PLAIN + _REST}
    except KeyError as missing:
        raise ValueError(f"the entry has no field {missing}") from None
    known["seq"] = int(known["seq"])
    known["type"] = EventType(known["type"])
    known["clock"] = Clock(known["clock"])
    known["flags"] = tuple(Flag(flag) for flag in known["flags"])
    return ActionEvent(**known)


def from_fields(stored: Mapping[str, str]) -> ActionEvent:
    """The event in a Redis entry.

    Raises:
        ValueError: not an entry of this schema.
    """
    try:
        rest = json.loads(stored["data"])
    except KeyError:
        raise ValueError("the entry has no field 'data'") from None
    if not isinstance(rest, dict):
        raise ValueError("the entry's 'data' is not a JSON object")
    return from_record({**rest, **{k: v for k, v in stored.items() if k != "data"}})
