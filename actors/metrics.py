"""What Prometheus reads, made from what is seen at the moment of the scrape.

Nothing is counted here: counters are those of the stages, so none is counted twice, and one falls
back to 0 where a process was started again, as Prometheus expects of counters. Names of streams are
labels; addresses never are. docs/operations.md says what each means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from actors.seen import Part, Process, Seen
from actors.snapshot import StreamSnapshot
from pipeline.latency import Histogram
from pipeline.printable import printable
from pipeline.sink import OutboxState
from pipeline.stream import CameraState
from pipeline.subscribe import GroupState
from pipeline.tally import Tally

PREFIX = "actionstream"
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64)

Rows = Iterable[tuple[tuple[str, ...], float]]
"""Values of labels, and the number."""


def families(seen: Seen) -> Iterator[Metric]:
    """Every metric of a deployment."""
    yield from _streams(seen.streams)
    yield from _by_reason(seen.streams)
    yield _latency(seen)
    yield from _parts(seen)
    yield _batches(seen.parts)
    for outbox in (part.answer.outbox for part in seen.parts if part.answer):
        if outbox is not None:
            yield from _outbox(outbox)
    yield from _groups(seen.groups)


COUNTERS: dict[str, tuple[str, Callable[[Tally], float]]] = {
    "pictures_in": ("Pictures that came out of the decoder", lambda t: t.pictures),
    "pictures_corrupt": ("Pictures with concealed damage, kept or not", lambda t: t.corrupt),
    "samples": ("Grid points filled", lambda t: t.points),
    "samples_repeated": ("Grid points that repeat a picture", lambda t: t.repeated),
    "packets_damaged": ("Packets that the decoder refused", lambda t: t.damaged_packets),
    "sessions": ("Sessions that have ended", lambda t: t.sessions),
    "sessions_short": ("Live sessions too short for a window", lambda t: t.short_sessions),
    "reconnects": ("Connections that failed or were lost", lambda t: t.reconnects),
    "stalls": ("Times that a connected camera sent nothing", lambda t: t.states["stalled"]),
    "threads_hung": ("Threads left behind in FFmpeg", lambda t: t.hung),
    "windows_made": ("Windows made", lambda t: t.windows),
    "windows_partial": ("Windows made at the end of a session", lambda t: t.partial),
    "events": ("Lines published about actions", lambda t: t.events),
}
"""Of one stream: name, what it counts, where it stands."""

REASONS: dict[str, tuple[str, str, Callable[[Tally], Mapping[str, int]]]] = {
    "packets_dropped": (
        "reason",
        "A camera's packets that never reached the decoder",
        lambda t: t.packets_dropped,
    ),
    "session_gaps": ("reason", "Sessions that ended with something missing", lambda t: t.gaps),
    "faults": ("fault", "Why connections failed or were lost", lambda t: t.faults),
    "state_changes": ("state", "How often it came into each state", lambda t: t.states),
}
"""Of one stream, by something: the label, what it counts, where it stands."""


def _streams(streams: Iterable[StreamSnapshot]) -> Iterator[Metric]:
    for name, (text, count) in COUNTERS.items():
        rows = [((each.stream_id,), count(each.tally)) for each in streams]
        yield _counter(name, text, ("stream",), rows)
    states = ((each, _states_of(each)) for each in streams)
    yield _gauge(
        "stream_state",
        "1 for the state that the stream is in",
        ("stream", "state"),
        (
            ((each.stream_id, state), float(state == each.state))
            for each, known in states
            for state in known
        ),
    )
    yield _gauge(
        "stream_state_since_seconds",
        "Unix time at which it came into that state",
        ("stream",),
        (((each.stream_id,), each.since_s) for each in streams),
    )
    yield _gauge(
        "ring_bytes",
        "Pixels that a stream's ring holds",
        ("stream",),
        (((each.stream_id,), each.tally.ring_bytes) for each in streams),
    )


def _states_of(stream: StreamSnapshot) -> list[str]:
    known = [state.value for state in CameraState]
    return known if stream.state in known else [*known, stream.state]


def _by_reason(streams: Iterable[StreamSnapshot]) -> Iterator[Metric]:
    """Pictures and windows by what became of them; the rest by its one label."""
    yield _counter(
        "pictures",
        "What became of pictures",
        ("stream", "outcome", "reason"),
        (
            ((each.stream_id, *outcome), count)
            for each in streams
            for outcome, count in _picture_outcomes(each.tally)
        ),
    )
    yield _counter(
        "windows",
        "What became of windows",
        ("stream", "outcome", "reason"),
        (
            ((each.stream_id, *outcome), count)
            for each in streams
            for outcome, count in _window_outcomes(each.tally)
        ),
    )
    for name, (label, text, counts) in REASONS.items():
        yield _counter(
            name,
            text,
            ("stream", label),
            (
                ((each.stream_id, value), count)
                for each in streams
                for value, count in counts(each.tally).items()
            ),
        )


def _picture_outcomes(tally: Tally) -> Iterator[tuple[tuple[str, str], int]]:
    yield ("sampled", ""), tally.sampled
    yield ("skipped", ""), tally.skipped
    for reason, count in tally.dropped.items():
        yield ("dropped", reason), count


def _window_outcomes(tally: Tally) -> Iterator[tuple[tuple[str, str], int]]:
    yield ("scored", ""), tally.scored
    for reason, count in tally.windows_dropped.items():
        yield ("dropped", reason), count


def _latency(seen: Seen) -> Metric:
    family = HistogramMetricFamily(
        f"{PREFIX}_latency_seconds",
        "How long windows took, by stage; end_to_end is window + queue + inference + publish",
        labels=("stream", "stage"),
    )

    def add(stream: str, stage: str, histogram: Histogram) -> None:
        buckets = [(_bound(bound_s), float(below)) for bound_s, below in histogram.buckets()]
        family.add_metric((stream, stage), buckets=buckets, sum_value=histogram.sum_s)

    for each in seen.streams:
        for stage in ("decode", "window", "queue", "inference"):
            add(each.stream_id, stage, getattr(each.tally.latency, stage))
    known = {each.stream_id for each in seen.streams}
    for part in seen.parts:
        for stream, latency in part.answer.latency.items() if part.answer else ():
            if stream in known:
                add(stream, "publish", latency.publish)
                add(stream, "end_to_end", latency.end_to_end)
    return family


def _batches(parts: Iterable[Part]) -> Metric:
    family = HistogramMetricFamily(
        f"{PREFIX}_batch_windows", "Windows per batch of the network", labels=("recognizer",)
    )
    for part in parts:
        if part.role != "recognizer" or part.answer is None:
            continue
        sizes = part.answer.batch_sizes
        buckets = [
            (_bound(bound), float(sum(count for size, count in sizes.items() if size <= bound)))
            for bound in (*BATCH_BOUNDS, float("inf"))
        ]
        windows = sum(size * count for size, count in sizes.items())
        family.add_metric((part.name,), buckets=buckets, sum_value=windows)
    return family


def _bound(value: float) -> str:
    return "+Inf" if value == float("inf") else str(float(value))


def _parts(seen: Seen) -> Iterator[Metric]:
    yield _counter("restarts", "Actors started again", (), [((), seen.restarts)])
    yield _gauge(
        "part_up",
        "1 if the actor answered in time",
        ("part", "role"),
        (((part.name, part.role), float(part.answer is not None)) for part in seen.parts),
    )
    processes = [
        ((part.name, part.role), part.answer.process)
        for part in seen.parts
        if part.answer and part.answer.process
    ]
    if seen.process:
        processes.append((("supervisor", "supervisor"), seen.process))
    for name, (text, value) in PROCESS.items():
        rows = [(labels, value(process)) for labels, process in processes]
        yield _gauge(name, text, ("part", "role"), rows)


PROCESS: dict[str, tuple[str, Callable[[Process], float]]] = {
    "process_resident_bytes": (
        "Resident memory; Ray's shared memory counts wherever it was touched",
        lambda process: process.resident_bytes,
    ),
    "process_threads": ("Threads of the process", lambda process: process.threads),
    "process_descriptors": ("Open file descriptors", lambda process: process.descriptors),
    "process_references": ("Ray's objects that it knows of", lambda process: process.references),
}


def _outbox(state: OutboxState) -> Iterator[Metric]:
    yield _gauge("outbox_events", "Events that wait for Redis", (), [((), state.waiting)])
    yield _gauge("outbox_bytes", "Bytes of events that wait for Redis", (), [((), state.bytes)])
    yield _gauge(
        "outbox_oldest_age_seconds",
        "How long the oldest event has waited for Redis",
        (),
        [((), state.oldest_age_s)],
    )
    yield _gauge(
        "outbox_flow",
        "1 for how events go to Redis; refused is for somebody to repair",
        ("flow",),
        (((flow,), flow == state.delivery.flow) for flow in ("flowing", "waiting", "refused")),
    )
    yield _gauge(
        "outbox_disk_ok",
        "1 if the disk takes events; else they are kept in memory",
        (),
        [((), not state.trouble)],
    )
    took = HistogramMetricFamily(
        f"{PREFIX}_outbox_delivery_seconds",
        "How long events took from disk until Redis had acknowledged them",
    )
    buckets = [(_bound(bound_s), float(below)) for bound_s, below in state.delivery_took.buckets()]
    took.add_metric((), buckets=buckets, sum_value=state.delivery_took.sum_s)
    yield took
    yield _counter("outbox_repeats", "Events that Redis had already", (), [((), state.repeats)])
    yield _counter(
        "outbox_dropped",
        "Events that the outbox had no room for",
        ("stream", "reason"),
        state.dropped.items(),
    )


def _groups(groups: Iterable[GroupState]) -> Iterator[Metric]:
    """Of whoever reads the events from Redis."""
    rows = [((printable(group.name),), group) for group in groups]  # others named it: any bytes
    for name, (text, value) in GROUPS.items():
        yield _gauge(name, text, ("group",), [(labels, value(each)) for labels, each in rows])


GROUPS: dict[str, tuple[str, Callable[[GroupState], float]]] = {
    "group_consumers": ("Consumers of a group", lambda group: group.consumers),
    "group_pending_events": ("Given to a consumer, not acknowledged", lambda group: group.pending),
    "group_lost_events": (
        "Trimmed before the group read them, until it reads on",
        lambda group: group.lost,
    ),
    "group_lag_events": ("Not given to a consumer of the group yet", lambda group: group.lag),
}


def _counter(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _gauge(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for values, number in rows:
        family.add_metric(values, float(number))
    return family
