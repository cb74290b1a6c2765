"""The camera that no fault was done to: its events are those of a run without faults.

A connection begins its footage anew, so each session of the camera shows the same pictures at the
same places of its grid. What a session gave is compared up to the first thing that touched it: a
kill of a part, a picture or window that was dropped because the machine was busy, a new connection,
or the end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from pipeline import run as in_process
from pipeline.config import Config, EventConfig
from pipeline.model import load
from pipeline.records import ActionEvent, EventType, Flag
from pipeline.source import CameraSource, parse_address
from pipeline.tally import Tally
from tests.chaos.evidence import Broken, Evidence
from tests.chaos.plan import OF_PARTS, SPARED
from tests.chaos.rtsp import ChaosCamera
from tests.chaos.watch import Scrape

SAMPLE_FPS = 8
MARGIN_S = 4.0  # a window, the merge gap of 0.5 s, and the way to Redis
SLACK = 1e-4  # of scores: another batch size changes the last digits
SPEEDS = (4.0, 1.0)  # so many times as fast as the camera; a busy machine gets all its time
STRAY_S = 3.0  # a session that begins so soon after a gap goes on with the footage

Key = tuple[str, int, int]
"""Label, first window, seq."""


@dataclass(slots=True, kw_only=True)
class Compared:
    """How it went."""

    lines: int = 0
    sessions: int = 0
    skipped: int = 0
    """Sessions that didn't begin with the footage."""
    broken: list[Broken] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.lines} lines of {self.sessions} sessions, {self.skipped} skipped"


def compare(evidence: Evidence, footage: dict[str, list[Path]]) -> Compared:
    """Sessions of the spared camera with a run without faults."""
    sessions: dict[str, list[ActionEvent]] = {}
    for event in evidence.stored:
        if event.stream_id == SPARED:
            sessions.setdefault(event.session_id, []).append(event)
    compared = Compared()
    spans = {key: _span_s(evidence, lines) for key, lines in sessions.items()}
    longest_s = max((end - start for start, end in spans.values()), default=0.0)
    if longest_s <= 0:
        return compared
    expected = without_faults(footage[SPARED], longest_s + MARGIN_S)
    for key, lines in sessions.items():
        start_s, end_s = spans[key]
        last_ordinal = int((end_s - start_s - MARGIN_S) * SAMPLE_FPS)
        if _strayed(evidence, start_s):
            compared.skipped += 1
        elif last_ordinal > 0:
            compared.sessions += 1
            _compare(lines, expected, last_ordinal, compared)
    return compared


def _compare(
    lines: Sequence[ActionEvent],
    expected: Sequence[ActionEvent],
    last_ordinal: int,
    compared: Compared,
) -> None:
    ours, theirs = (_told(each, last_ordinal) for each in (lines, expected))
    compared.lines += len(theirs)
    for key in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(key), theirs.get(key)
        if mine is None or other is None or not _equal(mine, other):
            values = f"{SPARED} {key}: {_shown(mine)}, without faults {_shown(other)}"
            at_s = (mine or lines[0]).published_at
            compared.broken.append(
                Broken(law="the spared camera's events are the same", values=values, at_s=at_s)
            )


def _told(lines: Sequence[ActionEvent], last_ordinal: int) -> dict[Key, ActionEvent]:
    """Lines up to a point of the grid; an end that came too soon says nothing."""
    cut_off = {Flag.INTERRUPTED, Flag.GAP}
    return {
        (line.label, line.first_window, line.seq): line
        for line in lines
        if line.last_window <= last_ordinal
        and not (line.type is EventType.END and cut_off & set(line.flags))
    }


def _equal(mine: ActionEvent, other: ActionEvent) -> bool:
    exact = _exact(mine) == _exact(other)
    scores = zip(_scores(mine), _scores(other), strict=True)
    return exact and all(abs(a - b) <= SLACK for a, b in scores)


def _exact(event: ActionEvent) -> tuple[object, ...]:
    """What has to be the same to the letter; times in microseconds from the session's origin."""
    origin_s = event.start_pts_s - event.first_window / SAMPLE_FPS
    end_us = None if event.end_pts_s is None else round((event.end_pts_s - origin_s) * 1e6)
    return (event.type, event.label_id, event.last_window, end_us)


