"""The pages of a deployment, asked over HTTP."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse

import pytest
import redis
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from actors import health as health_pages
from actors.health import CLIENTS, Health, _unready, served
from actors.metrics import families
from actors.seen import Answer, Part, Seen, this_process
from actors.snapshot import PartSnapshot, StreamSnapshot
from pipeline.config import HealthConfig
from pipeline.errors import BrokerError, ConfigError
from pipeline.latency import PublishLatency
from pipeline.sink import OutboxState
from pipeline.sink.sender import Delivery
from pipeline.subscribe import GroupState, group_states
from pipeline.tally import Tally
from pipeline.wire import events_key


class Still:
    """A deployment of which nothing moves, and no part is there."""

    restarts = 3

    def __init__(self, *streams: StreamSnapshot) -> None:
        self.streams = list(streams)
        self.looks = 0

    def snapshot(self) -> list[StreamSnapshot]:
        self.looks += 1
        return self.streams

    def parts(self) -> list[PartSnapshot]:
        return []


def gate(name: str = "gate", state: str = "streaming") -> StreamSnapshot:
    tally = Tally(
        pictures=100,
        sampled=60,
        skipped=30,
        dropped=Counter(late=4, corrupt=6),
        corrupt=9,
        points=61,
        windows=10,
        scored=7,
        windows_dropped=Counter(overload=3),
        reconnects=2,
        faults=Counter({"stall": 1, "not found": 1}),
        states=Counter(streaming=3, stalled=2),
        ring_bytes=1234,
    )
    tally.latency.queue.observe(0.02)
    return StreamSnapshot(stream_id=name, kind="live", state=state, since_s=1.5e9, tally=tally)


def outbox(**said: object) -> OutboxState:
    usual: dict[str, object] = {
        "waiting": 5,
        "bytes": 2000,
        "oldest_age_s": 61.5,
        "delivery": Delivery(flow="waiting", reason="refused"),
        "trouble": "",
        "repeats": 1,
        "dropped": {("gate", "full"): 2},
    }
    return OutboxState(**{**usual, **said})  # type: ignore[arg-type]


def parts(state: OutboxState | None = None) -> list[Part]:
    published = PublishLatency()
    published.end_to_end.observe(0.3)
    return [
        Part(name="d/camera-0", role="camera", answer=None),
        Part(
            name="d/recognizer-0",
            role="recognizer",
            answer=Answer(process=this_process(), batch_sizes=Counter({1: 4, 3: 2})),
        ),
        Part(
            name="d/publisher",
            role="publisher",
            answer=Answer(
                process=this_process(),
                outbox=state or outbox(),
                latency={"gate": published, "gone": published},
            ),
        ),
    ]


@contextmanager
def listening(health: Health) -> Iterator[int]:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with served(health, HealthConfig(port=port), said.append) as url:
        assert url == f"http://127.0.0.1:{port}"
        assert said == []
        yield port


def asked(port: int, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def numbers(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of a page, by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def test_it_lives_while_its_loop_turns() -> None:
    clock = [0.0]
    health = Health(alive_s=5, start_s=60, now=lambda: clock[0])
    with listening(health) as port:
        clock[0] = 55
        assert asked(port, "/healthz")[0].status == 200, "it is starting"
        clock[0] = 65
        assert asked(port, "/healthz")[0].status == 503
        health.turn()
        assert asked(port, "/healthz")[0].status == 200
        clock[0] += 5.5
        response, text = asked(port, "/healthz")
        assert (response.status, json.loads(text)) == (503, {"alive": False, "turned_s_ago": 5.5})
        health.turn()
        assert asked(port, "/healthz")[0].status == 200


def test_a_moment_without_threads_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with listening(Health()) as port:
        with monkeypatch.context() as scarce:
            scarce.setattr(threading.Thread, "start", refuse)
            for _ in range(CLIENTS + 1):
                with suppress(ConnectionError, HTTPException):
                    asked(port, "/healthz")
        assert asked(port, "/healthz")[0].status == 200


def test_it_is_not_ready_before_it_has_started() -> None:
    health = Health()
    with listening(health) as port:
        response, text = asked(port, "/readyz")
        assert (response.status, json.loads(text)["reasons"]) == (503, ["it is starting"])
        health.watch(Still(gate(), gate("door", "backoff")))
        response, text = asked(port, "/readyz")
        assert response.status == 200
        assert json.loads(text)["streams"] == {"streaming": 1, "backoff": 1}


def test_what_does_not_answer_is_a_reason_unless_it_is_a_camera() -> None:
    assert list(_unready(parts())) == []
    silent = [Part(name=part.name, role=part.role, answer=None) for part in parts()]
    assert [reason.split()[0] for reason in _unready(silent)] == ["recognizer", "publisher"]


def test_redis_may_be_away_and_the_disk_may_be_full_but_not_both() -> None:
    flowing = Delivery(flow="flowing")
    assert list(_unready(parts(outbox()))) == []
    assert list(_unready(parts(outbox(trouble="disk full", delivery=flowing)))) == []
    (reason,) = _unready(parts(outbox(trouble="disk full")))
    assert "disk full" in reason


def test_a_full_outbox_is_a_reason() -> None:
    (reason,) = _unready(parts(outbox(full=True, waiting=200_000)))
    assert reason.startswith("the outbox is full: 200000 events wait")
    assert "refused" in reason


def test_the_page_says_what_the_tallies_say() -> None:
    health = Health()
    health.watch(Still(gate()))
    with listening(health) as port:
        response, text = asked(port, "/metrics")
        assert response.status == 200
    page = numbers(text)
    of_gate = ("stream", "gate")

    def number(name: str, *labels: tuple[str, str]) -> float:
        return page[f"actionstream_{name}", tuple(sorted((*labels, of_gate)))]

    assert number("pictures_in_total") == 100
    assert number("pictures_total", ("outcome", "sampled"), ("reason", "")) == 60
    assert number("pictures_total", ("outcome", "dropped"), ("reason", "late")) == 4
    assert number("windows_total", ("outcome", "dropped"), ("reason", "overload")) == 3
    assert number("faults_total", ("fault", "not found")) == 1
    assert number("reconnects_total") == 2
    assert number("stalls_total") == 2
    assert number("ring_bytes") == 1234
    assert number("stream_state", ("state", "streaming")) == 1
    assert number("stream_state", ("state", "backoff")) == 0
    assert number("latency_seconds_count", ("stage", "queue")) == 1
    assert number("latency_seconds_bucket", ("stage", "queue"), ("le", "0.01")) == 0
    assert number("latency_seconds_bucket", ("stage", "queue"), ("le", "0.025")) == 1
    assert page["actionstream_restarts_total", ()] == 3


def test_parts_their_batches_and_the_outbox_are_there() -> None:
    seen = Seen(streams=[gate()], parts=parts(), process=this_process())
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families(seen)
        for sample in family.samples
    }
    assert found["actionstream_part_up", "camera", "d/camera-0"] == 0
    assert found["actionstream_part_up", "d/publisher", "publisher"] == 1
    assert found["actionstream_process_resident_bytes", "supervisor", "supervisor"] > 1e6
    assert found["actionstream_batch_windows_count", "d/recognizer-0"] == 6
    assert found["actionstream_batch_windows_sum", "d/recognizer-0"] == 10
    assert found["actionstream_batch_windows_bucket", "2.0", "d/recognizer-0"] == 4
    assert found["actionstream_outbox_events",] == 5
    assert found["actionstream_outbox_oldest_age_seconds",] == 61.5
    assert found["actionstream_outbox_flow", "waiting"] == 1
    assert found["actionstream_outbox_dropped_total", "full", "gate"] == 2
    assert found["actionstream_latency_seconds_count", "end_to_end", "gate"] == 1
    assert ("actionstream_latency_seconds_count", "end_to_end", "gone") not in found


def test_who_reads_the_events_is_there() -> None:
    alarms = GroupState(name="alarms", consumers=2, pending=3, lag=40, lost=1)
    health = Health()
    health.watch(Still(gate()), lambda: [alarms])
    with listening(health) as port:
        found = numbers(asked(port, "/metrics")[1])
    label = (("group", "alarms"),)
    assert found["actionstream_group_consumers", label] == 2
    assert found["actionstream_group_pending_events", label] == 3
    assert found["actionstream_group_lag_events", label] == 40
    assert found["actionstream_group_lost_events", label] == 1


def test_a_group_whose_name_is_no_text_is_there_too(redis_client: redis.Redis) -> None:
    redis_client.xgroup_create(events_key(), b"al\xffarms", mkstream=True)
    health = Health()
    health.watch(Still(gate()), lambda: group_states(redis_client))
    status, _, page = health.metrics("")
    assert status == 200
    assert numbers(page.decode())["actionstream_group_lag_events", (("group", r"al\xffarms"),)] == 0


def test_a_redis_that_is_away_costs_the_groups_alone() -> None:
    def away() -> list[GroupState]:
        raise BrokerError("connection refused")

    health = Health()
    health.watch(Still(gate()), away)
    status, _, page = health.metrics("")
    assert status == 200
    assert b"actionstream_stream_state" in page


def test_a_client_may_have_openmetrics_and_names_that_need_quotes() -> None:
    health = Health()
    odd = 'a "b"\\c\nd'
    health.watch(Still(gate(odd)))
    with listening(health) as port:
        response, text = asked(port, "/metrics", Accept="application/openmetrics-text")
    assert "openmetrics" in (response.getheader("Content-Type") or "")
    names = {s.labels.get("stream") for f in parse_openmetrics(text) for s in f.samples}
    assert odd in names


def test_scrapes_within_a_second_share_one_look() -> None:
    clock = [0.0]
    still, health = Still(gate()), Health(now=lambda: clock[0])
    health.watch(still)
    for clock[0] in (0.0, 0.5, 0.9, 1.5):
        health.metrics("")
    assert still.looks == 2


def test_other_paths_and_methods_are_refused_in_words() -> None:
    with listening(Health()) as port:
        response, text = asked(port, "/")
        assert (response.status, json.loads(text)["pages"][0]) == (404, "/healthz")
        assert asked(port, "/healthz", "POST")[0].status == 501
        response, text = asked(port, "/healthz", "HEAD")
        assert (response.status, text) == (200, "")


def test_a_page_that_fails_says_so_and_the_server_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Still):
        def snapshot(self) -> list[StreamSnapshot]:
            raise RuntimeError("rtsp://user:secret@host/")

    health = Health()
    health.watch(Broken())
    with listening(health) as port:
        response, text = asked(port, "/metrics")
        assert (response.status, json.loads(text)) == (500, {"error": "RuntimeError"})
        assert asked(port, "/healthz")[0].status == 200
    assert "/metrics: RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_clients_that_say_nothing_do_not_pile_up_and_keep_nobody_out() -> None:
    with listening(Health()) as port, ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=8))
            for _ in range(2 * CLIENTS)
        ]
        assert asked(port, "/healthz")[0].status == 200
        assert all(client.recv(1) == b"" for client in silent[:CLIENTS]), "the first had to go"


def test_a_client_that_drips_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_pages, "CLIENT_S", 0.5)
    with (
        listening(Health()) as port,
        socket.create_connection(("127.0.0.1", port), timeout=0.1) as slow,
    ):
        began_s = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - began_s < 20:
                slow.send(b"G")
                with suppress(TimeoutError):
                    assert slow.recv(1000) == b""
                    break
        assert time.monotonic() - began_s < 10
        assert asked(port, "/healthz")[0].status == 200


def test_a_client_that_wants_no_format_of_ours_gets_text() -> None:
    with listening(Health()) as port:
        odd = "application/openmetrics-text; version=abc"
        response, _ = asked(port, "/metrics", Accept=odd)
        assert response.status == 200


def test_a_port_that_is_taken_is_one_line_and_the_run_goes_on() -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = HealthConfig(port=taken.getsockname()[1])
        with served(Health(), config, said.append) as url:
            assert url == ""
    assert len(said) == 1
    assert "is taken" in said[0]


@pytest.mark.parametrize("port", [0, None])
def test_no_port_is_no_server(port: int | None) -> None:
    with served(Health(), HealthConfig(port=port), pytest.fail) as url:
        assert url == ""


def test_an_address_of_another_machine_is_a_config_error() -> None:
    config = HealthConfig(host="192.0.2.1", port=9464)
    with pytest.raises(ConfigError, match="an address of this"), served(Health(), config, print):
        pass


def test_another_host_than_loopback_is_said() -> None:
    said: list[str] = []
    with socket.create_server(("0.0.0.0", 0)) as free:
        port = free.getsockname()[1]
    with served(Health(), HealthConfig(host="0.0.0.0", port=port), said.append):
        assert asked(port, "/healthz")[0].status == 200
    assert len(said) == 1
    assert "names of streams" in said[0]
