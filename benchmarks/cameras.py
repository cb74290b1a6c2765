"""Cameras on loopback, and a deployment that looks at them, for the benchmarks of the live side.

The cameras are real ones to whoever connects: RTSP over TCP, at their own pace, each a client of a
child process that plays one encoded video in a loop. Nothing is encoded; sixteen cameras of 640x360
at 25 pictures/s take 4 % of a core.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Event, Thread

from actors.cluster import run_name
from actors.seen import Seen, look
from actors.snapshot import StreamState
from actors.supervisor import Supervisor
from benchmarks.measure import cpu_times_s
from pipeline.broker import open_broker
from pipeline.cameras import CameraKnobs
from pipeline.config import Config, RedisConfig
from pipeline.latency import Histogram
from pipeline.model import Recognizer
from pipeline.settle import origin_of, settle
from pipeline.source import CameraSource, parse_address
from pipeline.tally import Tally

FPS = 25
START_S = 120.0  # for every camera to stream, and at the end to be gone


def out_of_phase(host: str, count: int, *, sample_fps: float, every_s: float) -> list[CameraSource]:
    """Cameras whose windows come one camera after the other, if each has one ``every_s``."""
    return [
        CameraSource(
            stream_id=f"camera {n}",
            address=parse_address(f"{host}/{n},turn={every_s:.6f},phase={n * every_s / count:.6f}"),
            knobs=CameraKnobs(sample_fps=Fraction(sample_fps).limit_denominator(1000)),
        )
        for n in range(count)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a deployment had done at some time."""

    at_s: float
    """Monotonic."""
    states: Mapping[str, StreamState]
    seen: Seen
    cpu_s: tuple[float, float]
    """That all programs of the machine had used, and that there was."""

    @property
    def tallies(self) -> dict[str, Tally]:
        """Of every stream."""
        return {name: state.tally for name, state in self.states.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What it did between two moments."""

    first: Moment
    last: Moment

    @property
    def length_s(self) -> float:
        """How long that was."""
        return self.last.at_s - self.first.at_s

    @property
    def load(self) -> float:
        """The share of the machine's CPUs that was in use, by all programs together."""
        (used_s, whole_s), (used_before_s, whole_before_s) = self.last.cpu_s, self.first.cpu_s
        return (used_s - used_before_s) / (whole_s - whole_before_s)

    def of(self, count: Callable[[Tally], int]) -> dict[str, int]:
        """How much a count grew, by stream."""
        before = self.first.tallies
        return {
            name: count(tally) - (count(before[name]) if name in before else 0)
            for name, tally in self.last.tallies.items()
        }

    def rate(self, count: Callable[[Tally], int]) -> float:
        """How much it grew a second, in all streams."""
        return sum(self.rates(count).values())

    def rates(self, count: Callable[[Tally], int]) -> dict[str, float]:
        """The same by stream: each was counted at a time of its own."""
        rates = {}
        for name, grown in self.of(count).items():
            before = self.first.states.get(name)
            last_s = self.last.states[name].counted_s
            length_s = last_s - before.counted_s if before else self.length_s
            rates[name] = grown / length_s
        return rates

    def dropped(self) -> Counter[str]:
        """Windows by the reason why they were never scored."""
        reasons = {reason for t in self.last.tallies.values() for reason in t.windows_dropped}
        counts: Counter[str] = Counter()
        for reason in reasons:
            grown = self.of(lambda t, reason=reason: t.windows_dropped[reason])  # type: ignore[misc]
            counts[reason] += sum(grown.values())
        return +counts

    def decode(self) -> Histogram:
        """How long pictures took from their packet to the small picture."""
        return _sum(t.latency.decode for t in self.last.tallies.values()) - _sum(
            t.latency.decode for t in self.first.tallies.values()
        )

    def stages_ms(self) -> dict[str, float]:
        """Of each stage, the mean in milliseconds."""
        means = {}
        for stage in ("window", "queue", "inference"):
            last = _sum(getattr(t.latency, stage) for t in self.last.tallies.values())
            first = _sum(getattr(t.latency, stage) for t in self.first.tallies.values())
            means[stage] = _mean_ms(last - first)
        means["publish"] = _mean_ms(
            _published(self.last.seen, "publish") - _published(self.first.seen, "publish")
        )
        return means

    def end_to_end(self) -> Histogram:
        """How long windows took from their last picture until their events were on disk."""
        last, first = self.last.seen, self.first.seen
        return _published(last, "end_to_end") - _published(first, "end_to_end")


class Deployment:
    """A supervisor at work, as ``actionstream run`` has it."""

    def __init__(self, supervisor: Supervisor, config: Config) -> None:
        self.config = config
        self._supervisor = supervisor

    def attach(self, sources: Sequence[CameraSource]) -> None:
        """Add cameras, and wait until each has scored its first window."""
        for source in sources:
            self._supervisor.attach(source)
        self._wait(lambda: all(t.scored for t in self._supervisor.tallies.values()), "windows")

    def detach(self, sources: Sequence[CameraSource]) -> list[str]:
        """Let them go; the laws that their counts break."""
        names = [source.stream_id for source in sources]
        for name in names:
            self._supervisor.detach(name)
        self._wait(lambda: not any(map(self._supervisor.has, names)), "an end")
        return [
            f"{outcome.stream_id}: {law}"
            for outcome in self._supervisor.outcomes
            if outcome.stream_id in names
            for law in outcome.tally.balance()
        ]

    def moment(self) -> Moment:
        """What was done up to now."""
        seen = look(self._supervisor)
        self._supervisor.step()
        return Moment(
            at_s=time.monotonic(),
            states=self._supervisor.states,
            seen=seen,
            cpu_s=cpu_times_s(),
        )

    def during(self, length_s: float) -> Stretch:
        """Let it work for so long."""
        first, last = self.moments(length_s, 1)
        return Stretch(first=first, last=last)

    def moments(self, length_s: float, parts: int) -> list[Moment]:
        """Let it work for so long, looked at in between, too."""
        moments = [self.moment()]
        for n in range(parts):
            due_s = moments[0].at_s + length_s * (n + 1) / parts
            time.sleep(max(0.0, due_s - time.monotonic()))
            moments.append(self.moment())
        return moments

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + START_S
        while not condition():
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"waited {START_S:g} s for {what}: {self._supervisor.states}")
            time.sleep(0.05)


