"""Scores in, events out: every rule of an action's life, drawn as a time line."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from pipeline.events import Detector, Origin
from pipeline.records import (
    ActionEvent,
    Clock,
    EndReason,
    EventType,
    Flag,
    Scores,
    Session,
    SessionEnd,
    TimeOfDay,
    WindowSpan,
    read_only,
)
from pipeline.settings import EventSpec

SECOND = 1_000_000_000
LABELS = ("nothing", "wave", "clap")
DRAWN = {"X": 0.8, "#": 0.5, ".": 0.1}
"""X enters, # holds, . is below exit; a blank is a window that was dropped."""
USUAL = {"enter": 0.7, "exit": 0.4, "smoothing_windows": 1, "merge_gap_s": 0.0}


def session(name: str = "s", stream: str = "cam", kind: str = "file") -> Session:
    return Session(stream_id=stream, session_id=name, kind=kind, sample_fps=Fraction(8))


def span(n: int, of: Session, *, flags: Sequence[Flag] = (), day_s: float | None = None):
    """Window n of a line without overlap: the n-th second, of 8 grid points."""
    return WindowSpan(
        session=of,
        first_ordinal=8 * n,
        last_ordinal=8 * n + 7,
        start_ns=n * SECOND,
        end_ns=(n + 1) * SECOND,
        time_of_day=TimeOfDay(clock=Clock.WALL, offset_s=day_s),
        arrived_s=float(n),
        flags=frozenset(flags),
    )


def window(
    n: int, score: float, *, label: int = 1, of: Session | None = None, **said: object
) -> Scores:
    scores_K = np.zeros(len(LABELS), np.float32)
    scores_K[label] = score
    return Scores(span=span(n, of or session(), **said), scores_K=read_only(scores_K))


def end(reason: EndReason = EndReason.END, of: Session | None = None, **said: object) -> SessionEnd:
    return SessionEnd(session=of or session(), reason=reason, at_ns=0, **said)


def detector(*, settings: str = "d", **said: object) -> Detector:
    origin = Origin(model_name="m", model_digest="m1", settings_digest=settings, labels=LABELS)
    return Detector(EventSpec.model_validate(USUAL | said), origin)


def line(drawing: str, *, label: int = 1, **said: object) -> list[Scores]:
    return [
        window(n, DRAWN[mark], label=label, **said) for n, mark in enumerate(drawing) if mark != " "
    ]


def told(events: Sequence[ActionEvent]) -> list[str]:
    """start 2 | update 2-6 | end 2-6: seconds of presentation time."""
    lines = []
    for event in events:
        until = "" if event.end_pts_s is None else f"-{event.end_pts_s:g}"
        lines.append(f"{event.type} {event.start_pts_s:g}{until}")
    return lines


def play(drawing: str, reason: EndReason = EndReason.END, **said: object) -> list[str]:
    d = detector(**said)
    return told([e for item in [*line(drawing), end(reason)] for e in d.take(item)])


def test_an_action_enters_is_held_and_ends() -> None:
    #  seconds    0123456789
    assert play(".#.XX##...") == ["start 3", "end 3-7"]
    assert play("###.......") == []
    assert play("X.........") == ["start 0", "end 0-1"]
    assert play(".......X##") == ["start 7", "end 7-10"]
    assert play("X.X.......") == ["start 0", "end 0-1", "start 2", "end 2-3"]


def test_the_end_comes_with_the_window_that_ends_it() -> None:
    d = detector(merge_gap_s=1)
    came = [told(d.push(item)) for item in line("XX...")]
    assert came == [["start 0"], [], [], ["end 0-2"], []]
    assert d.open_actions == 0


def test_a_lapse_is_bridged_up_to_the_merge_gap() -> None:
    #  seconds   0123456789
    assert play("XX..#.....", merge_gap_s=2) == ["start 0", "end 0-5"]
    assert play("XX...X....", merge_gap_s=2) == ["start 0", "end 0-2", "start 5", "end 5-6"]
    assert play("XX...#....", merge_gap_s=2) == ["start 0", "end 0-2"]


