import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from redis.exceptions import RedisError

from pipeline.broker import EmbeddedServer, connect, explain, open_broker, private_client
from pipeline.config import RedisConfig
from pipeline.errors import BrokerError, ConfigError

StartRedis = Callable[..., int]


def refusal(url: str, **said: str) -> str:
    with pytest.raises((BrokerError, ConfigError)) as caught:
        connect(RedisConfig.model_validate({"url": url, **said}))
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_a_redis_is_reached_by_tcp_and_by_socket(
    redis_server: EmbeddedServer, start_redis: StartRedis
) -> None:
    for url in (f"redis://127.0.0.1:{start_redis()}/0", redis_server.url):
        with connect(RedisConfig(url=SecretStr(url))) as client:
            assert client.ping()


def test_a_refused_connection_asks_whether_it_runs(closed_port: int) -> None:
    assert "connection refused" in refusal(f"redis://:s3cret@127.0.0.1:{closed_port}/0")


def test_an_unknown_host_is_named() -> None:
    assert "no such host" in refusal("redis://:s3cret@nowhere.invalid/0")


def test_a_missing_socket_is_said(tmp_path: Path) -> None:
    assert "no such socket" in refusal(f"unix://{tmp_path}/redis.sock")


def test_the_password_is_taken_from_url_environment_and_file(
    start_redis: StartRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = start_redis("--requirepass", "s3cret")
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    monkeypatch.setenv("RIGHT", "s3cret")
    bare = SecretStr(f"redis://127.0.0.1:{port}")
    for config in (
        RedisConfig(url=SecretStr(f"redis://:s3cret@127.0.0.1:{port}")),
        RedisConfig(url=bare, password_env="RIGHT"),
        RedisConfig(url=bare, password_file=file),
    ):
        with open_broker(config) as broker:
            assert broker.client.ping()
            assert "s3cret" not in repr(broker)


def test_a_wrong_password_and_none_are_told_how_to_be_set(start_redis: StartRedis) -> None:
    port = start_redis("--requirepass", "right")
    for url in (f"redis://:s3cret@127.0.0.1:{port}", f"redis://127.0.0.1:{port}"):
        assert "password_env" in refusal(url)


def test_a_server_that_knows_no_login_is_not_quoted_with_the_password(
    start_redis: StartRedis,
) -> None:
    port = start_redis("--rename-command", "AUTH", "", "--rename-command", "HELLO", "")
    assert "unknown command" in refusal(f"redis://:s3cret@127.0.0.1:{port}")
    for protocol in (2, 3):
        with (
            redis.Redis(port=port, password="s3cret", protocol=protocol) as client,
            pytest.raises(RedisError, match="s3cret") as caught,
        ):
            client.ping()
        assert "s3cret" not in explain(caught.value)
        assert "unknown command" in explain(caught.value)


def test_a_user_without_rights_is_told_so(start_redis: StartRedis) -> None:
    port = start_redis("--user", "eve", "on", ">s3cret", "-@all")
    assert "rights (ACL)" in refusal(f"redis://eve:s3cret@127.0.0.1:{port}")


def test_a_user_who_may_not_ask_for_the_version_may_come_in(start_redis: StartRedis) -> None:
    port = start_redis("--user", "eve", "on", ">s3cret", "~*", "+@all", "-info")
    connect(RedisConfig(url=SecretStr(f"redis://eve:s3cret@127.0.0.1:{port}"))).close()


def test_a_web_server_is_no_redis(http_port: int) -> None:
    said = refusal(f"redis://:s3cret@127.0.0.1:{http_port}")
    assert "not a Redis server" in said or "is it a Redis" in said


def test_tls_with_a_plain_server_is_told_to_use_the_other_scheme(
    start_redis: StartRedis,
) -> None:
    said = refusal(f"rediss://127.0.0.1:{start_redis()}?socket_connect_timeout=0.3")
    assert "use redis:// if it has no TLS" in said


def test_an_old_redis_is_refused_with_its_version(old_redis_port: int) -> None:
    said = refusal(f"redis://127.0.0.1:{old_redis_port}")
    assert "6.0 is too old" in said
    assert "6.2 or newer" in said


def test_a_server_that_never_answers_is_given_up(silent_port: int) -> None:
    assert "answer in time" in refusal(f"redis://127.0.0.1:{silent_port}?socket_timeout=0.2")


def test_what_only_begins_like_redis_is_none(babbling_port: int) -> None:
    assert "not a Redis server" in refusal(f"redis://:s3cret@127.0.0.1:{babbling_port}")


def test_what_does_not_describe_itself_as_redis_does_is_none(mimicking_port: int) -> None:
    assert "not a Redis server" in refusal(f"redis://:s3cret@127.0.0.1:{mimicking_port}")


def test_every_setting_that_may_stand_in_the_query_is_understood(start_redis: StartRedis) -> None:
    query = "db=1&client_name=bell&username=default&socket_timeout=2&socket_connect_timeout=1.5"
    url = f"REDIS://127.0.0.1:{start_redis()}?{query}"
    with connect(RedisConfig(url=SecretStr(url))) as client:
        assert (client.client_getname(), client.client_info()["db"]) == ("bell", 1)  # type: ignore[index]


def test_a_private_client_waits_as_long_as_the_address_says(start_redis: StartRedis) -> None:
    url = f"redis://127.0.0.1:{start_redis()}"
    query = "?socket_timeout=30&socket_connect_timeout=7"
    for address, timeout_s, expected in (
        (url, None, (5, 3)), (url, 0.2, (0.2, 0.2)),
        (url + query, None, (30, 7)), (url + query, 10, (10, 7)),
    ):  # fmt: skip
        with (
            connect(RedisConfig(url=SecretStr(address))) as client,
            private_client(client, timeout_s=timeout_s) as own,
        ):
            assert own.ping()
            settings = own.connection_pool.connection_kwargs
            found = settings["socket_timeout"], settings["socket_connect_timeout"]
            assert found == expected


def test_a_private_client_waits_for_nobody_without_end(silent_port: int) -> None:
    with (
        redis.Redis(port=silent_port, socket_timeout=None) as client,
        private_client(client, timeout_s=0.1) as own,
        pytest.raises(redis.TimeoutError),
    ):
        own.ping()


@pytest.mark.parametrize("query", ["protokoll=3", "db=first", "password=s3cret&cert=x"])
def test_a_wrong_setting_in_the_query_is_refused(start_redis: StartRedis, query: str) -> None:
    assert "can't be used" in refusal(f"redis://127.0.0.1:{start_redis()}?{query}")


def test_a_private_client_gives_plain_replies_however_the_other_was_made(
    start_redis: StartRedis,
) -> None:
    port = start_redis()
    for settings in ({"protocol": 3}, {"decode_responses": True}, {}):
        with (
            redis.Redis(port=port, **settings) as client,  # type: ignore[call-overload]
            private_client(client) as own,
        ):
            own.flushall()
            entry_id = own.xadd("x", {"a": "1"})
            assert own.xread({"x": "0"}) == [["x", [(entry_id, {"a": "1"})]]]


def test_nothing_is_left_open(redis_server: EmbeddedServer) -> None:
    script = (
        "import sys; from pydantic import SecretStr; from pipeline.config import RedisConfig\n"
        "from pipeline.broker import open_broker\n"
        "with open_broker(RedisConfig(url=SecretStr(sys.argv[1]))) as broker:\n"
        "    broker.client.ping()\n"
    )
    command = ["-W", "error", "-X", "dev", "-c", script, redis_server.url]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
