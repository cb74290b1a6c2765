"""States of streams that stay known, however many lines of others follow them."""

import threading
from collections.abc import Callable
from contextlib import closing

import pytest
import redis

from pipeline import wire
from pipeline.sink import StatusPost
from pipeline.subscribe import latest_status

WaitUntil = Callable[..., None]


class Clock:
    """Unix seconds that go on by a thousandth with each look."""

    def __init__(self) -> None:
        self.s = 1_000_000.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            self.s += 0.001
            return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_quiet_camera_is_shown_though_another_fills_the_stream(
    redis_client: redis.Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr("pipeline.sink.redis_streams.STATUS_MAXLEN", 200)
    monkeypatch.setattr("pipeline.sink.status_post.AGAIN_AFTER", 100)
    with closing(StatusPost(redis_client, now=clock)) as post:
        post.write_status("quiet", "streaming")
        post.write_status("gone", "streaming")
        began_s = clock.s
        post.write_status("gone", "detached")
        for turn in range(450):
            post.write_status("noisy", "connecting")
            post.write_status("noisy", "backoff", f"refused {turn}")
        wait_until(lambda: "refused 449" in str(latest_status(redis_client)), "all came")
    assert redis_client.xlen(wire.status_key()) < 450, "it is trimmed"
    latest = latest_status(redis_client)
    assert sorted(latest) == ["noisy", "quiet"]
    assert latest["quiet"].state == "streaming"
    assert latest["quiet"].at < began_s, "since then"


def test_a_redis_that_came_back_empty_is_told_within_the_hour(
    redis_client: redis.Redis, clock: Clock, wait_until: WaitUntil
) -> None:
    with closing(StatusPost(redis_client, now=clock)) as post:
        post.write_status("quiet", "streaming")
        wait_until(lambda: latest_status(redis_client), "it is there")
        redis_client.flushall()
        clock.s += 3000
        assert latest_status(redis_client) == {}
        clock.s += 601
        wait_until(lambda: latest_status(redis_client), "it is said again")
    assert latest_status(redis_client)["quiet"].at < 1_000_001


def test_what_is_older_than_what_is_known_is_passed_over(
    redis_client: redis.Redis, clock: Clock
) -> None:
    with closing(StatusPost(redis_client, now=clock)) as post:
        post.write_status("gate", "backoff", since_s=500.0)
        post.write_status("gate", "streaming", since_s=600.0)
        post.write_status("gate", "backoff", since_s=500.0)
    line = latest_status(redis_client)["gate"]
    assert (line.state, line.at) == ("streaming", 600.0)
