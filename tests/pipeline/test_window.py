"""Windows over samples: the time lines drawn, and the laws for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import (
    Clock,
    EndReason,
    Flag,
    Sample,
    Session,
    SessionEnd,
    TimeOfDay,
    Window,
    read_only,
)
from pipeline.settings import WindowSpec
from pipeline.tally import Tally
from pipeline.window import Windower, ring_bytes

SIZE = 32
STEP_NS = 125_000_000


def session(kind: str = "file", name: str = "s") -> Session:
    return Session(stream_id="cam", session_id=name, kind=kind, sample_fps=Fraction(8))


def sample(ordinal: int, of: Session, *, corrupt: bool = False) -> Sample:
    """Its first pixels tell the ordinal, the others are noise."""
    high = np.random.default_rng(ordinal).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    high[:2, :2] = ordinal % 100
    return Sample(
        session=of,
        ordinal=ordinal,
        grid_ns=ordinal * STEP_NS,
        next_grid_ns=(ordinal + 1) * STEP_NS,
        pts_ns=ordinal * STEP_NS + 5,
        high_HWC=read_only(high),
        corrupt=corrupt,
        time_of_day=TimeOfDay(clock=Clock.WALL, offset_s=0.0),
        arrived_s=float(ordinal),
    )


@dataclass
class Line:
    """A windower and what came of it."""

    windower: Windower
    tally: Tally

    @classmethod
    def of(cls, frames: int = 4, hop: int = 2, big_input: str = "high") -> "Line":
        tally = Tally()
        spec = WindowSpec(frames=frames, hop=hop, big_input=big_input)
        return cls(Windower(spec, size_px=SIZE, tally=tally), tally)

    def feed(
        self, ordinals: Sequence[int], of: Session, reason: EndReason = EndReason.END
    ) -> list[Window]:
        made = [self.windower.push(sample(ordinal, of)) for ordinal in ordinals]
        made.append(self.windower.end(SessionEnd(session=of, reason=reason, at_ns=0)))
        return [window for window in made if window]


def spans(windows: Sequence[Window]) -> list[tuple[int, int, bool]]:
    return [
        (w.span.first_ordinal, w.span.last_ordinal, Flag.PARTIAL in w.span.flags) for w in windows
    ]


def shown(window: Window) -> list[int]:
    """Ordinals read back from the pixels, in order of time."""
    pairs = zip(window.little_PHWC, window.big_PHWC, strict=True)
    return [int(picture[0, 0, 0]) % 100 for pair in pairs for picture in pair]


def test_windows_begin_at_multiples_of_the_hop_and_the_tail_repeats_the_last_picture() -> None:
    # points   0 1 2 3 4 5 6
    #          [0------)
    #              [2------)
    #                  [4--.~~)      6 stands for 7, which never came
    windows = Line.of().feed(range(7), session())
    assert spans(windows) == [(0, 3, False), (2, 5, False), (4, 6, True)]
    assert [shown(w) for w in windows] == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 6]]
    assert windows[2].span.end_ns == 7 * STEP_NS


def test_no_tail_when_every_picture_is_in_a_window() -> None:
    assert spans(Line.of().feed(range(6), session())) == [(0, 3, False), (2, 5, False)]


def test_windows_never_straddle_a_gap() -> None:
    # points   0 1 2 3 4 | 9 10 11 12 13 14      the file's grid goes on; 9 stands alone
    #          [0------)
    #              [2--.~)
    #                        [10---------)
    #                              [12---.~)
    line = Line.of()
    before = line.feed(range(5), session(), EndReason.GAP)
    after = line.feed(range(9, 15), session())
    assert spans(before) == [(0, 3, False), (2, 4, True)]
    assert spans(after) == [(10, 13, False), (12, 14, True)]
    assert (line.tally.unwindowed, line.tally.gaps["gap"]) == (1, 1)


def test_a_file_shorter_than_a_window_still_gives_one() -> None:
    assert spans(Line.of(frames=8).feed([0], session())) == [(0, 0, True)]


def test_a_live_session_shorter_than_half_a_window_gives_none_and_is_counted() -> None:
    line = Line.of(frames=8)
    assert line.feed(range(3), session("live")) == []
    assert line.tally.short_sessions == 1
    assert spans(line.feed(range(4), session("live", "t"))) == [(0, 3, True)]


def test_big_frames_come_at_low_resolution_where_the_network_wants_them_so() -> None:
    (window,) = Line.of(big_input="low").feed(range(4), session())
    assert window.little_PHWC.shape == (2, SIZE, SIZE, 3)
    assert window.big_PHWC.shape == (2, SIZE // 2, SIZE // 2, 3)
    for picture, ordinal in zip(window.big_PHWC, (1, 3), strict=True):
        high = sample(ordinal, session()).high_HWC.astype(int)
        blocks = high.reshape(SIZE // 2, 2, SIZE // 2, 2, 3).sum(axis=(1, 3))
        assert np.array_equal(picture, (blocks + 2) // 4), "the mean of each 2x2 block"


def test_pixels_are_read_only_and_outlive_the_ring() -> None:
    line = Line.of()
    windows = line.feed(range(40), session())
    assert shown(windows[0]) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        windows[0].little_PHWC[:] = 0


def test_a_corrupt_picture_flags_the_windows_that_hold_it_and_no_other() -> None:
    windower = Line.of().windower
    windows = [windower.push(sample(k, session(), corrupt=k == 3)) for k in range(8)]
    flags = [Flag.CORRUPT in w.span.flags for w in windows if w]
    assert flags == [True, True, False]


@pytest.mark.parametrize(("big_input", "low"), [("high", 0), ("low", 8 * 3 * 112 * 112)])
def test_the_ring_is_as_large_as_computed(big_input: str, low: int) -> None:
    spec = WindowSpec(frames=16, hop=8, big_input=big_input)
    windower = Windower(spec, size_px=224, tally=Tally())
    assert windower.nbytes == ring_bytes(spec, 224) == 16 * 3 * 224 * 224 + low


shapes = st.tuples(st.integers(1, 6), st.integers(1, 6)).map(
    lambda pair: (2 * max(pair), 2 * min(pair))
)


@given(
    shapes,
    st.sampled_from(["high", "low"]),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), max_size=5),
)
def test_every_sampled_picture_is_in_the_windows_it_should_be_in(
    shape: tuple[int, int], big_input: str, sessions: list[tuple[int, int]]
) -> None:
    frames, hop = shape
    line, start = Line.of(frames, hop, big_input), 0
    for skipped, length in sessions:
        points = range(start + skipped, start + skipped + length)
        windows = line.feed(points, session(), EndReason.GAP)
        start = points.stop
        for window in windows:
            first, last = window.span.first_ordinal, window.span.last_ordinal
            assert first % hop == 0
            assert points.start <= first <= last < points.stop
            assert shown(window) == [min(k, last) % 100 for k in range(first, first + frames)]
            assert (np.diff(window.pts_ns_T) >= 0).all()
        begins = -(-points.start // hop) * hop
        held = {k for w in windows for k in range(w.span.first_ordinal, w.span.last_ordinal + 1)}
        assert held == set(range(begins, points.stop))
        whole = [w.span.first_ordinal for w in windows if Flag.PARTIAL not in w.span.flags]
        assert whole == list(range(begins, points.stop - frames + 1, hop))
        assert len(windows) - len(whole) <= 1
