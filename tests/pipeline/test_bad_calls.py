"""The command itself: one line on standard error for what is wrong, and the exit code."""

import subprocess
import sys
from pathlib import Path

import pytest

from actors.cli import main
from pipeline.wire import from_json
from tests.clips import write_clip


def test_the_command_reports_bad_files_and_writes_the_events_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "[").mkdir()  # "[/z]" is what rich calls a closing tag
    for name in ("a.mp4", "[/z].mp4"):
        write_clip(tmp_path / name, count=100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"Dear diary,\n" * 500)
    config = tmp_path / "config.yaml"
    config.write_text("events: {enter: 0, exit: 0}\n")
    names = ["a.mp4", "empty.mp4", "text.mp4", "no.mp4", "[/z].mp4"]
    command = ["analyze", *names, "--jsonl", "-", "--config", str(config)]
    done = subprocess.run(
        [sys.executable, "-c", "from actors.cli import main; main()", *command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    complaints = [line for line in done.stderr.splitlines() if line.startswith("actionstream:")]
    assert len(complaints) == 3, done.stderr
    for name, complaint in zip(names[1:4], complaints, strict=True):
        assert complaint.startswith(f"actionstream: {name}: ")
    assert "[/z].mp4" in done.stderr
    events = [from_json(line) for line in done.stdout.splitlines()]
    assert {event.stream_id for event in events} == {"a.mp4", "[/z].mp4"}


CALLS = {
    "two files, one name": (["a.mp4", "b/a.mp4", "--name", "door"], "2 files were given"),
    "one stream id for two": (["a.mp4", "link.mp4", "--root", "."], "would both be the stream"),
    "outside of the root": (["a.mp4", "--root", "b"], "is not under --root"),
    "no config": (["a.mp4", "--config", "no.yaml"], "can't read the config"),
    "unknown key": (["a.mp4", "--config", "typo.yaml"], "sampling.hopp: no such setting"),
    "no yaml": (["a.mp4", "--config", "broken.yaml"], "broken.yaml, line"),
    "odd hop": (["a.mp4", "--hop", "3"], "hop must be an even number"),
    "odd hop in the config": (["a.mp4", "--config", "odd.yaml"], "hop must be an even number"),
    "hop over frames": (["a.mp4", "--hop", "64"], "hop must be at most frames"),
    "unknown model": (["a.mp4", "--model", "no.pth.tar"], "no.pth.tar"),
    "a video as model": (["a.mp4", "--model", "a.mp4"], "a.mp4"),
    "rate of nothing": (["a.mp4", "--sample-fps", "0"], "sample_fps"),
    "rate in words": (["a.mp4", "--sample-fps", "fast"], "sample_fps"),
    "rate over nothing": (["a.mp4", "--sample-fps", "1/0"], "sample_fps"),
    "limit of nothing": (["a.mp4", "--max-pixels", "0"], "max_pixels"),
    "no such device": (["a.mp4", "--device", "abacus"], "device"),
    "no such option": (["a.mp4", "--colour"], "--colour"),
    "no files": ([], "Missing argument"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_clip(tmp_path / "a.mp4")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.mp4").write_bytes(b"")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    (tmp_path / "typo.yaml").write_text("sampling: {hopp: 4}\n")
    (tmp_path / "odd.yaml").write_text("sampling: {hop: 3}\n")
    (tmp_path / "broken.yaml").write_text("sampling: {hop: [\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_ends_with_2_and_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, expected = CALLS[name]
    monkeypatch.setattr(sys, "argv", ["actionstream", "analyze", *arguments, "--jsonl", "-"])
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capsys.readouterr()
    assert left.value.code == 2, err
    assert not out
    assert expected in err
    assert err.count("\n") == 1, err
    assert err.startswith("actionstream: ")
