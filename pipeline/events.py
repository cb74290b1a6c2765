"""events: scores in, action events out. Pure: no clock, no randomness, the same live and archived.

In: the scores of one stream in the order of their ordinals, and the ends of its sessions.
Out: ``start``, ``update`` and ``end`` of each action. The life of one label:

    score  ....X####x##....#####.......      X enters, # holds, x and . are below exit
                                             a lapse shorter than merge_gap is bridged
           idle | candidate | open      | (cooldown) idle
                            ^ start      ^ end, once the merge gap has passed; its times
                              once min_duration is covered      are those of the windows that held

A label enters at ``enter`` and is held at ``exit`` or above, by the mean of its last
``smoothing_windows`` scores. The rule that is easy to get wrong: what decides is the time of
windows, never their number, so dropped windows neither shorten nor end an action by themselves.
Cost: one pass over K scores per window; only labels that are alive are looked at one by one.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.records import (
    NS,
    PLANNED_ENDS,
    ActionEvent,
    EventType,
    Flag,
    Scores,
    Session,
    SessionEnd,
    WindowSpan,
)
from pipeline.settings import EventSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who says so: what every event of a run has in common."""

    model_name: str
    model_digest: str
    settings_digest: str
    labels: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Action:
    """One label's action, from the window that entered to the window that ends it."""

    event_id: str
    label_id: int
    first: WindowSpan
    held: WindowSpan
    """The last window that held it."""
    held_score: float
    peak: float
    total: float
    windows: int
    flags: set[Flag] = field(default_factory=set)
    seq: int = 0
    """Events published so far; 0 while it is a candidate."""
    published_ns: int = 0


