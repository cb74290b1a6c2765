"""What may stand after the ``?`` of an address, and what is said of the rest."""

import inspect
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from pydantic import SecretStr
from redis.connection import AbstractConnection, Connection, SSLConnection

from pipeline.broker import resolve
from pipeline.broker.query import _SETTINGS
from pipeline.config import RedisConfig
from pipeline.errors import ConfigError


def refusal(query: str, scheme: str = "redis") -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(RedisConfig(url=SecretStr(f"{scheme}://host?{query}")))
    assert str(caught.value).isprintable()
    assert "s3cret" not in str(caught.value)
    return str(caught.value)


def names_of_redis_py() -> list[str]:
    parts = (AbstractConnection, Connection, SSLConnection, redis.ConnectionPool, redis.Redis)
    names = {name for part in parts for name in inspect.signature(part.__init__).parameters}
    return sorted(names - set(_SETTINGS))


@pytest.mark.parametrize("name", names_of_redis_py())
def test_what_redis_py_takes_besides_is_refused(name: str) -> None:
    said = refusal(f"{name}=s3cret")
    assert f"can't be used: {name}; there are: db, username, password, " in said


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("p%61ssword=s3cret", "there are: db"),
        ("s3cret", "there are: db"),
        ("db=1;password=s3cret", "db wants the number of a database"),
        ("db=-1", "db wants"),
        ("db=" + "9" * 1000, "db wants"),
        ("db=1&db=1", "given twice"),
        ("password=", "password wants"),
        ("client_name=a%20b", "client_name wants a name without spaces"),
        ("socket_timeout=inf", "socket_timeout wants seconds"),
        ("socket_timeout=nan", "socket_timeout wants seconds"),
        ("socket_timeout=0", "socket_timeout wants seconds"),
        ("socket_connect_timeout=1e300", "socket_connect_timeout wants seconds"),
        ("socket_connect_timeout=soon", "socket_connect_timeout wants seconds"),
        ("ssl_check_hostname=false", "write rediss://"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_would(query: str, said: str) -> None:
    assert said in refusal(query)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("ssl_ca_certs=/nonexistent", "ssl_ca_certs wants a file that is there"),
        ("ssl_ca_certs=%00", "ssl_ca_certs wants a file that is there"),
        ("ssl_ca_certs=" + "a" * 1000, "ssl_ca_certs wants a file that is there"),
        ("ssl_ca_path=/nonexistent", "ssl_ca_path wants a folder that is there"),
        ("ssl_cert_reqs=0", "ssl_cert_reqs wants required or none"),
        ("ssl_check_hostname=off", "ssl_check_hostname wants true or false"),
        (f"ssl_ca_certs={quote(__file__)}", "no certificates in PEM"),
        (f"ssl_certfile={quote(__file__)}", "no certificate in PEM with its key"),
        (f"ssl_keyfile={quote(__file__)}", "ssl_keyfile without ssl_certfile"),
    ],
)
def test_certificates_that_can_not_be_used_are_named(query: str, said: str) -> None:
    assert said in refusal(query, "rediss")


def test_a_key_that_is_encrypted_is_refused_and_not_asked_for(
    certificate: Path, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    command = ["openssl", "rsa", "-aes256", "-passout", "pass:word", "-in", str(certificate)]
    subprocess.run([*command, "-out", str(key)], check=True, capture_output=True)
    said = refusal(f"ssl_certfile={certificate}&ssl_keyfile={key}", "rediss")
    assert "a key that is encrypted" in said


def test_certificates_that_can_be_used_pass(certificate: Path, tmp_path: Path) -> None:
    own = f"ssl_certfile={tmp_path}/certificate.pem&ssl_keyfile={certificate}"
    trust = f"ssl_ca_certs={certificate}&ssl_ca_path={tmp_path}"
    url = f"rediss://host?{own}&{trust}&ssl_check_hostname=False&ssl_cert_reqs=none"
    assert resolve(RedisConfig(url=SecretStr(url))) == (url, None)