def _scores(event: ActionEvent) -> tuple[float, float, float]:
    return event.score, event.peak_score, event.mean_score


def _shown(event: ActionEvent | None) -> str:
    if event is None:
        return "nothing"
    kind, _, last, end_us = _exact(event)
    return f"{kind} held to {last}, end {end_us} us, scores {_scores(event)}"


def _span_s(evidence: Evidence, lines: Sequence[ActionEvent]) -> tuple[float, float]:
    """From a session's first picture to what first touched it, in Unix seconds."""
    first = lines[0]
    start_s = (first.start_time or 0.0) - first.first_window / SAMPLE_FPS
    touched = [kill.at_s for kill in evidence.kills(*OF_PARTS) if kill.over_s > start_s]
    touched += [before_s for before_s, after_s in _rises(evidence, _losses) if after_s > start_s]
    touched += [cut_s for cut_s in evidence.anew if cut_s > start_s]
    gaps = _rises(evidence, _gaps)
    touched += [before_s for before_s, after_s in gaps if after_s > start_s + STRAY_S]
    return start_s, min([*touched, evidence.paused_s])


def _strayed(evidence: Evidence, start_s: float) -> bool:
    """Did the session begin in the middle of a connection?"""
    return any(
        before_s - STRAY_S <= start_s <= after_s + STRAY_S
        for before_s, after_s in _rises(evidence, _gaps)
    )


def _losses(scrape: Scrape) -> float:
    return (
        scrape.sum("windows_total", stream=SPARED, outcome="dropped", reason="overload")
        + scrape.sum("windows_total", stream=SPARED, outcome="dropped", reason="failed")
        + scrape.sum("packets_dropped_total", stream=SPARED)
        + scrape.sum("pictures_total", stream=SPARED, outcome="dropped")
    )


def _gaps(scrape: Scrape) -> float:
    return sum(
        scrape.sum("session_gaps_total", stream=SPARED, reason=reason) for reason in ("gap", "jump")
    )


def _rises(evidence: Evidence, count: Callable[[Scrape], float]) -> Iterator[tuple[float, float]]:
    """Between which looks something was counted, or its count began anew above nothing."""
    before_s, before = evidence.began_s, 0.0
    for scrape in evidence.scrapes:
        now = count(scrape)
        if now > before or 0 < now < before:
            yield before_s, scrape.at_s
        before_s, before = scrape.at_s, now


class _Kept:
    def __init__(self) -> None:
        self.events: list[ActionEvent] = []

    def write(self, events: Sequence[ActionEvent]) -> None:
        self.events += events

    def close(self) -> None:
        """Nothing to close."""


def without_faults(videos: Sequence[Path], seconds: float) -> list[ActionEvent]:
    """What the camera gives, in one process, when nothing goes wrong.

    Raises:
        AssertionError: the machine is too busy even for one camera.
    """
    config = Config(events=EventConfig(enter=0.2, exit=0.1, background=[]))
    for speed in SPEEDS:
        kept, tallies = _Kept(), dict[str, Tally]()
        with ChaosCamera(list(videos)) as camera:
            address = parse_address(camera.url(f"gate,speed={speed:g}"))
            source, stop = CameraSource(stream_id=SPARED, address=address), Event()
            arguments = ([source], load("default", device="cpu"), config, kept)
            worker = Thread(
                target=in_process.run, args=arguments, kwargs={"stop": stop, "tallies": tallies}
            )
            worker.start()
            while worker.is_alive() and _covered_s(tallies) < seconds:
                worker.join(0.1)
            stop.set()
            worker.join()
        (tally,) = tallies.values()
        if not (tally.windows_dropped["overload"] or tally.packets_dropped or tally.gaps):
            return kept.events
    raise AssertionError(f"a run without faults dropped windows: {tally}")


def _covered_s(tallies: dict[str, Tally]) -> float:
    return max((tally.points / SAMPLE_FPS for tally in tallies.values()), default=0.0)
