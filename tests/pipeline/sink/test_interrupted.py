"""A file that was stopped is analysed again: what the stream holds then is true, once, in order."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.records import ActionEvent, EventType, Flag
from pipeline.sink import EventStream
from pipeline.sink.event_stream import REMEMBER_CUT_S, REMEMBER_S
from pipeline.subscribe import Subscriber, follow

MakeEvent = Callable[..., ActionEvent]
KEY = "actionstream:events"
LINES = 5  # of the whole event: a start, three updates, an end


def whole(make_event: MakeEvent) -> list[ActionEvent]:
    """All that a file says of one event; each line tells which it is by its score."""
    kinds = (EventType.START, *[EventType.UPDATE] * (LINES - 2), EventType.END)
    return [
        make_event(seq, type=kind, source_kind="file", score=float(seq))
        for seq, kind in enumerate(kinds)
    ]


def stopped(lines: Sequence[ActionEvent], count: int) -> list[ActionEvent]:
    """The same file, stopped after so many lines of it."""
    if not 0 < count < len(lines):
        return list(lines[:count])
    cut = replace(lines[count], type=EventType.END, score=0.0, flags=(Flag.INTERRUPTED,))
    return [*lines[:count], cut]


def stored(client: redis.Redis) -> list[ActionEvent]:
    return [wire.from_fields(fields) for _, fields in client.xrange(KEY)]


def true(events: Sequence[ActionEvent]) -> list[tuple[str, float]]:
    """Less what a stop made up."""
    return [(event.type, event.score) for event in events if Flag.INTERRUPTED not in event.flags]


def test_what_follows_an_interrupted_end_goes_on_counting(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    lines = whole(make_event)
    stream = EventStream(redis_client)
    assert stream.store(stopped(lines, 2)) == 3
    assert stream.store(lines) == 3
    assert stream.store(lines) == 0
    found = stored(redis_client)
    assert [event.seq for event in found] == list(range(LINES + 1))
    assert found[2].flags == (Flag.INTERRUPTED,)
    assert found[-1].type is EventType.END
    assert true(found) == true(lines)


@pytest.mark.parametrize("count", range(1, LINES))
def test_an_answer_that_was_lost_repeats_nothing(
    redis_client: redis.Redis, make_event: MakeEvent, count: int
) -> None:
    """Each batch is sent again, also the one that holds a run that was stopped and the next."""
    lines = whole(make_event)
    stream = EventStream(redis_client)
    for batch in (stopped(lines, count), [*stopped(lines, count), *lines], lines):
        stream.store(batch)
        assert stream.store(batch) == 0
    assert [event.seq for event in stored(redis_client)] == list(range(LINES + 1))


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    stops=st.lists(st.tuples(st.integers(0, LINES), st.booleans()), max_size=6),
    again=st.booleans(),
)
def test_however_often_it_is_stopped_or_killed_the_last_run_makes_it_whole(
    redis_client: redis.Redis,
    make_event: MakeEvent,
    stops: list[tuple[int, bool]],
    again: bool,
) -> None:
    redis_client.flushall()
    lines = whole(make_event)
    stream = EventStream(redis_client)
    for count, killed in stops:
        stream.store(lines[:count] if killed else stopped(lines, count))
    stream.store(lines)
    if again:
        assert stream.store(lines) == 0
        assert all(stream.store(stopped(lines, n)) == 0 for n in range(1, LINES))
    found = stored(redis_client)
    assert [event.seq for event in found] == list(range(len(found)))
    assert true(found) == true(lines)
    assert found[-1].flags == ()


def test_a_subscriber_is_given_the_true_end_and_so_is_who_follows(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    lines = whole(make_event)
    stream = EventStream(redis_client)
    with Subscriber(redis_client, group="alarms", start="0") as reader:
        events = iter(reader)
        stream.store(stopped(lines, 4))
        ends = [next(events) for _ in range(5)][-1:]
        stream.store(lines)
        ends.append(next(events))
        reader.stop()
    assert [(end.type, end.seq, end.flags) for end in ends] == [
        ("end", 4, (Flag.INTERRUPTED,)),
        ("end", 5, ()),
    ]
    last = list(follow(redis_client, start="0", until_caught_up=True))[-1]
    assert (last.seq, last.score) == (5, 4.0)


def test_a_stream_that_was_deleted_is_filled_with_the_whole(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    lines = whole(make_event)
    stream = EventStream(redis_client)
    stream.store(stopped(lines, 3))
    redis_client.delete(KEY)
    assert stream.store(lines) == LINES
    assert [event.seq for event in stored(redis_client)] == list(range(LINES))


def test_an_interrupted_event_is_remembered_for_a_month(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    lines = whole(make_event)
    EventStream(redis_client).store(stopped(lines, 3))
    EventStream(redis_client).store([replace(line, event_id="e1") for line in lines])
    kept_s = [redis_client.ttl(wire.last_key(name)) for name in ("e0", "e1")]
    assert kept_s == pytest.approx([REMEMBER_CUT_S, REMEMBER_S], abs=60)


def test_what_an_older_version_noted_is_understood(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    lines = whole(make_event)
    stream = EventStream(redis_client)
    stream.store(lines[:3])
    entry_id = redis_client.xrevrange(KEY, count=1)[0][0]
    redis_client.set(wire.last_key("e0"), f"2 {entry_id}")
    assert stream.store(lines) == 2
