"""What holds for the events of any scores whatever."""

from collections import defaultdict
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.events import Detector, Origin
from pipeline.records import (
    ActionEvent,
    Clock,
    EndReason,
    EventType,
    Scores,
    Session,
    SessionEnd,
    TimeOfDay,
    WindowSpan,
    read_only,
)
from pipeline.settings import EventSpec

LABELS = ("a", "b", "background")
STEP_NS = 500_000_000
EDGES = (0.0, 0.3, 0.35, 0.5, 0.7, 1.0)  # the usual thresholds among them

scores = st.lists(st.sampled_from(EDGES) | st.floats(0, 1, width=32), min_size=3, max_size=3)
steps = st.sampled_from([1, 1, 1, 2, 5, 12])
items = st.lists(st.tuples(steps, scores) | st.sampled_from([*EndReason, "new"]), max_size=40)
seconds = st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0])
specs = st.builds(
    EventSpec,
    enter=st.sampled_from([0.5, 0.7]),
    exit=st.sampled_from([0.0, 0.3, 0.35, 0.5]),
    smoothing_windows=st.integers(1, 3),
    min_duration_s=seconds,
    merge_gap_s=seconds,
    cooldown_s=seconds,
    update_interval_s=st.sampled_from([0.1, 1.0, 3.0]),
    background=st.just(("background",)),
)


def session(n: int, stream: str = "cam") -> Session:
    return Session(stream_id=stream, session_id=f"s{n}", kind="live", sample_fps=Fraction(8))


def played(drawn: list, *, stream: str = "cam") -> list[Scores | SessionEnd]:
    """Windows of 2 s, one each half second or more; ``new``: another session without an end."""
    line: list[Scores | SessionEnd] = []
    number = step = 0
    for item in drawn:
        if item == "new":
            number, step = number + 1, 0
        elif isinstance(item, EndReason):
            line.append(SessionEnd(session=session(number, stream), reason=item, at_ns=0))
        else:
            step += item[0]
            span = WindowSpan(
                session=session(number, stream),
                first_ordinal=4 * step,
                last_ordinal=4 * step + 15,
                start_ns=step * STEP_NS,
                end_ns=(step + 4) * STEP_NS,
                time_of_day=TimeOfDay(clock=Clock.NTP, offset_s=7.0),
                arrived_s=0.0,
            )
            line.append(Scores(span=span, scores_K=read_only(np.array(item[1], np.float32))))
    last = SessionEnd(session=session(number, stream), reason=EndReason.END, at_ns=0)
    return [*line, last]


def detector(spec: EventSpec, *, digest: str = "d", model: str = "m") -> Detector:
    origin = Origin(model_name="x", model_digest=model, settings_digest=digest, labels=LABELS)
    return Detector(spec, origin)


def events_of(line: list[Scores | SessionEnd], d: Detector) -> list[ActionEvent]:
    return [event for item in line for event in d.take(item)]


def by_id(events: list[ActionEvent]) -> dict[str, list[ActionEvent]]:
    found = defaultdict(list)
    for event in events:
        found[event.event_id].append(event)
    return found


@settings(deadline=None, max_examples=300)
@given(items, specs)
def test_every_start_has_one_end_and_its_lines_are_counted(drawn: list, spec: EventSpec) -> None:
    d = detector(spec)
    actions = by_id(events_of(played(drawn), d))
    assert d.open_actions == 0
    for lines in actions.values():
        kinds = [event.type for event in lines]
        assert kinds[0] is EventType.START
        assert kinds[-1] is EventType.END
        assert set(kinds[1:-1]) <= {EventType.UPDATE}
        assert [event.seq for event in lines] == list(range(len(lines)))
        assert len({(e.label, e.session_id, e.start_pts_s, e.first_window) for e in lines}) == 1


@settings(deadline=None, max_examples=300)
@given(items, specs)
def test_times_are_ordered_and_actions_of_a_label_never_overlap(
    drawn: list, spec: EventSpec
) -> None:
    events = events_of(played(drawn), detector(spec))
    until: dict[tuple[str, str], float] = {}
    for lines in by_id(events).values():
        last = lines[-1]
        assert last.end_pts_s is not None
        assert last.end_time == last.end_pts_s + 7
        assert last.end_pts_s - last.start_pts_s >= max(2.0, spec.min_duration_s)
        windows = [event.last_window for event in lines]
        assert windows == sorted(windows)
        assert windows[0] >= last.first_window
    for event in events:
        assert spec.exit - 1e-6 <= event.score <= event.peak_score + 1e-6
        assert event.mean_score <= event.peak_score + 1e-6
        assert event.peak_score >= spec.enter - 1e-6
        assert event.label != "background"
        where = (event.session_id, event.label)
        if event.type is EventType.END:
            until[where] = event.end_pts_s
        elif event.type is EventType.START and where in until:
            assert event.start_pts_s >= until[where] or ended_by_session(drawn)


def ended_by_session(drawn: list) -> bool:
    """After an end of a session nothing is remembered, so a new action may begin at once."""
    return any(not isinstance(item, tuple) for item in drawn)


@settings(deadline=None, max_examples=100)
@given(items, specs)
def test_a_rerun_says_the_same(drawn: list, spec: EventSpec) -> None:
    line = played(drawn)
    assert events_of(line, detector(spec)) == events_of(line, detector(spec))


@settings(deadline=None, max_examples=100)
@given(items, specs)
def test_ids_differ_by_stream_model_and_settings(drawn: list, spec: EventSpec) -> None:
    line = played(drawn)
    runs = [
        events_of(line, detector(spec)),
        events_of(line, detector(spec, digest="e")),
        events_of(line, detector(spec, model="n")),
        events_of(played(drawn, stream="door"), detector(spec)),
    ]
    ids = [by_id(run).keys() for run in runs]
    assert len({len(each) for each in ids}) == 1
    assert len(set().union(*ids)) == sum(map(len, ids))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(steps, scores), max_size=20), specs, st.data())
def test_a_source_read_again_after_a_crash_adds_nothing_and_loses_nothing(
    drawn: list, spec: EventSpec, data: st.DataObject
) -> None:
    line = played(drawn)
    crash = data.draw(st.integers(0, len(line)))
    again = data.draw(st.integers(0, crash))
    whole = events_of(line, detector(spec))
    assert events_of(line[:crash] + line[again:], detector(spec)) == whole
