"""One stream's windows on their way: in order, bounded, nothing lost without being counted."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from fractions import Fraction

import numpy as np
import pytest

from pipeline.batcher import Batcher
from pipeline.lane import UNANSWERED, Lane
from pipeline.records import (
    Clock,
    EndReason,
    Scores,
    Session,
    SessionEnd,
    TimeOfDay,
    Window,
    WindowSpan,
    read_only,
)
from pipeline.tally import Tally

Wait = Callable[..., None]
PIXELS = read_only(np.zeros((1, 2, 2, 3), np.uint8))


def session(name: str = "s") -> Session:
    return Session(stream_id="cam", session_id=name, kind="live", sample_fps=Fraction(8))


def window(ordinal: int, of: str = "s") -> Window:
    span = WindowSpan(
        session=session(of),
        first_ordinal=ordinal,
        last_ordinal=ordinal + 1,
        start_ns=ordinal,
        end_ns=ordinal + 2,
        time_of_day=TimeOfDay(clock=Clock.WALL, offset_s=None),
        arrived_s=0.0,
    )
    times = read_only(np.zeros(2, np.int64))
    return Window(span=span, pts_ns_T=times, little_PHWC=PIXELS, big_PHWC=PIXELS)


def end(of: str = "s") -> SessionEnd:
    return SessionEnd(session=session(of), reason=EndReason.GAP, at_ns=0)


class Road:
    """A lane, the answers it waits for, and who pushes and reads."""

    def __init__(self, *, live: bool) -> None:
        self.tally = Tally()
        self.sent: list[tuple[Window, Future[Scores]]] = []
        self.lane = Lane(self._submit, live=live, tally=self.tally)
        self.read: list[str] = []
        self.error: BaseException | None = None

    def _submit(self, item: Window) -> Future[Scores]:
        answer: Future[Scores] = Future()
        self.sent.append((item, answer))
        return answer

    def push(self, *items: Window | SessionEnd) -> bool:
        for item in items:
            self.tally.windows += isinstance(item, Window)
            going_on = self.lane.push(item)
        return going_on

    def answer(self, n: int, error: BaseException | None = None) -> None:
        item, answer = self.sent[n]
        if error:
            answer.set_exception(error)
        else:
            answer.set_result(Scores(span=item.span, scores_K=read_only(np.zeros(1, np.float32))))

    def reader(self) -> threading.Thread:
        def take() -> None:
            try:
                for item in self.lane:
                    name = item.session.session_id if isinstance(item, SessionEnd) else None
                    self.read.append(f"end {name}" if name else str(item.span.first_ordinal))
            except BaseException as error:  # noqa: BLE001 - kept for the test to look at
                self.error = error

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        return thread

    @property
    def ordinals(self) -> list[int]:
        return [item.span.first_ordinal for item, _ in self.sent]

    @property
    def open(self) -> int:
        return sum(not answer.done() for _, answer in self.sent)


def finish(thread: threading.Thread) -> None:
    thread.join(20)
    assert not thread.is_alive()


def test_answers_come_in_order_whatever_the_network_does_first(wait_until: Wait) -> None:
    road = Road(live=False)
    road.push(window(0), window(2))
    road.answer(1)
    reader = road.reader()
    road.answer(0)
    wait_until(lambda: road.read == ["0", "2"], "both answers")
    road.push(end())
    road.lane.close()
    finish(reader)
    assert road.read == ["0", "2", "end s"]
    assert road.error is None
    assert (road.tally.scored, road.tally.balance()) == (2, [])


def test_a_file_waits_until_one_of_two_is_answered(wait_until: Wait) -> None:
    road = Road(live=False)
    reader = road.reader()
    pusher = threading.Thread(
        target=lambda: road.push(*(window(n) for n in range(0, 20, 2))), daemon=True
    )
    pusher.start()
    for n in range(10):
        wait_until(lambda n=n: len(road.sent) > n, f"window {n}")
        assert road.open <= UNANSWERED
        assert len(road.sent) <= n + UNANSWERED
        road.answer(n)
    finish(pusher)
    road.lane.close()
    finish(reader)
    assert road.read == [str(n) for n in range(0, 20, 2)]
    assert road.tally.balance() == []


# pushed    0 2 4 6 8           10
# sent      0 2         <- 0 answered: 8   <- 2, 8 answered: 10
# dropped       4 6
def test_a_camera_drops_older_windows_that_are_still_here(wait_until: Wait) -> None:
    road = Road(live=True)
    reader = road.reader()
    road.push(*(window(n) for n in range(0, 10, 2)))
    assert road.ordinals == [0, 2]
    road.answer(0)
    wait_until(lambda: road.ordinals == [0, 2, 8], "the newest")
    road.answer(1)
    road.answer(2)
    wait_until(lambda: road.read == ["0", "2", "8"], "three answers")
    road.push(window(10))
    road.answer(3)
    road.lane.close()
    finish(reader)
    assert road.read == ["0", "2", "8", "10"]
    assert road.tally.windows_dropped == {"overload": 2}
    assert road.tally.balance() == []


def test_ends_between_windows_are_never_lost(wait_until: Wait) -> None:
    road = Road(live=True)
    road.push(window(0, "a"), window(2, "a"), window(4, "a"), end("a"))
    road.push(window(0, "b"), end("b"), window(0, "c"), window(2, "c"))
    reader = road.reader()
    for n in range(3):
        wait_until(lambda n=n: len(road.sent) > n, f"window {n}")
        road.answer(n)
    road.lane.close()
    finish(reader)
    assert road.read == ["0", "2", "end a", "2"]
    assert [item.span.session.session_id for item, _ in road.sent] == ["a", "a", "c"]
    assert road.tally.windows_dropped == {"overload": 3}


def test_a_network_that_hangs_costs_no_memory() -> None:
    road = Road(live=True)
    for n in range(200):
        road.push(window(0, f"s{n}"), window(2, f"s{n}"), end(f"s{n}"))
    assert len(road.lane._line) <= 5
    assert road.ordinals == [0, 2]
    road.lane.abandon()
    assert road.tally.balance() == []


def test_a_session_without_windows_ends_unheard() -> None:
    road = Road(live=False)
    road.push(window(0, "a"), end("a"), end("b"), end("c"), window(0, "d"))
    reader = road.reader()
    road.answer(0)
    road.answer(1)
    road.lane.close()
    finish(reader)
    assert road.read == ["0", "end a", "0"]


def test_a_reader_that_goes_away_frees_the_decoder(wait_until: Wait) -> None:
    road = Road(live=False)
    gone: list[bool] = []
    pusher = threading.Thread(
        target=lambda: gone.append(road.push(window(0), window(2), window(4))), daemon=True
    )
    pusher.start()
    wait_until(lambda: len(road.sent) == 2, "two windows under way")
    road.lane.abandon()
    finish(pusher)
    assert gone == [False]
    assert road.push(window(6)) is False
    assert road.push(end()) is False
    assert len(road.sent) == 2
    assert road.tally.windows_dropped == {"stopped": 4}
    assert road.tally.balance() == []
    road.answer(0)


@pytest.mark.parametrize("live", [False, True])
def test_an_error_comes_after_all_that_came_before_it(live: bool) -> None:
    road = Road(live=live)
    road.push(window(0), window(2), end())
    road.lane.close(OSError("the file broke"))
    reader = road.reader()
    road.answer(1)
    road.answer(0)
    finish(reader)
    assert road.read == ["0", "2", "end s"]
    assert str(road.error) == "the file broke"
    assert road.tally.balance() == []


def test_a_window_that_the_network_failed_on_is_counted() -> None:
    road = Road(live=False)
    road.push(window(0), window(2))
    reader = road.reader()
    road.answer(0)
    road.answer(1, ArithmeticError("no"))
    finish(reader)
    assert road.read == ["0"]
    assert isinstance(road.error, ArithmeticError)
    road.lane.abandon()
    assert road.tally.windows_dropped == {"failed": 1, "stopped": 0}
    assert road.tally.balance() == []


def test_a_cancelled_answer_is_counted_like_a_failed_one() -> None:
    road = Road(live=False)
    road.push(window(0))
    assert road.sent[0][1].cancel()
    finish(road.reader())
    assert road.tally.windows_dropped["failed"] == 1
    assert road.error is not None


def test_a_network_that_takes_no_more_reaches_the_reader() -> None:
    tally = Tally(windows=2)

    def closed(_: Window) -> Future[Scores]:
        raise RuntimeError("the batcher is closed")

    lane = Lane(closed, live=False, tally=tally)
    assert lane.push(window(0))
    lane.push(window(2))
    with pytest.raises(RuntimeError, match="the batcher is closed"):
        next(iter(lane))
    lane.abandon()
    assert tally.balance() == []


def first_ordinals(answers: list[Scores | SessionEnd]) -> list[int]:
    return [answer.span.first_ordinal for answer in answers if isinstance(answer, Scores)]


def test_the_newest_windows_take_the_turns_of_those_that_no_batch_has_taken() -> None:
    """Of a camera; in order, and each that gave up its turn is counted."""
    entered, go, tally = threading.Event(), threading.Event(), Tally()
    batches: list[list[int]] = []

    def score(windows: Sequence[Window]) -> list[Scores]:
        batches.append([w.span.first_ordinal for w in windows])
        entered.set()
        assert go.wait(20)
        scores_K = read_only(np.zeros(1, np.float32))
        return [Scores(span=w.span, scores_K=scores_K) for w in windows]

    with Batcher(score, batch_size=1) as batcher:
        busy = batcher.submit(window(100, "of another"))
        assert entered.wait(20)
        lane = Lane(batcher.submit, live=True, tally=tally)
        for ordinal in range(0, 12, 2):
            tally.windows += 1
            lane.push(window(ordinal))
        lane.push(end())
        tally.windows += 1
        lane.push(window(0, "next"))  # the end stands between: no turn is taken over it
        go.set()
        lane.close()
        answers = list(lane)
        busy.result(20)
    assert first_ordinals(answers) == [8, 10, 0]
    assert batches == [[100], [8], [10], [0]]
    assert isinstance(answers[2], SessionEnd)
    assert tally.windows_dropped == {"overload": 4}
    assert tally.balance() == []


def test_a_window_that_a_batch_has_taken_keeps_its_turn() -> None:
    entered, go, tally = threading.Semaphore(0), threading.Event(), Tally(windows=5)

    def score(windows: Sequence[Window]) -> list[Scores]:
        entered.release()
        assert go.wait(20)
        scores_K = read_only(np.zeros(1, np.float32))
        return [Scores(span=w.span, scores_K=scores_K) for w in windows]

    with Batcher(score, batch_size=1) as batcher:
        lane = Lane(batcher.submit, live=True, tally=tally)
        lane.push(window(0))
        assert entered.acquire(timeout=20)
        for ordinal in (2, 4, 6, 8):
            lane.push(window(ordinal))
        go.set()
        lane.close()
        assert first_ordinals(list(lane)) == [0, 8]
    assert tally.windows_dropped == {"overload": 3}
    assert tally.balance() == []
