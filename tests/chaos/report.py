"""What a run of faults came to, for people."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.evidence import Broken, Evidence

Row = tuple[str, str]


def line(one: Broken, evidence: Evidence) -> str:
    """The law, the values, the seed, the fault before it."""
    at = "at the end" if one.at_s is None else f"at {one.at_s - evidence.began_s:.1f} s"
    before = evidence.before(one.at_s)
    return (
        f"BROKEN {one.law}: {one.values}; {at}, seed {evidence.plan.seed}; "
        f"before it: {before or 'no fault'}"
    )


def table(evidence: Evidence, *more: Row) -> str:
    """What happened, in numbers."""
    rows = [*_whole(evidence), *more, *_streams(evidence), *_processes(evidence)]
    return "\n".join(f"{name:36} {value}" for name, value in rows)


def _whole(evidence: Evidence) -> Iterator[Row]:
    kinds = Counter(one.fault.kind for one in evidence.done if one.begins and not one.note)
    flags = Counter(flag.value for event in evidence.stored for flag in event.flags)
    stored, handled = len(evidence.stored), len(evidence.handled)
    settled_s = evidence.settled_after_s
    yield "faults", f"{kinds.total()} of {len(kinds)} kinds"
    yield "lives of the deployment", str(evidence.last.life)
    yield "all was well after", "never" if settled_s is None else f"{settled_s:.1f} s"
    yield "lines of events in Redis", f"{stored}, flags {dict(flags)}"
    yield "windows on their way, at most", f"{_most_underway(evidence):g} of a stream"
    yield "handled by the subscriber", f"{handled}, of which {handled - stored} repeats"


def _most_underway(evidence: Evidence) -> float:
    return max(
        scrape.sum("windows_made_total", stream=stream) - scrape.sum("windows_total", stream=stream)
        for scrape in [*evidence.scrapes, evidence.last]
        for stream in scrape.streams
    )


def _streams(evidence: Evidence) -> Iterator[Row]:
    last = evidence.last
    for stream in last.streams:
        drops = {
            found["reason"]: int(value)
            for found, value in last.rows("windows_total", stream=stream, outcome="dropped")
            if value
        }
        pictures = last.sum("pictures_in_total", stream=stream)
        windows = last.sum("windows_made_total", stream=stream)
        yield (
            f"{stream}, since its actor began",
            f"{pictures:g} pictures, {windows:g} windows, dropped {drops}",
        )


def _processes(evidence: Evidence) -> Iterator[Row]:
    for role in sorted({sight.role for sight in evidence.sights}):
        held = [sight.holdings for sight in evidence.sights if sight.role == role]
        yield (
            f"{role}, at most",
            f"{max(one.mib for one in held):.0f} MiB, {max(one.threads for one in held)} "
            f"threads, {max(one.descriptors for one in held)} descriptors",
        )
