"""A Redis as a careful operator gives it: users with few rights, and TLS."""

import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from pipeline import wire
from pipeline.broker import connect, open_broker
from pipeline.config import RedisConfig
from pipeline.errors import BrokerError
from pipeline.records import ActionEvent
from pipeline.sink import StatusPost, open_outbox
from pipeline.subscribe import (
    DeadLetters,
    Rules,
    Subscriber,
    follow,
    gone_silent,
    group_states,
    latest_status,
    subscriber,
)
from pipeline.subscribe.consumers import make_up_name

MakeEvent = Callable[..., ActionEvent]
StartRedis = Callable[..., int]
DOCUMENTED = Path(__file__).parents[3] / "docs" / "redis.md"
QUICK = Rules(block_s=0.02, sweep_s=0.05, claim_idle_s=0.2, max_deliveries=2)


@pytest.fixture
def port(start_redis: StartRedis) -> int:
    """Of a server with the users that the guide tells to make."""
    port = start_redis()
    with connect(RedisConfig(url=SecretStr(f"redis://127.0.0.1:{port}"))) as admin:
        lines = re.findall(r"^ACL SETUSER .*$", DOCUMENTED.read_text(), re.MULTILINE)
        assert len(lines) == 2
        for line in lines:
            assert admin.execute_command(*line.split()) == "OK"
    return port


def config_of(user: str, port: int, folder: Path) -> RedisConfig:
    """All that the rights depend on stands in the address."""
    url = SecretStr(f"redis://{user}:PASSWORD@127.0.0.1:{port}/1?client_name={user}")
    return RedisConfig(url=url, state_dir=folder)


def test_the_documented_rights_are_enough(
    port: int,
    tmp_path: Path,
    make_event: MakeEvent,
    wait_until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriber, "GONE_S", 0.0)
    publisher = config_of("publisher", port, tmp_path)
    with open_broker(publisher) as broker, open_outbox(publisher, broker) as outbox:
        post = StatusPost(broker.client)
        post.write_status("door", "streaming")
        for seq in range(3):
            outbox.write([make_event(seq)])
        assert outbox.flush(20) == 0
        outbox.write([make_event(2)])
        assert outbox.flush(20) == 0
        assert outbox.state.repeats == 1
        post.close()
    with redis.Redis(port=port, db=1) as admin:
        admin.xgroup_create(wire.events_key(), "alarms", id="0")
        admin.xgroup_createconsumer(wire.events_key(), "alarms", make_up_name())
    consumer = config_of("consumer", port, tmp_path)
    with open_broker(consumer) as broker:
        assert len(list(follow(broker.client, start="0", until_caught_up=True))) == 3
        assert latest_status(broker.client)["door"].state == "streaming"
        assert gone_silent(broker.client, latest_status(broker.client).values()) == frozenset()
        reader = Subscriber(broker.client, group="alarms", start="0", rules=QUICK)

        def refuse_one(event: ActionEvent) -> None:
            if event.seq == 1:
                raise RuntimeError("the bell is broken")

        worker = threading.Thread(target=reader.run, args=[refuse_one])
        worker.start()
        wait_until(lambda: broker.client.xlen(wire.dead_key()) == 1, "the dead letter")
        reader.stop()
        worker.join()
        reader.close()
        assert (reader.counts["handled"], reader.counts["failed"]) == (2, 2)
        (letter,) = DeadLetters(broker.client)
        assert letter.reason == "RuntimeError: the bell is broken"
    for config in (publisher, consumer):
        with open_broker(config) as broker:
            (group,) = group_states(broker.client)
            assert (group.name, group.lag) == ("alarms", 0)
            assert group.consumers == 0


@pytest.mark.parametrize("user", ["publisher", "consumer"])
def test_they_are_not_more_than_that(port: int, tmp_path: Path, user: str) -> None:
    with open_broker(config_of(user, port, tmp_path)) as broker:
        for command in (
            ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("DEL", "actionstream:events"),
            ("XTRIM", "actionstream:events", "MAXLEN", "0"), ("XADD", "other", "*", "a", "b"),
            ("GET", "other"), ("ACL", "LIST"), ("SHUTDOWN",), ("SCRIPT", "FLUSH"),
        ):  # fmt: skip
            with pytest.raises(Exception, match=r"(?i)permission"):
                broker.client.execute_command(*command)


def test_a_password_file_is_read_again_at_each_connection(
    port: int,
    tmp_path: Path,
    make_event: MakeEvent,
    wait_until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Changed at the server first, as one does; then in the file."""
    file = tmp_path / "password"
    file.write_text("PASSWORD\n")
    file.chmod(0o600)
    url = SecretStr(f"redis://publisher@127.0.0.1:{port}")
    config = RedisConfig(url=url, password_file=file, state_dir=tmp_path / "state")
    with (
        redis.Redis(port=port, decode_responses=True) as admin,
        open_broker(config) as broker,
        open_outbox(config, broker) as outbox,
    ):
        outbox.write([make_event(0)])
        assert outbox.flush(20) == 0
        admin.execute_command("ACL", "SETUSER", "publisher", "resetpass", ">changed")
        admin.execute_command("CLIENT", "KILL", "USER", "publisher")
        outbox.write([make_event(1)])
        wait_until(lambda: outbox.state.delivery.flow == "refused", "the old one to be refused")
        file.chmod(0o640)  # and first by mistake for others to read
        outbox.flush(1)
        wait_until(lambda: "others can read" in outbox.state.delivery.reason, "it to be said")
        file.write_text("changed\n")
        file.chmod(0o600)
        assert outbox.flush(20) == 0
        assert broker.client.ping()
        assert admin.xlen(wire.events_key()) == 2
    assert "changed" not in caplog.text
    assert "PASSWORD" not in caplog.text


@pytest.fixture
def tls_port(start_redis: StartRedis, certificate: Path) -> Iterator[int]:
    """Of a server behind TLS, which the bundled one doesn't speak itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    target = start_redis()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_terminate, args=(listener, context, target))
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _terminate(listener: socket.socket, context: ssl.SSLContext, target: int) -> None:
    workers = []
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            workers.append(threading.Thread(target=_relay, args=(near, context, target)))
            workers[-1].start()
    for worker in workers:
        worker.join()


def _relay(near: socket.socket, context: ssl.SSLContext, target: int) -> None:
    with (
        near,
        suppress(OSError),
        context.wrap_socket(near, server_side=True) as secure,
        socket.create_connection(("127.0.0.1", target)) as far,
    ):
        while True:
            ready, _, _ = select.select([secure, far], [], [], 20)
            for source, sink in ((secure, far), (far, secure)):
                if source not in ready:
                    continue
                piece = source.recv(65_536)
                while secure.pending() and source is secure:
                    piece += source.recv(65_536)
                if not piece:
                    return
                sink.sendall(piece)


def test_events_go_through_tls(tls_port: int, tmp_path: Path, make_event: MakeEvent) -> None:
    url = f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={tmp_path}/certificate.pem"
    config = RedisConfig(url=SecretStr(url), state_dir=tmp_path / "state")
    with open_broker(config) as broker, open_outbox(config, broker) as outbox:
        outbox.write([make_event(seq) for seq in range(600)])
        assert outbox.flush(20) == 0
        assert broker.client.xlen(wire.events_key()) == 600


def test_a_certificate_that_nobody_vouches_for_is_refused(tls_port: int) -> None:
    with pytest.raises(BrokerError, match="certificate is not trusted"):
        connect(RedisConfig(url=SecretStr(f"rediss://127.0.0.1:{tls_port}")))
