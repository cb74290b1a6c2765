"""Windows of many streams, computed together: order, company, errors, the end."""

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
import pytest

from pipeline.batcher import Batcher
from pipeline.lane import UNANSWERED
from pipeline.model import ModelSpec, Recognizer
from pipeline.records import Scores, Window, read_only

MakeWindow = Callable[..., Window]


class Network:
    """Answers with a window's first ordinal, once it is let go; remembers its batches."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.entered = threading.Semaphore(0)
        if not held:
            self.go.set()

    def __call__(self, windows: Sequence[Window]) -> list[Scores]:
        ordinals = [window.span.first_ordinal for window in windows]
        self.batches.append(ordinals)
        self.entered.release()
        assert self.go.wait(20)
        if 666 in ordinals:
            raise ArithmeticError("a bad window")
        return [
            Scores(span=w.span, scores_K=read_only(np.array([w.span.first_ordinal], np.float32)))
            for w in windows
        ]


@pytest.fixture
def spec(make_recognizer: Callable[..., Recognizer]) -> ModelSpec:
    return make_recognizer(blocks=(2, 2, 2, 1), width=4, frames=2).spec


def value(answer: Future[Scores]) -> float:
    return float(answer.result(20).scores_K[0])


def test_windows_that_come_together_are_computed_together(
    spec: ModelSpec, make_window: MakeWindow
) -> None:
    network = Network()
    with Batcher(network, batch_size=4, workers=2) as batcher:
        for first in range(0, 120, 6):
            answers = batcher.submit_all([make_window(spec, n) for n in range(first, first + 6)])
            assert [value(answer) for answer in answers] == [2 * n for n in range(first, first + 6)]
        assert batcher.submit_all([]) == []
    assert sorted(map(len, network.batches)) == [2] * 20 + [4] * 20


def test_each_caller_gets_the_answer_to_its_window(
    spec: ModelSpec, make_window: MakeWindow
) -> None:
    network = Network()
    with Batcher(network, batch_size=4, workers=3) as batcher:
        answers = [batcher.submit(make_window(spec, n)) for n in range(50)]
        assert [value(answer) for answer in answers] == [2 * n for n in range(50)]
    assert max(map(len, network.batches)) <= 4
    assert batcher.windows == 50
    assert batcher.batches == len(network.batches)


def test_what_waits_is_computed_together_in_order(spec: ModelSpec, make_window: MakeWindow) -> None:
    network = Network(held=True)
    with Batcher(network, batch_size=4) as batcher:
        first = batcher.submit(make_window(spec, 0))
        assert network.entered.acquire(timeout=20)
        rest = [batcher.submit(make_window(spec, n)) for n in range(1, 8)]
        network.go.set()
        wait([first, *rest], 20)
    assert network.batches == [[0], [2, 4, 6, 8], [10, 12, 14]]


def test_one_that_adapts_makes_the_batches_that_pay(
    spec: ModelSpec, make_window: MakeWindow
) -> None:
    network = Network()

    def slowly(windows: Sequence[Window]) -> list[Scores]:
        time.sleep(0.02 * len(windows) ** 4)  # alone is cheapest, by far
        return network(windows)

    with Batcher(slowly, batch_size=8, timeout_s=60, adapts=True) as batcher:
        answers = batcher.submit_all([make_window(spec, n) for n in range(20)])
        assert [value(answer) for answer in answers] == [2 * n for n in range(20)]
    assert list(map(len, network.batches)) == [1, 1, 2, *[1] * 16]


def test_a_full_batch_does_not_wait_for_company(spec: ModelSpec, make_window: MakeWindow) -> None:
    network = Network()
    with Batcher(network, batch_size=2, timeout_s=60) as batcher:
        answers = [batcher.submit(make_window(spec, n)) for n in range(2)]
        assert [value(answer) for answer in answers] == [0, 2]
    assert network.batches == [[0, 2]]


def test_a_window_alone_waits_no_longer_than_the_timeout(
    spec: ModelSpec, make_window: MakeWindow
) -> None:
    network = Network()
    began = time.monotonic()
    with Batcher(network, batch_size=8, timeout_s=0.2) as batcher:
        answers = [batcher.submit(make_window(spec, n)) for n in range(2)]
        assert [value(answer) for answer in answers] == [0, 2]
        assert time.monotonic() - began >= 0.2
    assert network.batches == [[0, 2]]


def test_windows_of_two_shapes_are_not_mixed(spec: ModelSpec, make_window: MakeWindow) -> None:
    network = Network(held=True)
    with Batcher(network, batch_size=4) as batcher:
        answers = [batcher.submit(make_window(spec, 0))]
        assert network.entered.acquire(timeout=20)
        for n in range(1, 6):
            answers.append(batcher.submit(make_window(spec, n, size_px=32 + 32 * (n % 2))))
        network.go.set()
        assert [value(answer) for answer in answers] == [0, 2, 4, 6, 8, 10]
    assert network.batches == [[0], [2, 6, 10], [4, 8]]


def test_an_error_fails_its_own_batch_only(spec: ModelSpec, make_window: MakeWindow) -> None:
    with Batcher(Network(), batch_size=1) as batcher:
        good = batcher.submit(make_window(spec, 1))
        bad = batcher.submit(make_window(spec, 333))
        later = batcher.submit(make_window(spec, 2))
        assert (value(good), value(later)) == (2, 4)
        assert isinstance(bad.exception(20), ArithmeticError)


def test_too_few_answers_are_an_error_too(spec: ModelSpec, make_window: MakeWindow) -> None:
    with Batcher(lambda windows: []) as batcher:
        assert "0 answers to 1 windows" in str(batcher.submit(make_window(spec, 1)).exception(20))
        assert batcher.submit(make_window(spec, 2)).exception(20)


def test_a_cancelled_window_is_left_out(spec: ModelSpec, make_window: MakeWindow) -> None:
    network = Network(held=True)
    with Batcher(network, batch_size=2) as batcher:
        first = batcher.submit(make_window(spec, 0))
        assert network.entered.acquire(timeout=20)
        rest = [batcher.submit(make_window(spec, n)) for n in range(1, 6)]
        assert all(rest[n].cancel() for n in (0, 1, 2))
        assert not first.cancel()
        network.go.set()
        assert [value(answer) for answer in (first, rest[3], rest[4])] == [0, 8, 10]
    assert network.batches == [[0], [8], [10]]


def test_closing_finishes_what_waits_and_ends_the_threads(
    spec: ModelSpec, make_window: MakeWindow
) -> None:
    before = threading.active_count()
    network = Network(held=True)
    batcher = Batcher(network, batch_size=2, timeout_s=60, workers=2)
    answers = [batcher.submit(make_window(spec, n)) for n in range(7)]
    closer = threading.Thread(target=batcher.close)
    closer.start()
    network.go.set()
    closer.join(20)
    assert not closer.is_alive()
    assert [value(answer) for answer in answers] == [2 * n for n in range(7)]
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(make_window(spec, 9))
    batcher.close()


def test_an_eager_batcher_waits_for_company_only_while_a_batch_is_computed(
    spec: ModelSpec, make_window: MakeWindow
) -> None:
    network = Network(held=True)
    with Batcher(network, batch_size=2, timeout_s=3600, workers=2, eager=True) as batcher:
        first = batcher.submit(make_window(spec, 0))
        assert network.entered.acquire(timeout=20)  # alone, an hour too early
        second = batcher.submit(make_window(spec, 1))
        third = batcher.submit(make_window(spec, 2))
        assert network.entered.acquire(timeout=20)
        fourth = batcher.submit(make_window(spec, 3))  # alone as well, once nothing is computed
        network.go.set()
        assert [value(answer) for answer in (first, second, third, fourth)] == [0, 2, 4, 6]
    assert network.batches == [[0], [2, 4], [6]]


def test_streams_are_served_in_turn_however_many_windows_they_have(
    spec: ModelSpec, make_window: MakeWindow
) -> None:
    network = Network(held=True)
    with Batcher(network, batch_size=2) as batcher:
        first = batcher.submit(make_window(spec, 0, stream_id="a"))
        assert network.entered.acquire(timeout=20)
        rest = [
            batcher.submit(make_window(spec, n, stream_id=stream))
            for n, stream in enumerate("aabbcd", start=1)
        ]
        network.go.set()
        wait([first, *rest], 20)
    # b's, c's and d's first, a's, which had a turn, and last what are second ones.
    assert network.batches == [[0], [6, 10], [12, 2], [4, 8]]


def test_only_so_many_streams_turns_are_remembered(
    spec: ModelSpec, make_window: MakeWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.batcher.KNOWN", 3)
    with Batcher(Network(), batch_size=2) as batcher:
        for n in range(20):
            value(batcher.submit(make_window(spec, n, stream_id=f"{n % 7}")))
        assert list(batcher._served) == ["3", "4", "5"]


def test_a_stream_alone_in_its_process_is_served_no_more_than_others(
    spec: ModelSpec, make_window: MakeWindow
) -> None:
    """Two processes' calls of a network that can't keep up: two cameras here, one there.

    In order of arrival, the one that is alone would be served a fifth more often than the mean.
    """
    every_s, window_s = 0.016, 0.036
    scored: Counter[str] = Counter()
    over = threading.Event()

    def network(windows: Sequence[Window]) -> list[Scores]:
        time.sleep(window_s * random.uniform(0.8, 1.2) * len(windows))
        return [Scores(span=w.span, scores_K=np.zeros(1, np.float32)) for w in windows]

    with Batcher(network, batch_size=1, workers=2) as recognizer:

        def call(windows: Sequence[Window]) -> list[Scores]:
            return [answer.result(20) for answer in reversed(recognizer.submit_all(windows))]

        def camera(stream: str, calls: Batcher[Window, Scores], phase: float) -> None:
            window = make_window(spec, stream_id=stream)
            unanswered: deque[Future[Scores]] = deque()
            due_s = time.monotonic() + phase * every_s
            while not over.is_set():
                time.sleep(max(0.0, due_s - time.monotonic()))
                due_s += every_s
                while unanswered and unanswered[0].done():
                    unanswered.popleft()
                    scored[stream] += 1
                if len(unanswered) < UNANSWERED:
                    unanswered.append(calls.submit(window))

        with (
            Batcher(call, timeout_s=0.002, workers=2, eager=True) as here,
            Batcher(call, timeout_s=0.002, workers=2, eager=True) as there,
            ThreadPoolExecutor() as pool,
        ):
            watched = [
                pool.submit(camera, *each)
                for each in (("a", here, 0), ("b", here, 1 / 3), ("c", there, 2 / 3))
            ]
            time.sleep(4)
            over.set()
            for each in watched:
                each.result(20)
    mean = scored.total() / 3
    assert mean > 20
    assert all(abs(count / mean - 1) < 0.1 for count in scored.values()), scored
