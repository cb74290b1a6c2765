"""How far the consumer groups have come.

Redis doesn't know the lag of a group once entries were deleted or trimmed in the part that the
group has not read, and before 7.0 of none: then what is left is counted, as far as ``COUNTED``.
Where only the oldest were trimmed, it still counts them: they are told apart as ``lost``.
Cost: one XINFO, and an XLEN or up to eleven XRANGE for each group.
"""

from dataclasses import dataclass, replace

import redis
from redis.exceptions import RedisError, ResponseError

from pipeline import wire
from pipeline.broker import place
from pipeline.errors import BrokerError
from pipeline.subscribe.advice import explained
from pipeline.subscribe.entries import from_stream, just_after

COUNTED = 1000  # entries
PAGE = 100  # of them at a time, about 60 kB; those of others may be of any size


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """A consumer group."""

    name: str
    consumers: int
    pending: int
    """Given to a consumer and not acknowledged."""
    lag: int
    """In the stream, and not given to anybody yet."""
    lost: int = 0
    """Trimmed away before anybody was given them, as long as the group has read nothing after."""
    at_least: bool = False
    """The lag was counted, and there are more."""


def group_states(client: redis.Redis, prefix: str = wire.DEFAULT_PREFIX) -> list[GroupState]:
    """Those of ``<prefix>:events``, by name.

    Raises:
        BrokerError: Redis is away or refuses.
    """
    key = wire.events_key(prefix)
    try:
        states = [_state(client, key, group) for group in client.xinfo_groups(key)]
    except RedisError as error:
        if isinstance(error, ResponseError) and "no such key" in str(error):
            return []  # no event yet
        raise BrokerError(f"{place(client)}, stream {key!r}: {explained(error)}") from None
    return sorted(states, key=lambda state: state.name)


def _state(client: redis.Redis, key: str, group: dict[str, object]) -> GroupState:
    state = GroupState(
        name=str(group["name"]),
        consumers=int(str(group["consumers"])),
        pending=int(str(group["pending"])),
        lag=0,
    )
    if group.get("lag") is None:
        after = just_after(str(group["last-delivered-id"]))
        if after is None:
            return state
        left = _counted(client, key, after)
        return replace(state, lag=min(left, COUNTED), at_least=left > COUNTED)
    unread, kept = int(str(group["lag"])), int(str(client.xlen(key)))
    return replace(state, lag=min(unread, kept), lost=max(0, unread - kept))


def _counted(client: redis.Redis, key: str, first: str | None) -> int:
    """How many entries there are from one on; stops above ``COUNTED``."""
    count = 0
    while first is not None and count <= COUNTED:
        page = from_stream(client.xrange(key, min=first, count=PAGE))
        count += len(page)
        first = just_after(page[-1].id) if len(page) == PAGE else None
    return count
