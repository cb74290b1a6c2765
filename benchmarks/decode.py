"""Pictures per second through source + decode + window, over a bare decode loop."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event

import av

from benchmarks.measure import h264, in_turn, seconds, verdict
from pipeline.config import Config
from pipeline.model import load
from pipeline.settle import settle
from pipeline.source import FileSource
from pipeline.stream import windows
from pipeline.tally import Tally

CASES = ((1920, 1080, 0.8), (640, 360, 0.6))
SECONDS = 20


def bare(path: Path) -> int:
    """Decode and look at nothing; threads as ours."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


SETTINGS = settle(Config(), load("default", device="cpu").spec)


def ours(path: Path) -> int:
    """The three stages, 8 samples/s, as the default model wants its windows."""
    tally = Tally()
    source = FileSource(path=path, stream_id="bench")
    for _ in windows(source, SETTINGS, tally=tally, stop=Event()):
        pass
    return tally.pictures


def rate(reader: Callable[[Path], int], path: Path, pictures: int) -> float:
    """Pictures per second."""
    return pictures / seconds(lambda: reader(path))


def main() -> bool:
    """Measure each size; were all promises kept?"""
    kept = []
    for width, height, at_least in CASES:
        path = h264(width, height, seconds=SECONDS)
        pictures = bare(path)
        assert pictures == ours(path)
        rate_ours, rate_bare = in_turn(
            partial(rate, ours, path, pictures), partial(rate, bare, path, pictures)
        )
        detail = f"{rate_ours:.0f} of {rate_bare:.0f} pictures/s"
        kept.append(verdict(f"decode {width}x{height}", rate_ours / rate_bare, at_least, detail))
    return all(kept)


if __name__ == "__main__":
    sys.exit(not main())
