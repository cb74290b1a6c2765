from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.broker import mask, resolve
from pipeline.broker.address import holds_password
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
        ("redis://host?p%61ssword=s3cret", "redis://host?***"),
        ("redis://host?db=1&passwort=s3cret", "redis://host?db=1&passwort=***"),
        ("redis://host?password=s3;cret&db=1", "redis://host?password=***&db=1"),
        ("redis://host?s3cret", "redis://host?***"),
        ("redis://host?db=1;password=s3cret", "redis://host?db=***"),
        ("rediss://host?ssl_ca_certs=/a/ca.pem", "rediss://host?ssl_ca_certs=/a/ca.pem"),
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
        ("redis://:12#s3cret@host", "/, \\? or # in its login"),
        ("redis://:12?s3cret@host", "/, \\? or # in its login"),
        ("redis://:12/s3cret@host", "/, \\? or # in its login"),
        ("redis://eve:s3cret@host/0#1", "/, \\? or # in its login"),
        ("redis://host?password=s3cret@x", "an @ or # behind its host"),
        ("redis://[::1]s3cret", "/, \\? or # in its login"),
        ("unix://:12/s3cret@/run/redis.sock", "three slashes"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix:///run/%00", "names no socket"),
        ("redis://", "names no host"),
        ("redis://:1234", "names no host"),
        ("redis://a..b", "names no host"),
        ("redis://%00", "names no host"),
        ("redis:host", "must start with redis://"),
        (" redis://host", "a space"),
        ("redis://host ", "a space"),
        ("redis://host/s3cret", "number of a database"),
        ("redis://host/0/1", "number of a database"),
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


def test_the_scheme_may_be_in_capital_letters() -> None:
    assert resolve(RedisConfig(url=SecretStr("REDIS://Host/0")))[0] == "redis://Host/0"


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("redis://eve:s3cret@host", True),
        ("redis://:s3cret@host", True),
        ("redis://host?p%61ssword=s3cret", True),
        ("unix://:s3cret@/run/redis.sock", True),
        ("redis://publisher@host", False),
        ("rediss://host/0?ssl_keyfile=client.key", False),
        ("unix:///run/a:b/redis.sock", False),
        ("redis://[hunter2", False),
    ],
)
def test_a_password_is_told_from_a_user(url: str, holds: bool) -> None:
    assert holds_password(url) is holds


@pytest.mark.parametrize("query", ["?pass=hunter2", "?db=1&auth=hunter2", "?pwd=hunter2"])
def test_a_mistyped_password_setting_is_not_shown(query: str) -> None:
    assert "hunter2" not in mask(f"redis://host{query}")