def test_dropped_windows_count_by_their_time() -> None:
    #  seconds   0123456789
    assert play("XX  X.....", merge_gap_s=2) == ["start 0", "end 0-5"]
    assert play("XX   X....", merge_gap_s=2) == ["start 0", "end 0-2", "start 5", "end 5-6"]
    assert play("X    #    ", merge_gap_s=2) == ["start 0", "end 0-1"]


def test_the_minimum_duration_must_be_covered_before_anything_is_said() -> None:
    d = detector(min_duration_s=3)
    came = [told(d.push(item)) for item in line("X.XX##.")]
    assert came == [[], [], [], [], ["start 2"], [], ["end 2-6"]]
    assert play("XX.XX.XX..", min_duration_s=3) == []


def test_a_cooldown_keeps_the_same_label_quiet() -> None:
    #  seconds   0123456789
    assert play("X.XX.X....", cooldown_s=4) == ["start 0", "end 0-1", "start 5", "end 5-6"]
    assert play("X.XXXXXX..", cooldown_s=4) == ["start 0", "end 0-1", "start 5", "end 5-8"]
    d = detector(cooldown_s=10)
    events = [e for item in line("X.") for e in d.push(item)]
    events += d.push(window(2, 0.9, label=2))
    assert [e.label for e in events] == ["wave", "wave", "clap"]


def test_updates_come_at_their_cadence_while_it_is_held() -> None:
    d = detector(update_interval_s=2, merge_gap_s=3)
    came = [told(d.push(item)) for item in line("XXXXX..##")]
    update = ["update 0"]
    assert came == [["start 0"], [], update, [], update, [], [], update, []]


def test_scores_are_smoothed_over_the_last_windows() -> None:
    d = detector(smoothing_windows=2, merge_gap_s=0)
    scores = [0.2, 0.9, 0.7, 0.3, 0.1]  # smoothed: 0.2, 0.55, 0.8, 0.5, 0.2
    events = [e for n, score in enumerate(scores) for e in d.push(window(n, score))]
    assert told(events) == ["start 2", "end 2-4"]
    start, last = events
    assert (start.score, start.peak_score) == (pytest.approx(0.8), pytest.approx(0.8))
    assert (last.score, last.peak_score, last.mean_score) == (
        pytest.approx(0.5),
        pytest.approx(0.8),
        pytest.approx(0.65),
    )


@pytest.mark.parametrize("ends", [True, False])
def test_smoothing_does_not_reach_into_another_session(ends: bool) -> None:
    d = detector(smoothing_windows=3)
    for n in range(3):
        d.push(window(n, 0.9, of=session("a")))
    if ends:
        d.take(end(of=session("a")))
    came = [e.type for e in d.push(window(0, 0.6, of=session("b")))]  # with a's: 0.8
    assert came == ([] if ends else [EventType.END])


def test_a_score_on_the_line_counts() -> None:
    d = detector(enter=0.7, exit=0.35)
    scores = [0.7, 0.35, 0.35, 0.3]  # 0.35 is less in float32 than in float64
    events = [e for n, score in enumerate(scores) for e in d.push(window(n, score))]
    assert told(events) == ["start 0", "end 0-3"]


def test_background_is_never_an_event() -> None:
    d = detector(background=("nothing",))
    assert [e for item in line("XXXX", label=0) for e in d.push(item)] == []
    assert told(d.push(window(5, 0.9, label=2))) == ["start 5"]
    with pytest.raises(ValueError, match=r"doesn't have: \['dance'\]"):
        detector(background=("dance",))
    with pytest.raises(ValueError, match="want 3 scores"):
        d.push(Scores(span=span(9, session()), scores_K=np.zeros(2, np.float32)))


def test_several_labels_live_side_by_side() -> None:
    d = detector()
    events = []
    for n, (wave, clap) in enumerate(zip("XX##.", ".XX..", strict=True)):
        scores_K = np.array([0, DRAWN[wave], DRAWN[clap]], np.float32)
        events += d.push(Scores(span=span(n, session()), scores_K=scores_K))
    assert [(e.label, e.type.value, e.seq) for e in events] == [
        ("wave", "start", 0),
        ("clap", "start", 0),
        ("clap", "end", 1),
        ("wave", "end", 1),
    ]


