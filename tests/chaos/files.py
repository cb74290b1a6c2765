"""``actionstream analyze`` killed at moments from a seed, and run again until it is through.

Redis then holds what an undisturbed run gives, each line once.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

from pipeline import wire
from pipeline.records import ActionEvent
from tests.chaos.act import Say, aloud
from tests.chaos.evidence import Broken
from tests.chaos.stage import EVENTS
from tests.footage import clip
from tests.redis_server import RedisServer

CLIPS = ("room.webm", "car.mp4", "street.mp4")
KILLS = 4
LIMIT_S = 240.0
SLACK = 1e-4
LAW = "files killed and run again give the events of an undisturbed run"


def killed_analysis(
    seed: int, *, clips: Sequence[str] = CLIPS, kills: int = KILLS, say: Say = aloud
) -> list[Broken]:
    """Where the two differ."""
    chance = Random(seed)
    with tempfile.TemporaryDirectory(prefix="as-") as folder:
        config = Path(folder, "config.yaml")
        config.write_text(f"events: {EVENTS}\n")
        with RedisServer() as quiet, RedisServer("--appendonly", "yes") as rough:
            whole_s = _finish(quiet, config, Path(folder, "quiet"), clips)
            for number in range(kills):
                after_s = chance.uniform(0.0, 0.95) * whole_s
                _kill(rough, config, Path(folder, "rough"), clips, after_s)
                lines = len(_stored(rough))
                say(f"files: kill {number + 1} after {after_s:.1f} s, {lines} lines in Redis")
            _finish(rough, config, Path(folder, "rough"), clips)
            return list(_differences(_stored(quiet), _stored(rough)))


def _differences(expected: Sequence[ActionEvent], found: Sequence[ActionEvent]) -> list[Broken]:
    wanted = {(event.event_id, event.seq): event for event in expected}
    given = {(event.event_id, event.seq): event for event in found}
    wrong = []
    if len(given) != len(found):
        wrong.append(Broken(law=LAW, values=f"{len(found) - len(given)} repeats in Redis"))
    if not expected:
        wrong.append(Broken(law=LAW, values="the undisturbed run gave none"))
    for key in sorted(wanted.keys() | given.keys()):
        one, other = wanted.get(key), given.get(key)
        if one is None or other is None or not _equal(one, other):
            wrong.append(Broken(law=LAW, values=f"{key}: {_shown(one)} became {_shown(other)}"))
    return wrong


def _equal(one: ActionEvent, other: ActionEvent) -> bool:
    scores = ((event.score, event.peak_score, event.mean_score) for event in (one, other))
    near = all(abs(a - b) <= SLACK for a, b in zip(*scores, strict=True))
    return near and _exact(one) == _exact(other)


def _exact(event: ActionEvent) -> ActionEvent:
    return replace(
        event, score=0.0, peak_score=0.0, mean_score=0.0, published_at=None, latency_ms=None
    )


def _shown(event: ActionEvent | None) -> str:
    if event is None:
        return "nothing"
    return f"{event.type} to {event.last_window}, {event.end_pts_s} s, {list(event.flags)}"


def _start(
    server: RedisServer, config: Path, state: Path, clips: Sequence[str]
) -> subprocess.Popen[bytes]:
    call = "from actors.cli import main; main()"
    paths = [str(clip(name)) for name in clips]
    where = ("--redis", f"redis://127.0.0.1:{server.port}", "--state-dir", str(state))
    return subprocess.Popen(
        [sys.executable, "-c", call, "analyze", *paths, "--config", str(config), *where],
        env=os.environ | {"NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _finish(server: RedisServer, config: Path, state: Path, clips: Sequence[str]) -> float:
    """Run to the end; how long the work took, without the imports before it."""
    with _start(server, config, state, clips) as child:
        try:
            began_s = _begun(child)
            _, said = child.communicate(timeout=LIMIT_S)
        finally:
            child.kill()
    assert child.returncode == 0, said.decode()
    return time.monotonic() - began_s


def _kill(
    server: RedisServer, config: Path, state: Path, clips: Sequence[str], after_s: float
) -> None:
    with _start(server, config, state, clips) as child:
        try:
            _begun(child)
            with suppress(subprocess.TimeoutExpired):
                child.communicate(timeout=after_s)
        finally:
            child.kill()


def _begun(child: subprocess.Popen[bytes]) -> float:
    """Wait for its first line, which says where events go; the moment at which it came."""
    assert child.stderr is not None
    assert child.stderr.readline(), "it ended before it began"
    return time.monotonic()


def _stored(server: RedisServer) -> list[ActionEvent]:
    with server.client() as client:
        return [wire.from_fields(fields) for _, fields in client.xrange(wire.events_key())]
