from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.broker import mask, resolve
from pipeline.config import RedisConfig
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:s3cret@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://eve:s3cret@host", "rediss://eve:***@host"),
        ("redis://s3cret@host", "redis://***@host"),
        ("redis://:s3/c#r?et@host/0", "redis://:***@host/0"),
        ("redis://:s3@cret@host/0", "redis://:***@host/0"),
        ("redis://:a://s3cret@host", "redis://:***@host"),
        ("redis://host?password=s3cret", "redis://host?password=***"),
        ("redis://host?db=1&PASSWORD=s3@cret", "redis://host?db=1&PASSWORD=***"),
        ("rediss://host?ssl_password=s3cret&db=1", "rediss://host?ssl_password=***&db=1"),
        ("unix://:s3cret@/run/redis.sock", "unix://:***@/run/redis.sock"),
        ("eve:s3cret@host", "eve:***@host"),
    ],
)
def test_a_shown_address_holds_no_secret(url: str, shown: str) -> None:
    assert mask(url) == shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://:s3cret@host", "must start with redis://"),
        ("host:6379", "must start with redis://"),
        ("unix://", "names no socket"),
        ("redis://:s3cret@host:port", "can't be parsed"),
        ("redis://[:s3cret@host", "can't be parsed"),
        ("redis://host:0", "port 0"),
    ],
)
def test_an_impossible_address_is_refused_in_one_line(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        resolve(RedisConfig(url=SecretStr(url)))
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "s3cret")
    config = RedisConfig(url=SecretStr("redis://host"), password_env="REDIS_PASSWORD")
    assert resolve(config) == ("redis://host", "s3cret")


@pytest.mark.parametrize("url", ["redis://:other@host", "redis://host?password=other"])
def test_two_passwords_are_one_too_many(tmp_path: Path, url: str) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="keep one") as caught:
        resolve(RedisConfig(url=SecretStr(url), password_file=file))
    assert "other" not in str(caught.value).replace("another", "")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2",
        "redis://user:hunter2/0",
        "hunter2",
        "redis://[hunter2",
        "redis://h\n:hunter2",
    ],
)
def test_where_nothing_can_be_told_apart_nothing_is_shown(url: str) -> None:
    with pytest.raises(ConfigError) as info:
        resolve(RedisConfig(url=SecretStr(url)))
    assert "hunter2" not in str(info.value)
    assert str(info.value).isprintable()


@pytest.mark.parametrize("query", ["?pass=hunter2", "?db=1&auth=hunter2", "?pwd=hunter2"])
def test_a_mistyped_password_setting_is_not_shown(query: str) -> None:
    assert "hunter2" not in mask(f"redis://host{query}")
