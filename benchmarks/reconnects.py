"""Does anything grow with each reconnect? ``python -m benchmarks.reconnects [CYCLES]``.

A camera on loopback (a child process) is connected, streams a few pictures, and is lost, in all the
ways there are, again and again. After a tenth of the cycles, memory, threads and descriptors are
noted; at the end they must be where they were.
"""

import resource
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Event, active_count

from benchmarks.measure import camera_host, h264
from pipeline.cameras import CameraKnobs, RetryConfig
from pipeline.settings import EventSpec, GridSpec, PictureSpec, Settings, WindowSpec
from pipeline.source import CameraSource, parse_address
from pipeline.stream import live_windows
from pipeline.tally import Tally

CYCLES = 2000
FAULTS = (
    "gate,end=8",
    "gate,cut=8",
    "gate,cut=8,corrupt=3",
    "gate,missing=1",
    "gate,deny=1",
    "gate,end=8,start=5",
)
"""Paths of the misbehaving camera, in turn."""

MAX_GROWTH_MIB = 8.0  # of the allocator's own making: a leak of 5 KiB per cycle shows at 2,000

SETTINGS = Settings(
    grid=GridSpec(sample_fps=Fraction(8)),
    picture=PictureSpec(size_px=96, short_side_px=96),
    window=WindowSpec(frames=4, hop=2),
    events=EventSpec(),
)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a process holds."""

    mib: float
    threads: int
    descriptors: int

    def __str__(self) -> str:
        return f"{self.mib:.1f} MiB, {self.threads} threads, {self.descriptors} descriptors"


def holdings() -> Holdings:
    """Of this process, now; memory is what it has that nobody shares."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    kib = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return Holdings(kib / 1024, active_count(), descriptors)


def cycle(address: str, number: int, tally: Tally) -> None:
    """One connection and its loss, as a camera in a deployment has it."""
    retry = RetryConfig(initial_delay_s=0.001, max_delay_s=0.001, max_attempts=1)
    knobs = CameraKnobs(retry=retry, open_timeout_s=5, frame_timeout_s=5)
    url = f"{address}/{FAULTS[number % len(FAULTS)]},speed=10"
    source = CameraSource(stream_id="gate", address=parse_address(url), knobs=knobs)
    stream = live_windows(
        source, SETTINGS, tally=tally, threads=1, stop=Event(), report=lambda *_: None
    )
    try:
        for _ in stream:
            pass
    except OSError:
        return
    raise AssertionError("the camera was to be given up")


def grown(cycles: int) -> tuple[Holdings, Holdings, Tally]:
    """What is held after a tenth of the cycles, and after all of them."""
    tally = Tally()
    with camera_host(h264(320, 180, seconds=2)) as address:
        early = holdings()
        for number in range(cycles):
            cycle(address, number, tally)
            if number == cycles // 10:
                early = holdings()
        settle(early.threads)
        return early, holdings(), tally


def settle(threads: int) -> None:
    """Give threads that are on their way out a moment."""
    deadline_s = time.monotonic() + 5
    while active_count() > threads and time.monotonic() < deadline_s:
        time.sleep(0.01)


def main() -> int:
    cycles = int(sys.argv[1]) if len(sys.argv) > 1 else CYCLES
    began_s = time.monotonic()
    early, late, tally = grown(cycles)
    print(f"after {cycles // 10} cycles: {early}")
    print(f"after {cycles} cycles: {late}")
    print(f"pictures {tally.pictures}, faults {dict(tally.faults)}, hung {tally.hung}")
    flat = (
        late.mib - early.mib <= MAX_GROWTH_MIB
        and late.threads <= early.threads
        and late.descriptors <= early.descriptors
    )
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = cycles / (time.monotonic() - began_s)
    print(f"{'ok   ' if flat else 'GROWS'} {rate:.1f} cycles/s, peak {peak_mib:.0f} MiB")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