class Detector:
    """The state machine of one stream."""

    def __init__(self, spec: EventSpec, origin: Origin) -> None:
        unknown = set(spec.background) - set(origin.labels)
        if unknown:
            raise ValueError(
                f"background names labels that the model doesn't have: {sorted(unknown)}"
            )
        self._spec = spec
        self._origin = origin
        self._foreground_K = np.array([label not in spec.background for label in origin.labels])
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=spec.smoothing_windows)
        self._actions: dict[int, _Action] = {}
        self._quiet_until_ns: dict[int, int] = {}
        self._last: tuple[str, int] | None = None
        self._replaying = False
        self._session: Session | None = None

    @property
    def open_actions(self) -> int:
        """Actions whose start was published and whose end was not."""
        return sum(action.seq > 0 for action in self._actions.values())

    def take(self, answer: Scores | SessionEnd) -> list[ActionEvent]:
        """What comes next on the stream, whichever it is."""
        return self.end(answer) if isinstance(answer, SessionEnd) else self.push(answer)

    def push(self, scores: Scores) -> list[ActionEvent]:
        """What this window begins, continues or ends; nothing if it was seen before.

        Raises:
            ValueError: not one score per label.
        """
        span = scores.span
        if scores.scores_K.shape != self._foreground_K.shape:
            raise ValueError(f"want {self._foreground_K.size} scores, got {scores.scores_K.shape}")
        if self._seen(span):
            return []
        lost = self._let_go({Flag.GAP}) if self._session not in (None, span.session) else []
        self._session = span.session
        self._recent.append(scores.scores_K)
        smooth_K = np.mean(self._recent, axis=0)
        events = list(self._lapse(span, smooth_K))
        self._hold(span, smooth_K)
        self._enter(span, smooth_K)
        return lost + events + list(self._publish(span))

    def end(self, end: SessionEnd) -> list[ActionEvent]:
        """Ends of everything that is open: no action outlives its session."""
        if self._replaying:
            return []
        flags = set() if end.reason in PLANNED_ENDS else {Flag.GAP}
        if end.truncated:
            flags.add(Flag.TRUNCATED)
        if end.unfinished:
            flags.add(Flag.INTERRUPTED)
        self._session = None
        return self._let_go(flags)

    def interrupt(self) -> list[ActionEvent]:
        """Ends of everything that is open on a stream that died without saying so."""
        self._session = None
        return self._let_go({Flag.INTERRUPTED})

    def _let_go(self, flags: set[Flag]) -> list[ActionEvent]:
        """End everything and forget the session; one that died has not said that it ended."""
        events = []
        for action in self._actions.values():
            action.flags |= flags
            if action.seq:
                events.append(self._event(action, EventType.END))
        self._actions.clear()
        self._recent.clear()
        self._quiet_until_ns.clear()
        return events

    def _seen(self, span: WindowSpan) -> bool:
        """A source that is read again after a crash repeats its windows."""
        here = (span.session.session_id, span.first_ordinal)
        last = self._last
        seen = last is not None and last[0] == here[0] and here[1] <= last[1]
        self._replaying = seen and here != last  # after the newest, what comes is news again
        if not seen:
            self._last = here
        return seen

    def _lapse(self, span: WindowSpan, smooth_K: NDArray[np.float32]) -> Iterable[ActionEvent]:
        """Let go of what was not held for longer than the merge gap."""
        merge_ns = int(self._spec.merge_gap_s * NS)
        for label_id, action in list(self._actions.items()):
            holds = smooth_K[label_id] >= self._spec.exit
            bridged_ns = (span.start_ns if holds else span.end_ns) - action.held.end_ns
            if bridged_ns <= merge_ns:
                continue
            del self._actions[label_id]
            if action.seq:
                cooldown_ns = int(self._spec.cooldown_s * NS)
                self._quiet_until_ns[label_id] = action.held.end_ns + cooldown_ns
                yield self._event(action, EventType.END)

    def _hold(self, span: WindowSpan, smooth_K: NDArray[np.float32]) -> None:
        for label_id, action in self._actions.items():
            if not smooth_K[label_id] >= self._spec.exit:  # in float32, as everywhere
                continue
            score = float(smooth_K[label_id])
            action.held, action.held_score = span, score
            action.peak = max(action.peak, score)
            action.total += score
            action.windows += 1
            action.flags |= span.flags

    def _enter(self, span: WindowSpan, smooth_K: NDArray[np.float32]) -> None:
        entering_K = (smooth_K >= self._spec.enter) & self._foreground_K
        for label_id in np.flatnonzero(entering_K).tolist():
            quiet_until_ns = self._quiet_until_ns.get(label_id, span.start_ns)
            if label_id in self._actions or span.start_ns < quiet_until_ns:
                continue
            score = float(smooth_K[label_id])
            self._actions[label_id] = _Action(
                event_id=self._event_id(span, self._origin.labels[label_id]),
                label_id=label_id,
                first=span,
                held=span,
                held_score=score,
                peak=score,
                total=score,
                windows=1,
                flags=set(span.flags),
            )

    def _publish(self, span: WindowSpan) -> Iterable[ActionEvent]:
        """Starts that have lasted long enough, and updates that are due."""
        for action in self._actions.values():
            if action.held is not span:
                continue
            if not action.seq:
                covered_ns = span.end_ns - action.first.start_ns
                if covered_ns >= self._spec.min_duration_s * NS:
                    action.published_ns = span.end_ns
                    yield self._event(action, EventType.START)
            elif span.end_ns - action.published_ns >= self._spec.update_interval_s * NS:
                action.published_ns = span.end_ns
                yield self._event(action, EventType.UPDATE)

    def _event_id(self, span: WindowSpan, label: str) -> str:
        """Of position and settings, never of pixels or scores: a rerun gives it again."""
        parts = (
            span.session.stream_id,
            span.session.session_id,
            label,
            span.first_ordinal,
            self._origin.model_digest,
            self._origin.settings_digest,
        )
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _event(self, action: _Action, kind: EventType) -> ActionEvent:
        first, held = action.first, action.held
        ended = kind is EventType.END
        offset_s = held.time_of_day.offset_s
        live = first.session.kind == "live"
        start_s, end_s = first.start_ns / NS, held.end_ns / NS
        event = ActionEvent(
            event_id=action.event_id,
            seq=action.seq,
            type=kind,
            stream_id=first.session.stream_id,
            label=self._origin.labels[action.label_id],
            source_kind=first.session.kind,
            session_id=first.session.session_id,
            label_id=action.label_id,
            score=action.held_score,
            peak_score=action.peak,
            mean_score=action.total / action.windows,
            start_pts_s=start_s,
            end_pts_s=end_s if ended else None,
            start_time=None if offset_s is None else start_s + offset_s,
            end_time=end_s + offset_s if ended and offset_s is not None else None,
            clock=held.time_of_day.clock,
            first_window=first.first_ordinal,
            last_window=held.first_ordinal,
            model_name=self._origin.model_name,
            model_digest=self._origin.model_digest,
            flags=tuple(sorted(action.flags)),
            arrived_s=held.arrived_s if live else None,
            held_pts_s=end_s if live else None,
        )
        action.seq += 1
        return event
