"""The config file: what is refused, and that nothing secret is shown."""

from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.config import (
    Config,
    EventSpec,
    GridSpec,
    PictureSpec,
    Settings,
    WindowSpec,
    load_config,
    parse_config,
    read_secret,
)
from pipeline.errors import ConfigError

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
        ("sampling: {sample_fps: 0}", "sampling.sample_fps", "more than 0"),
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
