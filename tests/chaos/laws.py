"""What must hold after any faults: nothing is lost silently, and no event is lost at all.

Each law takes the evidence and yields where it is broken. How sharp each can be while a deployment
runs: a tally is copied while its stream counts (``TORN``), and a lane holds two windows that are on
their way and the newest, which waits for them (``UNDERWAY``).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

from pipeline.records import ActionEvent, EventType, Flag
from tests.chaos.evidence import Broken, Evidence, lives_of
from tests.chaos.plan import OF_NETWORK, OF_REDIS, Kind
from tests.chaos.watch import Scrape

TORN = 2  # pictures
UNDERWAY = 3 + 1  # windows; and one whose count is torn
SLOW_S = 3.0  # a write to Redis on a busy machine

MAX_MIB = {"camera": 700, "recognizer": 900, "publisher": 500, "supervisor": 700}
MAX_THREADS = 250  # Ray's own are about 60 in each
MAX_DESCRIPTORS = 400

Law = Callable[[Evidence], Iterator[Broken]]


def pictures(evidence: Evidence) -> Iterator[Broken]:
    """Pictures in = sampled + skipped + dropped."""
    yield from _balance(evidence, "pictures_in_total", "pictures_total", TORN)


def windows(evidence: Evidence) -> Iterator[Broken]:
    """Windows made = scored + dropped, and few on their way."""
    yield from _balance(evidence, "windows_made_total", "windows_total", UNDERWAY)


def _balance(evidence: Evidence, came: str, went: str, slack: int) -> Iterator[Broken]:
    for scrape in evidence.scrapes:
        yield from _balanced(scrape, came, went, slack)
    yield from _balanced(evidence.last, came, went, 0)


def _balanced(scrape: Scrape, came: str, went: str, slack: int) -> Iterator[Broken]:
    for stream in scrape.streams:
        whole, parts = scrape.sum(came, stream=stream), scrape.sum(went, stream=stream)
        if not -TORN * bool(slack) <= whole - parts <= slack:
            values = f"{stream}: {came} {whole:g}, {went} {parts:g}, at most {slack} on their way"
            yield Broken(law="nothing is lost silently", values=values, at_s=scrape.at_s)


def kept(evidence: Evidence) -> Iterator[Broken]:
    """Counts of a life of the deployment outlive the part that counted."""
    for before, after in pairwise([*evidence.scrapes, evidence.last]):
        if before.life != after.life:
            continue
        for name in ("pictures_in_total", "windows_made_total", "events_total"):
            for stream in after.streams:
                was, now = (each.sum(name, stream=stream) for each in (before, after))
                if now < was:
                    values = f"{stream}: {name} fell from {was:g} to {now:g}"
                    yield Broken(law="counts don't fall", values=values, at_s=after.at_s)


def sequences(evidence: Evidence) -> Iterator[Broken]:
    """Of each event: 0, 1, 2 … once each, begun by a start, ended by its only end."""
    law = "each event is 0, 1, 2 … and ends once"
    for event_id, lines in lives_of(evidence.stored).items():
        seqs = [line.seq for line in lines]
        types = [line.type.value for line in lines]
        told = f"{lines[0].stream_id} {event_id} {lines[0].label!r}: seq {seqs}, {types}"
        if seqs != list(range(len(seqs))) or types[0] != EventType.START:
            yield Broken(law=law, values=told, at_s=lines[0].published_at)
        elif types.count(EventType.END) != 1 or types[-1] != EventType.END:
            yield Broken(law=law, values=told, at_s=lines[-1].published_at)


def interrupted(evidence: Evidence) -> Iterator[Broken]:
    """The flag is there where a kill was, and nowhere else."""
    killers = list(evidence.kills(Kind.KILL_CAMERA, Kind.KILL_PUBLISHER, Kind.KILL_DEPLOYMENT))
    for lines in lives_of(evidence.stored).values():
        first, last = lines[0], lines[-1]
        began_s, ended_s = _known_s(first), last.published_at or 0.0
        told = f"{first.stream_id} {first.event_id} {first.label!r} {last.flags}"
        inside = [
            kill for kill in killers if began_s - SLOW_S <= kill.over_s and kill.at_s <= ended_s
        ]
        if Flag.INTERRUPTED in last.flags and not inside:
            yield Broken(law="interrupted only by a kill", values=told, at_s=ended_s)
        for kill in inside:
            sure = began_s + SLOW_S < kill.at_s and kill.over_s + SLOW_S < ended_s
            if kill.fault.kind is Kind.KILL_CAMERA or not sure or Flag.INTERRUPTED in last.flags:
                continue
            if not _delayed(evidence, kill.at_s, ended_s):
                yield Broken(law="a kill interrupts what is open", values=told, at_s=kill.at_s)


def _known_s(event: ActionEvent) -> float:
    """When its window was there: its line may have waited on disk, beyond a kill."""
    return (event.published_at or 0.0) - (event.latency_ms or 0.0) / 1000


def _delayed(evidence: Evidence, kill_s: float, ended_s: float) -> bool:
    """Was Redis away before the kill, so that an end may have waited on disk?"""
    return any(kill_s - 20 <= one.at_s <= ended_s for one in evidence.kills(*OF_NETWORK, *OF_REDIS))


def times(evidence: Evidence) -> Iterator[Broken]:
    """Of an event they never go back; what begins in a session is in order."""
    law = "times never decrease within a session"
    begun: dict[str, int] = {}
    for event in evidence.stored:
        if event.type is EventType.START:
            before = begun.get(event.session_id, 0)
            begun[event.session_id] = event.first_window
            if event.first_window < before:
                values = f"{event.stream_id}: a start at {event.first_window} after {before}"
                yield Broken(law=law, values=values, at_s=event.published_at)
    for lines in lives_of(evidence.stored).values():
        held = [line.last_window for line in lines]
        starts = {(line.start_pts_s, line.first_window, line.session_id) for line in lines}
        end_s = lines[-1].end_pts_s
        if held != sorted(held) or len(starts) > 1 or (end_s or 1e9) < lines[0].start_pts_s:
            told = f"{lines[0].stream_id} {lines[0].event_id}: {starts}, held {held}, end {end_s}"
            yield Broken(law=law, values=told, at_s=lines[-1].published_at)


def counted(evidence: Evidence) -> Iterator[Broken]:
    """What was counted as an event is in Redis."""
    stored = Counter(event.stream_id for event in evidence.stored)
    counted: Counter[str] = Counter()
    last: dict[str, float] = {}
    for scrape in [*evidence.scrapes, evidence.last]:
        for stream in scrape.streams:
            now = scrape.sum("events_total", stream=stream)
            counted[stream] += int(now - last.get(stream, 0) if now >= last.get(stream, 0) else now)
            last[stream] = now
    for stream, count in counted.items():
        if stored[stream] < count:
            values = f"{stream}: {count} were counted, {stored[stream]} are in Redis"
            yield Broken(law="an event that exists is in Redis", values=values)
    if sum(stored.values()) == 0:
        yield Broken(law="an event that exists is in Redis", values="there is none at all")


def delivered(evidence: Evidence) -> Iterator[Broken]:
    """The subscriber has each event of the stream, and nothing else."""
    law = "the subscriber gets every event"
    stored = {(event.event_id, event.seq) for event in evidence.stored}
    missing, strange = stored - set(evidence.handled), set(evidence.handled) - stored
    if missing or strange:
        values = f"missing {sorted(missing)[:3]} of {len(missing)}, strange {sorted(strange)[:3]}"
        yield Broken(law=law, values=values)
    if evidence.dead_letters:
        yield Broken(law=law, values=f"{evidence.dead_letters} dead letters")
    if evidence.left_over:
        yield Broken(law="the outbox is empty at the end", values=f"{evidence.left_over} wait")


def settled(evidence: Evidence) -> Iterator[Broken]:
    """All is well again once the faults are over."""
    if evidence.settled_after_s is None:
        yield Broken(law="all is well again after the faults", values=evidence.unsettled)


def bounded(evidence: Evidence) -> Iterator[Broken]:
    """No process holds too much."""
    worst: dict[str, str] = {}
    for sight in evidence.sights:
        held = sight.holdings
        too_big = held.mib > MAX_MIB.get(sight.role, float("inf"))
        if too_big or held.threads > MAX_THREADS or held.descriptors > MAX_DESCRIPTORS:
            worst[sight.role] = f"{sight.role} {sight.pid}: {held}"
    for values in worst.values():
        yield Broken(law="memory, threads and descriptors are bounded", values=values)


def ended(evidence: Evidence) -> Iterator[Broken]:
    """The end is in order, and nothing is left of it."""
    for name, code in evidence.exit_codes.items():
        if code:
            yield Broken(law="SIGTERM ends in order", values=f"{name}: exit code {code}")
    if evidence.left:
        yield Broken(law="no process is left", values="; ".join(evidence.left)[:300])
    if "Traceback" in evidence.said:
        at = evidence.said.index("Traceback")
        values = " ".join(evidence.said[at : at + 2000].split())[-400:]
        yield Broken(law="no traceback", values=values)


LAWS: tuple[Law, ...] = (
    *(pictures, windows, kept, sequences, interrupted, times, counted, delivered, settled, bounded),
    ended,
)


def broken(evidence: Evidence) -> list[Broken]:
    """Every law that does not hold."""
    return [one for law in LAWS for one in law(evidence)]