@contextmanager
def deployment(config: Config, recognizer: Recognizer) -> Iterator[Deployment]:
    """A deployment without a camera, with a Redis of its own; within ``actors.cluster.cluster``."""
    settings, stop = settle(config, recognizer.spec), Event()
    origin = origin_of(recognizer, settings)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            supervisor.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    with (
        open_broker(config.redis),
        Supervisor(
            [], config, settings, origin, redis=config.redis, stays=True, name=run_name()
        ) as supervisor,
    ):
        worker = Thread(target=work)
        worker.start()
        try:
            yield Deployment(supervisor, config)
        finally:
            stop.set()
            worker.join()
    if failures:
        raise failures[0]


@contextmanager
def private_redis() -> Iterator[RedisConfig]:
    """A Redis that nobody else knows, and its folder; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="as-"))
    try:
        yield RedisConfig(state_dir=folder / "state")
    finally:
        shutil.rmtree(folder)


def _sum(histograms: Iterator[Histogram]) -> Histogram:
    return sum(histograms, Histogram())


def _mean_ms(histogram: Histogram) -> float:
    return 1000 * histogram.sum_s / max(1, histogram.total)


def _published(seen: Seen, stage: str) -> Histogram:
    return _sum(
        getattr(latency, stage)
        for part in seen.parts
        if part.answer
        for latency in part.answer.latency.values()
    )
