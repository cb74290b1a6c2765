"""The list of a group's consumers doesn't grow with each process that is killed."""

from collections.abc import Callable, Iterator

import pytest
import redis

from pipeline import wire
from pipeline.broker import private_client
from pipeline.records import ActionEvent
from pipeline.sink import RedisSink
from pipeline.subscribe.consumers import make_up_name
from pipeline.subscribe.group import Group

MakeEvent = Callable[..., ActionEvent]
KEY = "actionstream:events"


@pytest.fixture
def group(redis_client: redis.Redis) -> Iterator[Group]:
    with private_client(redis_client) as own:
        made = Group(client=own, prefix=wire.DEFAULT_PREFIX, name="alarms", consumer="one")
        made.create("0")
        yield made


def listed(client: redis.Redis) -> set[str]:
    return {consumer["name"] for consumer in client.xinfo_consumers(KEY, "alarms")}


def test_a_made_up_name_leaves_when_it_was_silent_for_long_and_holds_nothing(
    redis_client: redis.Redis,
    group: Group,
    make_event: MakeEvent,
    wait_until: Callable[..., None],
) -> None:
    RedisSink(redis_client).write([make_event(0)])
    gone, holds = make_up_name(), make_up_name()
    redis_client.xreadgroup("alarms", holds, {KEY: ">"})
    for name in (gone, "bell", "bell-1-beef"):
        redis_client.xgroup_createconsumer(KEY, "alarms", name)
    group.forget_gone(60)
    assert listed(redis_client) == {gone, holds, "bell", "bell-1-beef"}

    def is_forgotten() -> bool:
        group.forget_gone(0.05)
        return gone not in listed(redis_client)

    wait_until(is_forgotten, "the name to leave")
    assert listed(redis_client) == {holds, "bell", "bell-1-beef"}
    assert redis_client.xpending(KEY, "alarms")["pending"] == 1
