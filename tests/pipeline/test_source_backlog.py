"""The queue between network and decoder: bounded, never old, whole groups or nothing."""

import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.source.backlog import (
    MAX_BYTES,
    MAX_LAG_S,
    MAX_PACKETS,
    MEASURED,
    REST_S,
    WORK_S,
    Backlog,
)
from pipeline.tally import Tally


class Packet:
    """As much of FFmpeg's as the queue looks at."""

    def __init__(self, number: int, *, key: bool, size: int = 1000) -> None:
        self.number, self.is_keyframe, self.size = number, key, size
        self.pts: int | None = number


def packets(pattern: str, size: int = 1000) -> list[Packet]:
    """K is a key frame, p builds on what came before."""
    return [Packet(n, key=kind == "K", size=size) for n, kind in enumerate(pattern)]


def taken(backlog: Backlog) -> list[int]:
    numbers = []
    while packet := backlog.take(0):
        numbers.append(packet.number)
    return numbers


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


def backlog(clock: list[float], tally: Tally) -> Backlog:
    return Backlog(tally, now=lambda: clock[0])


def push(line: Backlog, clock: list[float], pattern: str, every_s: float) -> None:
    for packet in packets(pattern):
        line.push(packet)
        clock[0] += every_s


def test_what_is_late_goes_up_to_the_newest_key_frame(clock: list[float]) -> None:
    # t(s)  0    .5   1.   1.5  2    2.5
    #       K    p    p    K    p    p
    #                           lag 2, then 2.5: over
    tally = Tally()
    line = backlog(clock, tally)
    push(line, clock, "KppKpp", every_s=0.5)
    assert taken(line) == [3, 4, 5]
    assert tally.packets_dropped == {"overload": 3}


def test_without_a_key_frame_all_goes_until_the_next_one(clock: list[float]) -> None:
    tally = Tally()
    line = backlog(clock, tally)
    push(line, clock, "KppppppKp", every_s=0.5)
    assert taken(line) == [7, 8]
    assert tally.packets_dropped == {"overload": 7}


def test_a_decoder_that_keeps_up_loses_nothing(clock: list[float]) -> None:
    tally = Tally()
    line = backlog(clock, tally)
    for packet in packets("Kppp" * 50):
        line.push(packet)
        clock[0] += 1.0
        assert line.take(0) is packet
    assert not tally.packets_dropped


