"""The config file: what is refused, and that nothing secret is shown."""

import os
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.cameras import CameraKnobs, Region
from pipeline.config import MAX_CAMERAS, Config, load_config, parse_config, read_secret
from pipeline.errors import ConfigError
from pipeline.settings import EventSpec, GridSpec, PictureSpec, Settings, WindowSpec

SAMPLE = Path(__file__).parents[2] / "deploy" / "actionstream.yaml"


def test_the_sample_is_valid_and_its_values_are_the_defaults() -> None:
    config = load_config(SAMPLE)
    assert [camera.name for camera in config.cameras] == ["gate"]
    assert config.model_copy(update={"cameras": ()}) == Config()


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("camras: []", "camras", "no such setting"),
        ("sampling: {hop: 5}", "sampling.hop", "must be an even number of frames"),
        ("sampling: {sample_fps: fast}", "sampling.sample_fps", "want a rate"),
        ("sampling: {sample_fps: [hunter2]}", "sampling.sample_fps", "got a list"),
        ("sampling: {sample_fps: 0}", "sampling.sample_fps", "at least 1/3600"),
        ("sampling: {sample_fps: 1.0e-99}", "sampling.sample_fps", "at least 1/3600"),
        ("sampling: {short_side_px: 999999999999}", "sampling.short_side_px", "less than"),
        ("sampling: {max_pixels: 1000000000000000000}", "sampling.max_pixels", "less than"),
        ("events: {smoothing_windows: 10000000000000000000000}", "smoothing_windows", "less than"),
        ("recognizer: {workers: 999999999999}", "recognizer.workers", "less than"),
        ("recognizer: {threads: 999999999999}", "recognizer.threads", "less than"),
        ("recognizer: {batch_timeout_ms: 1.0e+9}", "recognizer.batch_timeout_ms", "less than"),
        ("decode: {threads: 999999999999}", "decode.threads", "less than"),
        ("health: {host: ''}", "health.host", "match"),
        ("health: {host: ä..b}", "health.host", "match"),
        ("a: '\x01'", "line 1", "a character that is no text"),
        (f"a:\n  {'1:' * 9999}1", "line 2", "a number with too many digits"),
        ("recognizer: {batch_size: two}", "recognizer.batch_size", "integer"),
        ("events: {enter: 1.5}", "events.enter", "less than or equal to 1"),
        ("cameras: [{name: a}]", "cameras.0.url", "required"),
        ("redis: {maxlen: 5}", "redis.maxlen", "greater than or equal to 100"),
        ("- 1", "", "want keys"),
        ("a: [1", "line 1", "not YAML"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(
    tmp_path: Path, text: str, place: str, why: str
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config(file)
    message = str(raised.value)
    assert message.startswith(str(file))
    assert "\n" not in message
    assert place in message
    assert why in message


def test_a_message_never_repeats_what_may_be_a_password() -> None:
    document = {
        "cameras": [{"name": "a", "url": "rtsp://u:hunter2@h/x", "pasword": "hunter2"}],
        "redis": {"url": 7, "password": "hunter2"},
    }
    with pytest.raises(ConfigError) as raised:
        parse_config(document, where="test")
    assert "hunter2" not in str(raised.value)
    config = parse_config({"redis": {"url": "redis://:hunter2@h"}}, where="test")
    assert "hunter2" not in repr(config)


def test_two_cameras_of_one_name_are_refused() -> None:
    cameras = [{"name": "a", "url": "rtsp://h/1"}, {"name": "a", "url": "rtsp://h/2"}]
    with pytest.raises(ConfigError, match="their events would mix"):
        parse_config({"cameras": cameras}, where="test")


def test_more_cameras_than_a_machine_has_room_for_are_refused() -> None:
    cameras = [{"name": "a", "url": "rtsp://h/1"}] * (MAX_CAMERAS + 1)
    with pytest.raises(ConfigError, match="cameras: want at most 10000, got 10001"):
        parse_config({"cameras": cameras}, where="test")


def test_a_camera_begins_with_the_defaults_and_overrides_any_of_them() -> None:
    document = {
        "camera_defaults": {
            "transport": "udp",
            "retry": {"max_delay_s": 60, "max_attempts": 5},
            "options": {"max_delay": 1},
            "allowed_networks": ["10.0.0.0/8"],
        },
        "cameras": [
            {"name": "a", "url": "rtsp://h/1"},
            {
                "name": "b",
                "url": "rtsp://h/2",
                "transport": "tcp",
                "retry": {"max_attempts": -1},
                "options": {"buffer_size": 9},
                "region": [0.5, 0, 0.5, 1],
            },
        ],
    }
    config = parse_config(document, where="test")
    a, b = config.cameras
    assert a.knobs() == config.camera_defaults
    assert (b.transport, b.retry.max_delay_s, b.retry.max_attempts) == ("tcp", 60, -1)
    assert b.options == {"max_delay": 1, "buffer_size": 9}
    assert b.region == Region(x=0.5, width=0.5)
    again = parse_config(config.model_dump(exclude_unset=True), where="again")
    assert again.cameras == config.cameras
    late = config.camera({"name": "late", "url": "rtsp://h/3", "region": "0,0,1,0.5"})
    assert (late.transport, late.region) == ("udp", Region(height=0.5))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"options": {"protocol_whitelist": "file"}}, "can't be set here; allowed are: analyze"),
        ({"options": {"rtsp_flags": "listen"}}, "can't be set here"),
        ({"options": {"probesize": "1;2"}}, "doesn't take"),
        ({"options": {"fflags": "nobuffer+x"}}, "doesn't take"),
        ({"region": {"x": 0.5, "width": 0.6}}, "reaches beyond the picture"),
        ({"region": "0,0,1"}, "x,y,width,height"),
        ({"retry": {"max_delay_s": 0.5}}, "waits would shrink"),
        ({"allowed_networks": ["10.0.0.1/8"]}, "host bits"),
        ({"allowed_networks": ["10.0.0.0/8"] * 65}, "at most 64"),
        ({"options": {"probesize": 1}}, "want a whole number from 2048"),
        ({"options": {"analyzeduration": "1٣"}}, "want a whole number"),
        ({"options": {"min_port": 9999999999}}, "want a whole number from 1024 to 65535"),
        ({"options": {"max_port": -5}}, "want a whole number"),
        ({"options": {"min_port": 65001}}, r"min_port .65001. must be at most max_port .65000."),
        ({"region": "0,0,0,1"}, "greater than or equal to 0.02"),
        ({"open_timeout_s": 1e9}, "less than or equal to 3600"),
        ({"name": "gate "}, "match"),
        ({"name": "ga\u200dte"}, "can't be seen"),
        ({"name": "gate\u3164"}, "can't be seen"),
        ({"name": "ga\ufe0fte"}, "can't be seen"),
        ({"name": "cafe\u0301"}, "two ways"),
        ({"frame_timeout_s": 0}, "greater than 0"),
        ({"corrupt": "drop"}, "keep"),
    ],
)
def test_what_a_camera_can_not_be_is_refused(said: dict[str, object], why: str) -> None:
    camera = {"name": "a", "url": "rtsp://u:hunter2@h/1", **said}
    with pytest.raises(ConfigError, match=why) as raised:
        parse_config({"cameras": [camera]}, where="test")
    assert "hunter2" not in str(raised.value)
    with pytest.raises(ConfigError, match=why) as raised:
        Config().camera(camera)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "cameras: [{name: a, url: 'rtsp://me:hunter2@h/1'}]",
        "cameras: [{name: a, url: 'rtsp://h/1?user=me&password=hunter2'}]",
        "cameras: [{name: a, url: 'rtsp://h/user=me_password=hunter2.sdp'}]",
        "redis: {url: 'redis://:hunter2@h'}",
    ],
)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604])
def test_a_config_with_a_password_that_others_can_read_is_refused(
    tmp_path: Path, text: str, mode: int
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600") as raised:
        load_config(file)
    assert "hunter2" not in str(raised.value)
    file.chmod(0o600)
    load_config(file)


def test_a_config_without_a_password_may_be_read_by_all(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("cameras: [{name: a, url: 'rtsp://me@h/1', password_env: PW}]")
    file.chmod(0o644)
    load_config(file)


def test_what_a_camera_sees_is_in_the_digest() -> None:
    whole = settings()
    assert whole.seen_by(None) == whole
    assert whole.seen_by(CameraKnobs()).digest() == whole.digest()
    seen = [
        CameraKnobs(region=Region(width=0.5)),
        CameraKnobs(fit="letterbox"),
        CameraKnobs(corrupt="discard"),
        CameraKnobs(sample_fps=4),
    ]
    digests = {whole.seen_by(knobs).digest() for knobs in seen}
    assert len(digests | {whole.digest()}) == 5


@pytest.mark.parametrize(("frames", "hop"), [(7, 2), (8, 3), (8, 10), (0, 0)])
def test_an_impossible_window_is_refused(frames: int, hop: int) -> None:
    with pytest.raises(ValueError, match=r"even|at most|greater"):
        WindowSpec(frames=frames, hop=hop)


def test_rates_are_what_is_written() -> None:
    assert GridSpec(sample_fps=29.97).sample_fps == Fraction(2997, 100)
    assert GridSpec(sample_fps="30000/1001").sample_fps == Fraction(30000, 1001)


def settings(**picture: int) -> Settings:
    return Settings(
        grid=GridSpec(sample_fps=8),
        picture=PictureSpec(size_px=96, short_side_px=96, **picture),
        window=WindowSpec(frames=8, hop=4),
        events=EventSpec(),
    )


def test_the_digest_is_of_what_decides_events() -> None:
    before = settings()
    assert before.digest() == settings(max_pixels=1000).digest()
    eager = before.model_copy(update={"events": EventSpec(enter=0.4)})
    assert eager.digest() != before.digest()


def test_a_secret_comes_from_the_environment_or_a_file_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PW", "hunter2")
    assert read_secret(env="PW", file=None, what="redis") == "hunter2"
    file = tmp_path / "pw"
    file.write_text("hunter3\n")
    file.chmod(0o600)
    assert read_secret(env=None, file=file, what="redis") == "hunter3"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(env=None, file=file, what="redis")
    with pytest.raises(ConfigError, match="NO_SUCH is not set"):
        read_secret(env="NO_SUCH", file=None, what="redis")


@pytest.mark.parametrize(
    "text",
    [
        "cameras: [{name: x, url:rtsp://u:hunter2@h/s}]",
        "cameras:\n- name: x\n  rtsp://u:hunter2@h/s:\n",
        "{redis:redis://:hunter2@h/0}",
        "redis: {pass hunter2: 1}",
        f"redis: {{url: 'redis://:hunter2@{'h' * 3000}'}}",
        f"sampling: {{sample_fps: '{'9' * 9999}'}}",
        "sampling: {sample_fps: {url: 'rtsp://u:hunter2@h'}}",
        "sampling: {sample_fps: 'rtsp://u:hunter2@h'}",
        "camera_defaults: {allowed_networks: ['rtsp://u:hunter2@h']}",
        "\n".join(f"k{n}: 1" for n in range(500)),
    ],
)
def test_a_message_holds_neither_odd_keys_nor_everything(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as info:
        load_config(path)
    assert "hunter2" not in str(info.value)
    assert len(str(info.value)) < 1000


@pytest.mark.parametrize("rate", ["1e99999999", "1e-99999999", "1/0", ".inf", ".nan"])
def test_a_rate_that_would_take_hours_to_write_out_is_refused(rate: str) -> None:
    with pytest.raises(ConfigError, match="want a rate"):
        parse_config({"sampling": {"sample_fps": rate}}, where="here")


@pytest.mark.parametrize("much", [float("inf"), float("nan"), 1e300])
def test_times_fit_into_nanoseconds(much: float) -> None:
    with pytest.raises(ConfigError, match="less than or equal to"):
        parse_config({"camera_defaults": {"open_timeout_s": much}}, where="here")


@pytest.mark.parametrize("password", ["hunter2", "hunter2!", "hunter2 x"])
def test_a_password_in_the_place_of_a_variables_name_is_not_shown(password: str) -> None:
    with pytest.raises(ConfigError, match="password_env") as info:
        read_secret(env=password, file=None, what="camera 'x'")
    assert "hunter2" not in str(info.value)


def test_a_password_in_the_place_of_its_file_is_not_shown() -> None:
    for given in ("hunter2", "/no/where/hunter2"):
        with pytest.raises(ConfigError, match="that password_file names: No such file") as info:
            read_secret(env=None, file=Path(given), what="camera 'x'")
        assert "hunter2" not in str(info.value)


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({"cameras": {"gate": {"url": "rtsp://u:hunter2@h"}}}, "cameras: a list is wanted"),
        ({"cameras": ["rtsp://u:hunter2@h"]}, r"cameras\.0: settings are wanted"),
        ({"redis": "redis://:hunter2@h"}, "redis: settings are wanted"),
    ],
)
def test_settings_of_another_shape_are_told_in_words_of_yaml(
    document: dict[str, object], where: str
) -> None:
    with pytest.raises(ConfigError, match=where) as info:
        parse_config(document, where="c.yaml")
    assert "hunter2" not in str(info.value)


def test_a_password_file_is_a_small_text_file(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"hunter\xe9")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (Path("/dev/zero"), "no password file"),
        (tmp_path / "large", "no password file"),
        (tmp_path / "pipe", "no password file"),
        (tmp_path / "odd", "UTF-8"),
    ):
        with pytest.raises(ConfigError, match=why) as info:
            read_secret(env=None, file=path, what="redis")
        assert "xe9" not in str(info.value)
