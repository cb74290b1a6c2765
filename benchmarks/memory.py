"""Memory over 10,000 pictures: bytes of the ring as computed, and a process that doesn't grow."""

import sys
from pathlib import Path
from threading import Event

from benchmarks.measure import h264, verdict
from pipeline.config import Config
from pipeline.model import load
from pipeline.settle import settle
from pipeline.source import FileSource
from pipeline.stream import windows
from pipeline.tally import Tally
from pipeline.window import Windower, ring_bytes

PICTURES = 10_000
ALLOWED_MB = 8  # allocators round up; a leak of one sampled picture each would be 120 MB


def resident_mb() -> float:
    """Resident set of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def main() -> bool:
    """Measure; were both promises kept?"""
    settings = settle(Config(), load("default", device="cpu").spec)
    size_px = settings.picture.size_px
    ring = Windower(settings.window, size_px=size_px, tally=Tally()).nbytes
    computed = ring_bytes(settings.window, size_px)
    print(f"{'ok  ' if ring == computed else 'LOW '} ring: {ring:,} bytes, computed {computed:,}")
    source = FileSource(path=h264(640, 360, seconds=20), stream_id="bench")
    done, first_mb = 0, 0.0
    while done < PICTURES:
        tally = Tally()
        for _ in windows(source, settings, tally=tally, stop=Event()):
            pass
        done += tally.pictures
        first_mb = first_mb or resident_mb()
    grown_mb = resident_mb() - first_mb
    ratio = ALLOWED_MB / max(grown_mb, ALLOWED_MB / 10)
    detail = f"{grown_mb:+.1f} MB after {done:,} pictures, {ALLOWED_MB} allowed"
    return verdict("memory", ratio, 1.0, detail) and ring == computed


if __name__ == "__main__":
    sys.exit(not main())