@pytest.mark.parametrize(("count", "size"), [(MAX_PACKETS + 1, 1), (65, MAX_BYTES // 64)])
def test_a_burst_is_bounded(clock: list[float], count: int, size: int) -> None:
    tally = Tally()
    line = backlog(clock, tally)
    for packet in packets("K" + "p" * (count - 1), size):
        line.push(packet)
    assert taken(line) == []
    assert tally.packets_dropped["overload"] == count


def test_an_error_comes_after_all_that_came_before_it(clock: list[float]) -> None:
    line = backlog(clock, Tally())

    def breaking() -> object:
        yield from packets("Kp")
        raise OSError("gone")

    line.fill(breaking())
    assert [line.take(0).number, line.take(0).number] == [0, 1]
    with pytest.raises(OSError, match="gone"):
        line.take(0)


def test_an_end_is_told(clock: list[float]) -> None:
    line = backlog(clock, Tally())
    line.fill(packets("K"))
    line.take(0)
    with pytest.raises(EOFError):
        line.take(0)


LONG_S = 30.0  # nobody waits for so long, if all is well


def test_packets_that_nobody_waits_for_are_taken_with_the_one_that_is(clock: list[float]) -> None:
    line = backlog(clock, Tally())
    line.rest_until = 3
    with ThreadPoolExecutor(1) as decoder:
        first = decoder.submit(line.take, LONG_S)
        for packet in packets("Kppp")[:3]:
            line.push(packet)
            clock[0] += 0.04
        with pytest.raises(NotYet):
            first.result(0.1)
        line.push(packets("Kppp")[3])
        assert first.result(LONG_S).number == 0
    woken_s = clock[0]
    clock[0] += 0.01
    assert line.taken_s == woken_s, "resting is no delay of decoding"
    assert taken(line) == [1, 2, 3]


@pytest.mark.parametrize("pts", [None, 3, 90_000])
def test_a_packet_that_is_wanted_or_has_no_time_does_not_rest(
    clock: list[float], pts: int | None
) -> None:
    line = backlog(clock, Tally())
    line.rest_until = 3
    packet = packets("K")[0]
    packet.pts = pts
    line.push(packet)
    assert line.take(LONG_S) is packet


def test_what_rests_is_taken_when_the_time_is_over_and_rests_anew(clock: list[float]) -> None:
    line = backlog(clock, Tally())
    line.rest_until = 90_000  # the camera's clock was set back: it will be long until then
    push(line, clock, "Kp", every_s=REST_S / 2)
    assert taken(line) == [0, 1]
    line.push(packets("K")[0])
    clock[0] += 0.9 * REST_S
    assert taken(line) == []
    clock[0] += 0.2 * REST_S
    assert taken(line) == [0]


def test_the_rest_ends_by_the_clock_and_not_by_the_next_packet() -> None:
    line = Backlog(Tally(), rest_s=0.1)
    line.rest_until = 90_000
    line.push(packets("K")[0])
    began_s = time.monotonic()
    while (packet := line.take(LONG_S)) is None:  # the clock may be a little behind the wait
        assert time.monotonic() - began_s < LONG_S / 2
    assert packet.number == 0


@pytest.mark.parametrize("away_s", [0, 100 * WORK_S])
def test_what_takes_long_to_decode_rests_only_as_long_as_there_is_time_for_it(
    clock: list[float], away_s: float
) -> None:
    line = backlog(clock, Tally())
    for packet in packets("K" * 5 * MEASURED):
        line.push(packet)
        assert line.take(0) is packet
        clock[0] += 1.01 * WORK_S / 4
        if MEASURED <= packet.number < 3 * MEASURED:  # somebody else had the CPU
            clock[0] += away_s
    line.rest_until = 90_000
    few, many = packets("Kpp"), packets("Kppp")
    for packet in few:
        line.push(packet)
    assert taken(line) == []
    line.push(many[3])
    assert taken(line) == [0, 1, 2, 3]


def test_an_end_lets_nothing_rest(clock: list[float]) -> None:
    line = backlog(clock, Tally())
    line.rest_until = 90_000
    line.fill(packets("Kp"))
    assert [line.take(LONG_S).number, line.take(LONG_S).number] == [0, 1]
    with pytest.raises(EOFError):
        line.take(LONG_S)


steps = st.tuples(st.sampled_from("Kppp"), st.floats(0, 1), st.booleans())


@given(st.lists(steps, max_size=120), st.none() | st.integers(0, 120))
@settings(deadline=None)
def test_nothing_is_lost_without_being_counted_and_groups_stay_whole(
    line_of_steps: list[tuple[str, float, bool]], rest_until: int | None
) -> None:
    clock, tally = [0.0], Tally()
    line = backlog(clock, tally)
    line.rest_until = rest_until
    out: list[int] = []
    pushed_s = []
    kinds = "K" + "".join(kind for kind, _, _ in line_of_steps)[1:]
    for packet, (_, wait_s, take) in zip(packets(kinds), line_of_steps, strict=False):
        line.push(packet)
        pushed_s.append(clock[0])
        lagging = [n for n in _waiting(line) if clock[0] - pushed_s[n] > MAX_LAG_S]
        assert not lagging
        clock[0] += wait_s
        if take and (next_one := line.take(0)):
            out.append(next_one.number)
    clock[0] += REST_S
    out += taken(line)
    assert len(out) + tally.packets_dropped["overload"] == len(line_of_steps)
    for before, after in pairwise(out):
        assert after == before + 1 or kinds[after] == "K"


def _waiting(line: Backlog) -> list[int]:
    return [packet.number for _, packet in line._line]
