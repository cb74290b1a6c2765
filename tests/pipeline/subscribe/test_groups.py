"""How far consumer groups have come, also where Redis doesn't know."""

from collections.abc import Callable

import pytest
import redis

from pipeline.broker import private_client
from pipeline.errors import BrokerError
from pipeline.records import ActionEvent
from pipeline.sink import RedisSink
from pipeline.subscribe import GroupState, group_states
from pipeline.subscribe.groups import COUNTED, PAGE
from tests.redis_server import RedisServer

MakeEvent = Callable[..., ActionEvent]
KEY = "actionstream:events"


def read(client: redis.Redis, group: str, count: int) -> None:
    client.xreadgroup(group, "one", {KEY: ">"}, count=count)


def test_lag_and_pending_of_each_group(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    assert group_states(redis_client) == []
    RedisSink(redis_client).write([make_event(seq) for seq in range(10)])
    assert group_states(redis_client) == []
    for name in ("yard", "alarms"):
        redis_client.xgroup_create(KEY, name, id="0")
    read(redis_client, "alarms", 3)
    assert group_states(redis_client) == [
        GroupState(name="alarms", consumers=1, pending=3, lag=7),
        GroupState(name="yard", consumers=0, pending=0, lag=10),
    ]


def test_a_group_that_was_set_to_the_last_id_there_can_be_has_no_lag(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    RedisSink(redis_client).write([make_event(0)])
    redis_client.xgroup_create(KEY, "alarms", id=f"{2**64 - 1}-{2**64 - 1}")
    assert [(state.name, state.lag) for state in group_states(redis_client)] == [("alarms", 0)]


@pytest.mark.parametrize(("written", "at_least"), [(10, False), (COUNTED + 10, True)])
def test_a_lag_that_redis_lost_is_counted(
    redis_client: redis.Redis, make_event: MakeEvent, written: int, at_least: bool
) -> None:
    """Somebody deleted an entry that the group had not read."""
    RedisSink(redis_client).write([make_event(seq) for seq in range(written)])
    redis_client.xgroup_create(KEY, "alarms", id="0")
    read(redis_client, "alarms", 3)
    redis_client.xdel(KEY, redis_client.xrange(KEY)[6][0])
    assert redis_client.xinfo_groups(KEY)[0]["lag"] is None
    redis_client.config_resetstat()
    (group,) = group_states(redis_client)
    pages = redis_client.info("commandstats")["cmdstat_xrange"]["calls"]
    assert pages == (COUNTED // PAGE + 1 if at_least else 1)
    assert (group.lag, group.at_least) == (COUNTED if at_least else 6, at_least)


def test_a_trimmed_stream_leaves_what_is_in_it(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    RedisSink(redis_client).write([make_event(seq) for seq in range(10)])
    redis_client.xgroup_create(KEY, "alarms", id="0")
    read(redis_client, "alarms", 3)
    redis_client.xtrim(KEY, maxlen=4, approximate=False)
    (group,) = group_states(redis_client)
    assert (group.pending, group.lag, group.lost) == (3, 4, 3)
    read(redis_client, "alarms", 4)
    (group,) = group_states(redis_client)
    assert (group.pending, group.lag, group.lost) == (7, 0, 0)


def test_what_is_no_stream_is_said(redis_client: redis.Redis) -> None:
    redis_client.set(KEY, "text")
    with pytest.raises(BrokerError, match="holds something else"):
        group_states(redis_client)


def test_a_frozen_redis_holds_up_nobody_for_long() -> None:
    with (
        RedisServer() as server,
        server.client() as client,
        private_client(client, timeout_s=0.2) as asking,
    ):
        assert group_states(asking) == []
        server.freeze()
        try:
            with pytest.raises(BrokerError, match="doesn't answer in time"):
                group_states(asking)
        finally:
            server.thaw()
