"""A ``~`` that stands for nothing is one line, wherever a path may be written."""

from pathlib import Path

import pytest

from pipeline.broker import default_state_dir
from pipeline.errors import ConfigError
from pipeline.home import absolute


def test_paths_are_from_the_root_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir("/")
    assert absolute(Path("~/x")) == tmp_path / "x"
    assert absolute(Path("x")) == Path("/x")
    assert default_state_dir() == tmp_path / ".local" / "state" / "actionstream"


def test_a_home_that_is_not_there_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="~nosuchuser/x: there is no home"):
        absolute(Path("~nosuchuser/x"))
    with pytest.raises(ConfigError) as refused:
        absolute(Path("~hunter2"))
    assert "hunter2" not in str(refused.value), "it may be a password, in the place of its file"
    monkeypatch.setenv("XDG_STATE_HOME", "~nosuchuser")
    with pytest.raises(ConfigError, match="there is no home"):
        default_state_dir()
