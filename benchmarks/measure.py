"""What the benchmarks share: material, taking turns, and the line that is printed."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import gettempdir
from threading import Event

import av

from pipeline.config import Config
from pipeline.model import load_from
from pipeline.records import Window
from pipeline.settle import settle
from pipeline.source import FileSource
from pipeline.stream import windows
from pipeline.tally import Tally

FOOTAGE = Path(__file__).parent.parent / ".footage" / "room.webm"
CACHE = Path(gettempdir()) / "actionstream-benchmarks"


def h264(width: int, height: int, *, seconds: int, fps: int = 25, camera: bool = False) -> Path:
    """Real footage at a size, as H.264 with GOPs of two seconds; made once.

    With B-frames, or without as a ``camera`` sends it.
    """
    path = CACHE / f"{width}x{height}-{seconds}s-{fps}fps{'-camera' if camera else ''}.mp4"
    if path.exists():
        return path
    CACHE.mkdir(exist_ok=True)
    partial = path.with_suffix(".part")
    number, wanted = 0, seconds * fps
    options = {"preset": "veryfast", "g": str(2 * fps)} | ({"bf": "0"} if camera else {})
    with av.open(str(partial), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        while number < wanted:
            with av.open(str(FOOTAGE)) as container:
                for frame in container.decode(video=0):
                    if number == wanted:
                        break
                    scaled = frame.reformat(width=width, height=height, format="yuv420p")
                    scaled.pts, scaled.time_base = number, Fraction(1, fps)
                    out.mux(stream.encode(scaled))
                    number += 1
        out.mux(stream.encode(None))
    partial.replace(path)
    return path


@contextmanager
def camera_host(video: Path) -> Iterator[str]:
    """Address of a host whose every path is a camera; see ``tests.chaos.rtsp`` for paths."""
    child = Popen(
        [sys.executable, "-m", "tests.chaos.rtsp", str(video)], stdin=PIPE, stdout=PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield f"rtsp://127.0.0.1:{int(child.stdout.readline())}"
    finally:
        child.kill()
        child.communicate()


def cpu_times_s() -> tuple[float, float]:
    """What the machine's programs have used of its CPUs, and what there was; Linux alone tells."""
    user, nice, system, idle, waiting, *others = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    used = user + nice + system + sum(others)
    return used * tick_s, (used + idle + waiting) * tick_s


def windows_of(path: Path, config: Config | None = None) -> list[Window]:
    """Every window of a file, as the config's model wants them."""
    config = config or Config()
    settings = settle(config, load_from(config.model).spec)
    source = FileSource(path=path, stream_id=str(path))
    items = windows(source, settings, tally=Tally(), stop=Event())
    return [item for item in items if isinstance(item, Window)]


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def middle_rate(times_s: Sequence[float], margin: int) -> float:
    """Answers per second in the middle of a run: neither its start nor its end counts.

    Answers come in clumps (batches), so the clock starts and stops in a pause: the longest of
    ``margin`` answers, after as many that don't count.
    """
    first = _pause(times_s, margin, 2 * margin)
    last = _pause(times_s, len(times_s) - 2 * margin, len(times_s) - margin)
    return (last - first) / (times_s[last] - times_s[first])


def _pause(times_s: Sequence[float], begin: int, end: int) -> int:
    """The answer within this range after which the longest pause came."""
    return max(range(begin, end), key=lambda n: times_s[n + 1] - times_s[n])


def cpu_seconds() -> float:
    """CPU time so far of this process and all that descend from it, from Linux's /proc."""
    parents, ticks = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks[pid] for pid in family) / os.sysconf("SC_CLK_TCK")


def in_turn(*works: Callable[[], float], rounds: int = 5) -> list[float]:
    """The median of what each returns, called in turn after one round that isn't counted."""
    results: Sequence[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, kept in zip(works, results, strict=True):
            value = work()
            if number:
                kept.append(value)
    return [statistics.median(kept) for kept in results]


def verdict(name: str, ratio: float, bound: float, detail: str, *, most: bool = False) -> bool:
    """Print one line; was the promise kept? The bound is the least, or the ``most``."""
    kept = ratio <= bound if most else ratio >= bound
    word, said = ("most", "HIGH") if most else ("least", "LOW ")
    print(f"{'ok  ' if kept else said} {name}: {ratio:.2f} (at {word} {bound:g}); {detail}")
    sys.stdout.flush()
    return kept
