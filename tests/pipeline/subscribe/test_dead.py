"""Dead letters are looked at, and put back for the group that gave them up."""

from collections.abc import Callable

import pytest
import redis

from pipeline import wire
from pipeline.records import ActionEvent
from pipeline.sink import RedisSink
from pipeline.subscribe import DeadLetters, Rules, Subscriber
from pipeline.subscribe.dead import PAGE

MakeEvent = Callable[..., ActionEvent]
KEY = "actionstream:events"
RULES = Rules(block_s=0.02, sweep_s=0.05, max_deliveries=2)


def give_up(client: redis.Redis, group: str, seq: int, last: int) -> list[int]:
    """A member that can't handle one event, until ``last`` is handled and that one is given up."""
    handled: list[int] = []
    reader = Subscriber(client, group=group, start="0", rules=RULES)

    def handle(event: ActionEvent) -> None:
        if reader.counts["dead"] and last in handled:
            reader.stop()
        if event.seq == seq:
            if reader.counts["failed"]:
                reader.stop()  # this refusal is its second
            raise RuntimeError("no such bell")
        handled.append(event.seq)

    with reader:
        reader.run(handle)
    return handled


def take(client: redis.Redis, group: str, count: int) -> list[int]:
    got = []
    with Subscriber(client, group=group, start="0", rules=RULES) as reader:
        for event in reader:
            got.append(event.seq)
            if len(got) == count:
                reader.stop()
    return got


def test_what_is_put_back_comes_again_to_the_group_that_gave_it_up(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    RedisSink(redis_client).write([make_event(seq) for seq in range(4)])
    assert take(redis_client, "others", 4) == [0, 1, 2, 3]
    assert give_up(redis_client, "alarms", 1, 3) == [0, 2, 3]
    letters = DeadLetters(redis_client)
    (letter,) = letters
    assert (letter.group, letter.deliveries) == ("alarms", 2)
    assert letter.reason == "RuntimeError: no such bell"
    assert wire.from_fields(letter.original).seq == 1
    letters.put_back(letter)
    assert list(letters) == []
    RedisSink(redis_client).write([make_event(4)])
    assert take(redis_client, "alarms", 2) == [1, 4]
    assert take(redis_client, "others", 1) == [4]


def test_there_may_be_many_and_some_that_others_wrote(redis_client: redis.Redis) -> None:
    key = wire.dead_key()
    for number in range(PAGE + 1):
        redis_client.xadd(key, {"dead_reason": f"{number}", "dead_deliveries": "many"})
    letters = list(DeadLetters(redis_client))
    assert [int(letter.reason) for letter in letters] == list(range(PAGE + 1))
    assert letters[0].original == {}
    assert letters[0].deliveries == 0
    with pytest.raises(ValueError, match="holds no event"):
        DeadLetters(redis_client).put_back(letters[0])
    assert redis_client.xlen(key) == PAGE + 1


@pytest.mark.parametrize("count", ["9" * 5000, "-1", "٣", ""])
def test_a_count_that_is_none_is_0(redis_client: redis.Redis, count: str) -> None:
    redis_client.xadd(wire.dead_key(), {"dead_deliveries": count})
    assert [letter.deliveries for letter in DeadLetters(redis_client)] == [0]


def test_the_last_ids_there_can_be_are_read_to_their_end(redis_client: redis.Redis) -> None:
    last = 2**64 - 1
    for entry_id in (f"{last - 1}-{last}", f"{last}-0", f"{last}-{last}"):
        redis_client.xadd(wire.dead_key(), {"dead_reason": "x"}, id=entry_id)
    assert [letter.id for letter in DeadLetters(redis_client)][-1] == f"{last}-{last}"
