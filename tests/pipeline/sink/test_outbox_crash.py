"""``kill -9`` at any moment: what ``write`` returned for is not lost, and nothing comes twice."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipeline import wire
from pipeline.records import ActionEvent, EventType, Flag
from tests.chaos.proxy import Proxy
from tests.pipeline.sink.conftest import Outboxes
from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[3]
Stored = Callable[[RedisServer], list[ActionEvent]]

WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from redis import Redis
from pipeline import wire
from pipeline.records import EventType
from pipeline.sink import EventStream, Outbox

folder, port, run, model = sys.argv[1:]
outbox = Outbox(Path(folder), EventStream(Redis(port=int(port), socket_timeout=5)))
model = replace(wire.from_json(model), held_pts_s=20.0)
for n in range(100_000):
    name, seq = f"run {run} event {n // 5}", n % 5
    kind = (EventType.START, *[EventType.UPDATE] * 3, EventType.END)[seq]
    outbox.write([replace(model, event_id=name, seq=seq, type=kind)])
    print(name, seq, flush=True)
"""


class Writer:
    """Writes events as fast as it can, and tells of each that was taken."""

    def __init__(self, folder: Path, port: int, run: int, model: str) -> None:
        command = [sys.executable, "-c", WRITER, str(folder), str(port), str(run), model]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.taken: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.taken += [line.strip() for line in self._process.stdout if line.endswith("\n")]


def test_kill_9_in_mid_write_loses_nothing_and_repeats_nothing(
    server: RedisServer,
    folder: Path,
    outboxes: Outboxes,
    make_event: Callable[..., ActionEvent],
    stored: Stored,
) -> None:
    chance = random.Random(7)
    model = wire.to_json(make_event())
    taken: list[str] = []
    with Proxy(server.port) as proxy:
        for run in range(5):
            writer = Writer(folder, proxy.port, run, model)
            try:
                first = f"run {run} "
                _wait_for_entries(server, 20 * run + 1)
                threading.Event().wait(chance.uniform(0.0, 0.3))
                if run % 2:
                    proxy.cut_reply_to(b"EVALSHA")
            finally:
                writer.kill()
            assert all(line.startswith(first) for line in writer.taken)
            taken += writer.taken
        last = outboxes.open(server.port)
        assert last.flush(60) == 0
    events = stored(server)
    names = [f"{event.event_id} {event.seq}" for event in events]
    assert len(names) == len(set(names)), "an event came twice"
    assert set(taken) <= set(names), "an event is missing"
    lives: dict[str, list[ActionEvent]] = {}
    for event in events:
        lives.setdefault(event.event_id, []).append(event)
    for life in lives.values():
        assert [event.seq for event in life] == list(range(len(life)))
        assert life[-1].type is EventType.END
        assert (Flag.INTERRUPTED in life[-1].flags) == (len(life) < 5 or life[4].flags != ())
    assert len(lives) > 20


def _wait_for_entries(server: RedisServer, count: int) -> None:
    deadline_s = time.monotonic() + 60
    with server.client() as client:
        while client.xlen("actionstream:events") < count:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
