"""Where cameras may be, and what FFmpeg is told of them."""

import ipaddress
import os
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cameras import MAX_URL, OPTIONS, CameraConfig, CameraKnobs
from pipeline.errors import (
    ConfigError,
    SourceElsewhere,
    SourceError,
    SourceForbidden,
    SourceNotFound,
)
from pipeline.source import CameraSource, camera, camera_source, parse_address
from pipeline.source.address import MAX_LOGIN
from pipeline.source.networks import located
from tests.chaos.rtsp import ChaosCamera
from tests.footage import clip
from tests.rtsp import transcode

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
PRIVATE = (ipaddress.ip_network("192.168.0.0/16"),)


def test_a_host_in_an_allowed_network_is_handed_on_as_numbers() -> None:
    address = parse_address("rtsp://me:pw@localhost:8554/x")
    there = located(address, LOOPBACK, keep_name=False)
    assert there.host in ("127.0.0.1", "::1")
    assert replace(there, host="localhost") == address
    assert located(address, LOOPBACK, keep_name=True) == address
    assert located(address, None, keep_name=False) is address


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1"]
)
def test_a_host_elsewhere_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(SourceForbidden, match="none of the allowed_networks") as refused:
        located(parse_address(f"rtsp://me:hunter2@{host}/x"), PRIVATE, keep_name=False)
    assert isinstance(refused.value, SourceElsewhere) == (host in ("localhost", "0x7f.1"))


def test_an_ipv4_address_in_ipv6s_disguise_is_what_it_is() -> None:
    address = parse_address("rtsp://[::ffff:192.168.1.2]/x")
    assert located(address, PRIVATE, keep_name=False).host == "192.168.1.2"


def test_what_is_local_to_a_link_keeps_its_zone() -> None:
    zone = socket.if_nameindex()[0][0]
    address = parse_address(f"rtsp://[fe80::1%{zone}]/x")
    network = (ipaddress.ip_network("fe80::/10"),)
    assert located(address, network, keep_name=False).host == f"fe80::1%{zone}"


def test_a_name_that_no_certificate_proves_is_not_asked_for_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    def feed(target: str, **_: object) -> None:
        told.append(target)
        raise SourceNotFound("test")

    monkeypatch.setattr(camera, "Feed", feed)
    for scheme in ("rtsp", "rtsps"):
        source = CameraSource(
            stream_id="gate",
            address=parse_address(f"{scheme}://localhost:1/x"),
            knobs=CameraKnobs(allowed_networks=LOOPBACK, tls_verify=True),
        )
        with pytest.raises(SourceNotFound):
            source.open()
    assert told[0] in ("rtsp://127.0.0.1:1/x", "rtsp://[::1]:1/x")
    assert told[1] == "rtsps://localhost:1/x"


@pytest.mark.parametrize("odd", ["hunter2\r\nX: y", "\0", "caf\udce9", "%0d%0a"])
def test_a_login_that_would_end_a_line_is_refused(odd: str) -> None:
    url = f"rtsp://me:{odd}@h/x" if "%" in odd else "rtsp://me@h/x"
    with pytest.raises(ConfigError, match="control characters, or isn't UTF-8") as info:
        parse_address(url, password=None if "%" in odd else odd)
    assert "hunter2" not in str(info.value)


def test_a_host_that_is_not_there_is_told() -> None:
    with pytest.raises(SourceNotFound, match="no such host"):
        located(parse_address("rtsp://no-such-host.invalid/x"), PRIVATE, keep_name=False)


def test_a_camera_elsewhere_is_not_connected(video: Path) -> None:
    with ChaosCamera([video]) as camera:
        source = CameraSource(
            stream_id="gate",
            address=parse_address(camera.url()),
            knobs=CameraKnobs(allowed_networks=PRIVATE),
        )
        with pytest.raises(SourceForbidden):
            source.open()
        assert not camera.requests


@pytest.mark.parametrize("query", ["listen", "tcp&listen", "listen=1"])
def test_a_url_that_would_have_us_listen_is_refused(query: str) -> None:
    with pytest.raises(SourceForbidden, match="listen"):
        parse_address(f"rtsp://127.0.0.1/x?{query}")
    parse_address("rtsp://127.0.0.1/listen?listener=1")


def test_our_own_options_win_and_the_list_holds_none_of_them() -> None:
    options = CameraSource(
        stream_id="gate",
        address=parse_address("rtsp://h/x"),
        knobs=CameraKnobs(options={"probesize": 5000, "buffer_size": 7}),
    )._options()
    assert (options["probesize"], options["buffer_size"]) == ("5000", "7")
    ours = {"protocol_whitelist", "rtsp_transport", "allowed_media_types", "timeout"}
    assert ours <= set(options)
    assert ours.isdisjoint(OPTIONS)


