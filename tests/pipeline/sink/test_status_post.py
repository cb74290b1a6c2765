"""States of streams that stay known, however many lines of others follow them."""

import threading
from collections.abc import Callable
from contextlib import closing

import pytest
import redis

from pipeline import wire
from pipeline.sink import StatusPost
from pipeline.subscribe import gone_silent, latest_status
from tests.redis_server import RedisServer

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


def test_states_are_believed_while_who_told_them_lives(
    redis_client: redis.Redis, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sink.status_post.BEAT_S", 0.1)
    monkeypatch.setattr("pipeline.sink.status_post.ALIVE_S", 3.0)

    def silent() -> frozenset[str]:
        return gone_silent(redis_client, latest_status(redis_client).values())

    with closing(StatusPost(redis_client)) as alive:
        alive.write_status("gate", "streaming")
        with closing(StatusPost(redis_client)) as post:
            post.write_status("hall", "streaming")
            post.write_status("yard", "streaming")
            post.write_status("file", "ended")
            wait_until(lambda: len(latest_status(redis_client)) == 4, "all came")
            for key in redis_client.scan_iter("actionstream:alive:*"):
                redis_client.pexpire(key, 300)
            wait_until(lambda: redis_client.pttl(key) > 1000, "each says it again")
            assert silent() == frozenset()
        wait_until(lambda: silent() == {"hall", "yard"}, "the one that is gone is missed")
        redis_client.flushall()
        wait_until(lambda: redis_client.keys("actionstream:alive:*"), "an empty Redis is told")


def test_states_go_on_for_a_user_who_may_not_say_that_he_lives(
    server: RedisServer, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    rights = ("~actionstream:status", "-@all", "+set", "+xadd", "+xrevrange", "+exists")
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "old", "on", ">pw", *rights)
    login = {"username": "old", "password": "pw", "decode_responses": True}
    with redis.Redis(port=server.port, **login) as client:  # type: ignore[call-overload]
        with closing(StatusPost(client)) as post:
            post.write_status("gate", "connecting")
            post.write_status("gate", "streaming")
            wait_until(lambda: "streaming" in str(latest_status(client)), "both came")
        assert gone_silent(client, latest_status(client).values()) == frozenset()
    assert caplog.text.count("states will be shown as not of now") == 1
    assert "lacks the rights" in caplog.text


def test_a_state_that_names_nobody_is_believed_and_a_foreign_name_is_none(
    redis_client: redis.Redis,
) -> None:
    for stream, by in (("old", None), ("odd", "x" * 1000), ("other", "../events")):
        fields = wire.to_status_fields(
            wire.StatusLine(stream_id=stream, state="streaming", detail="", at=1.0)
        )
        redis_client.xadd(wire.status_key(), fields | {"by": by} if by else fields)  # type: ignore[arg-type]
    lines = latest_status(redis_client)
    assert [line.by for line in lines.values()] == ["", "", ""]
    assert gone_silent(redis_client, lines.values()) == frozenset()