@pytest.mark.parametrize(
    ("reason", "truncated", "flags"),
    [
        (EndReason.END, False, ()),
        (EndReason.STOPPED, False, (Flag.INTERRUPTED,)),  # of a file: it will be analysed again
        (EndReason.END, True, (Flag.TRUNCATED,)),
        (EndReason.GAP, False, (Flag.GAP,)),
        (EndReason.RECONNECT, False, (Flag.GAP,)),
        (EndReason.FAILED, True, (Flag.GAP, Flag.TRUNCATED)),
    ],
)
def test_the_end_of_a_session_ends_its_actions(
    reason: EndReason, truncated: bool, flags: tuple[Flag, ...]
) -> None:
    d = detector(merge_gap_s=5)
    d.push(window(0, 0.8))
    (last,) = d.take(end(reason, truncated=truncated))
    assert told([last]) == ["end 0-1"]
    assert last.flags == flags
    assert d.take(end(reason)) == []


def test_a_camera_that_is_stopped_has_seen_its_events_end() -> None:
    d, gate = detector(merge_gap_s=5), session(kind="live")
    d.push(window(0, 0.8, of=gate))
    (last,) = d.take(end(EndReason.STOPPED, of=gate))
    assert last.flags == ()


def test_flags_of_the_windows_that_held_it_stay() -> None:
    d = detector(merge_gap_s=1)
    d.push(window(0, 0.8, flags=[Flag.CORRUPT]))
    d.push(window(1, 0.1, flags=[Flag.INTERRUPTED]))  # did not hold it
    d.push(window(2, 0.5, flags=[Flag.PARTIAL]))
    (last,) = d.take(end())
    assert last.flags == (Flag.CORRUPT, Flag.PARTIAL)


def test_a_session_that_died_without_a_word_leaves_a_gap() -> None:
    d = detector(merge_gap_s=60, smoothing_windows=2)
    d.push(window(0, 0.8, of=session("a")))
    last, start = d.push(window(0, 0.8, of=session("b")))
    assert (last.type, last.session_id, last.flags) == (EventType.END, "a", (Flag.GAP,))
    assert (start.type, start.session_id, start.flags) == (EventType.START, "b", ())
    assert last.event_id != start.event_id


def test_windows_that_come_again_are_ignored() -> None:
    d = detector()
    items = line("XX#")
    first = [e for item in items for e in d.push(item)]
    assert told(first) == ["start 0"]
    assert [e for item in items for e in d.push(item)] == []
    assert told(d.push(window(3, 0.1))) == ["end 0-3"]


# read      0X 1X end(gap) 4X 5X | crash | 0 1 end(gap) 4 5 end
# told      start     end  start                            end
def test_ends_that_come_again_are_ignored_but_not_the_one_that_is_new() -> None:
    d = detector()
    before = [window(0, 0.8), window(1, 0.8), end(EndReason.GAP), window(4, 0.8), window(5, 0.8)]
    events = [told(d.take(item)) for item in before]
    assert events == [["start 0"], [], ["end 0-2"], ["start 4"], []]
    assert [e for item in before for e in d.take(item)] == []
    assert told(d.take(end())) == ["end 4-6"]


def test_times_of_day_come_with_their_clock() -> None:
    d = detector()
    live = session(kind="live")
    (start,) = d.push(window(2, 0.8, of=live, day_s=1000.0))
    (last,) = d.push(window(3, 0.1, of=live, day_s=1000.0))
    assert (start.start_time, start.end_time, start.clock) == (1002, None, Clock.WALL)
    assert (last.start_time, last.end_time, last.arrived_s) == (1002, 1003, 2.0)
    (unknown,) = detector().push(window(2, 0.8))
    assert (unknown.start_time, unknown.arrived_s) == (None, None)


def test_an_event_tells_where_it_comes_from() -> None:
    (event,) = detector().push(window(3, 0.8, label=2))
    assert (event.stream_id, event.session_id, event.label, event.label_id) == (
        "cam", "s", "clap", 2,
    )  # fmt: skip
    assert (event.first_window, event.last_window, event.seq) == (24, 24, 0)
    assert (event.model_name, event.model_digest, event.source_kind) == ("m", "m1", "file")