def test_a_camera_of_a_config_has_its_password_and_its_knobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATE", "hunter2")
    config = CameraConfig(
        name="gate", url="rtsp://h/x", username="me", password_env="GATE", transport="udp"
    )
    source = camera_source(config)
    assert source.address.url() == "rtsp://me:hunter2@h:554/x"
    assert source.knobs == CameraKnobs(transport="udp")
    assert "hunter2" not in f"{source!r} {source.shown}"
    with pytest.raises(ConfigError, match=r"camera 'gate'.*scheme is file"):
        camera_source(config.model_copy(update={"url": type(config.url)("file:///etc/passwd")}))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "room.mp4"
    transcode(clip("room.webm"), path, codec="libx264", seconds=2)
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout {key} "
        f"-out {cert} -addext subjectAltName=IP:127.0.0.1".split(),
        check=True,
        capture_output=True,
    )
    return cert, key


def test_rtsps_works_and_verifies_when_told_to(
    video: Path, certificate: tuple[Path, Path], wait_until: Callable[..., None]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def opened(knobs: CameraKnobs) -> int:
        address = parse_address(camera.url())
        with CameraSource(stream_id="gate", address=address, knobs=knobs).open() as feed:
            return sum(1 for _, _ in zip(feed.packets(), range(5), strict=False))

    with ChaosCamera([video], tls=context) as camera:
        assert opened(CameraKnobs()) == 5
        assert opened(CameraKnobs(tls_verify=True, tls_ca_file=certificate[0])) == 5
        with pytest.raises(SourceError):
            opened(CameraKnobs(tls_verify=True))


def test_authorities_that_can_not_be_read_are_told_with_the_config(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no certificate")
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "text", "pipe", "."):
        config = CameraConfig.model_validate(
            {"name": "gate", "url": "rtsps://10.0.0.1/a", "tls_ca_file": tmp_path / name}
        )
        with pytest.raises(ConfigError, match=r"camera 'gate': tls_ca_file .* can't be used"):
            camera_source(config)


@pytest.mark.parametrize("login", ["u:hunter2", "u%3Ahunter2"])
def test_a_password_in_the_place_of_a_name_is_refused_unseen(login: str) -> None:
    with pytest.raises(ConfigError, match="username holds a colon") as refused:
        if "%" in login:
            parse_address(f"rtsp://{login}@10.0.0.1/a")
        else:
            parse_address("rtsp://10.0.0.1/a", username=login)
    assert "hunter2" not in str(refused.value)


def test_a_login_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="isn't UTF-8"):
        parse_address("rtsp://admin:%ff@10.0.0.1/a")


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:12/hunter2@10.0.0.1/x",
        "rtsp://admin:12?hunter2@10.0.0.1/x",
        "rtsp://admin/hunter2@10.0.0.1/x",
        "rtsp://first.last:12/hunter2@10.0.0.1/x",
        "rtsp://admin@corp.com:2024/hunter2@10.0.0.1/x",
        "rtsp://h:0/",
        "rtsp://[::1]x/",
        "rtsp://10.0.0.1[::1]/x",
        "rtsp://h/\u202es",
        "rtsp://h\x9b31m/",
        "rtsp://u\ud800:p@h/",
        f"rtsp://h/{'pass' * 25_000}",
        f"rtsp://h/{'é' * 1000}",
        f"rtsp://admin:{'hunter2' * 18}@h/",
        f"rtsp://admin:{'é' * 21}@h/",
    ],
)
def test_an_odd_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as info:
        parse_address(url)
    assert "hunter2" not in str(info.value)
    assert str(info.value).isprintable()


@pytest.mark.parametrize("host", ["10.0.0.1", "u:p@10.0.0.1:554", "[::1]", "localhost"])
def test_what_can_only_be_a_host_may_have_an_at_sign_behind_it(host: str) -> None:
    assert parse_address(f"rtsp://{host}/stream@1").path == "/stream@1"
    assert parse_address("rtsp://cam.corp.com/stream%401").path == "/stream%401"


def test_the_longest_login_and_url_arrive_whole(video: Path) -> None:
    login = f"admin:{'p' * (MAX_LOGIN - 6)}"
    with ChaosCamera([video], login=login) as camera:
        room = MAX_URL - len(camera.url("gate?", login))
        mount = f"gate?{'x' * room}"
        address = parse_address(camera.url(mount, login))
        with CameraSource(stream_id="gate", address=address).open():
            assert camera.url(mount) in camera.targets


@pytest.mark.parametrize(
    "path",
    ["0/admin:hunter2/main", "pw=hunter2", "auth=hunter2", "p%61ss=hunter2", "usr=a&x=hunter2"],
)
def test_a_login_in_the_path_is_not_shown(path: str) -> None:
    assert "hunter2" not in str(parse_address(f"rtsp://h/{path}"))
