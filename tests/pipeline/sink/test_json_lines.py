import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import wire
from pipeline.errors import SinkError
from pipeline.records import ActionEvent
from pipeline.sink import JsonLinesSink

MakeEvent = Callable[..., ActionEvent]


def test_a_missing_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"no folder .*nowhere; create it first"):
        JsonLinesSink(tmp_path / "nowhere" / "events.jsonl")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="is a folder"):
        JsonLinesSink(tmp_path)


def test_a_full_disk_is_said_in_one_line(make_event: MakeEvent) -> None:
    sink = JsonLinesSink("/dev/full")
    with pytest.raises(SinkError, match="No space left") as caught:
        sink.write([make_event()])
    assert "\n" not in str(caught.value)
    sink.close()


def test_a_closed_sink_says_so(tmp_path: Path, make_event: MakeEvent) -> None:
    sink = JsonLinesSink(tmp_path / "x")
    sink.close()
    with pytest.raises(SinkError, match="closed already"):
        sink.write([make_event()])


def test_a_line_that_a_crash_cut_off_spoils_itself_only(
    tmp_path: Path, make_event: MakeEvent
) -> None:
    path = tmp_path / "x"
    path.write_text(wire.to_json(make_event()) + '\n{"schema_ver')
    sink = JsonLinesSink(path)
    sink.write([make_event(1)])
    sink.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert wire.from_json(lines[2]).seq == 1


PRINTER = """
import sys
sys.path.insert(0, sys.argv[1])
from pipeline.errors import SinkError
from pipeline.sink import JsonLinesSink
from pipeline.wire import from_json
sink = JsonLinesSink("-")
event = from_json(sys.argv[2])
try:
    while True:
        sink.write([event] * 1000)
except SinkError as error:
    print(error, file=sys.stderr)
"""


def test_a_reader_that_hangs_up_ends_it_without_a_traceback(make_event: MakeEvent) -> None:
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", PRINTER, root, wire.to_json(make_event())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as printer:
        assert printer.stdout is not None
        assert printer.stderr is not None
        assert wire.from_json(printer.stdout.readline().decode()).event_id == "e0"
        printer.stdout.close()
        said = printer.stderr.read().decode()
    assert said == "standard output: its reader has closed the pipe\n"
    assert printer.returncode == 0


def test_standard_output_gets_the_lines(
    make_event: MakeEvent, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = JsonLinesSink("-")
    sink.write([make_event(4)])
    sink.close()
    assert wire.from_json(capsys.readouterr().out).seq == 4
