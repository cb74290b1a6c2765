"""A stream's answers reach the publisher, past Ray or through it, and none goes to a dead one."""

from collections.abc import Iterator
from fractions import Fraction
from threading import Timer
from unittest.mock import PropertyMock

import numpy as np
import pytest
import ray
from ray.actor import ActorHandle

from actors.carrier import Carrier
from actors.cluster import NAMESPACE, cluster
from actors.direct import Address, HungUp
from actors.parts import kill
from actors.publisher import Publisher
from pipeline.events import Origin
from pipeline.records import Clock, EndReason, Scores, Session, SessionEnd, TimeOfDay, WindowSpan
from pipeline.settings import EventSpec
from pipeline.tally import Tally

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(120),
]

LABELS = tuple("abcdefghij")
NAME = "a publisher"


@pytest.fixture(scope="module", autouse=True)
def _ray_here() -> Iterator[None]:
    with cluster():
        yield


@pytest.fixture
def publisher() -> Iterator[ActorHandle[Publisher]]:
    yield start()
    kill(NAME)


def start() -> ActorHandle[Publisher]:
    spec = EventSpec(enter=0.5, exit=0.3, smoothing_windows=3, min_duration_s=0.0, background=())
    origin = Origin(labels=LABELS, model_name="m", model_digest="d", settings_digest="")
    options = ray.remote(Publisher).options(
        name=NAME, namespace=NAMESPACE, lifetime="detached", num_cpus=0
    )
    actor: ActorHandle[Publisher] = options.remote(spec, origin, None, keep=True)
    return actor


def answers(session_id: str, count: int = 40) -> Iterator[Scores | SessionEnd]:
    """Each label in turn; smoothing looks at the scores of calls before."""
    session = Session(stream_id="s", session_id=session_id, kind="live", sample_fps=Fraction(8))
    for n in range(count):
        scores_K = np.full(len(LABELS), 0.01, np.float32)
        scores_K[n // 4 % len(LABELS)] = 0.9
        span = WindowSpan(
            session=session,
            first_ordinal=8 * n,
            last_ordinal=8 * n + 7,
            start_ns=n * 10**9,
            end_ns=(n + 1) * 10**9,
            time_of_day=TimeOfDay(clock=Clock.WALL, offset_s=0.0),
            arrived_s=float(n),
        )
        yield Scores(span=span, scores_K=scores_K)
    yield SessionEnd(session=session, reason=EndReason.GAP, at_ns=count * 10**9)


def carrier(tally: Tally, kind: str = "live") -> Carrier:
    return Carrier(NAME, "s", kind, settings_digest="x", tally=tally)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["live", "file"])
def test_events_are_the_same_past_ray_and_through_it(
    publisher: ActorHandle[Publisher], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    taken = 0

    def events_of(here: bool) -> list[tuple[object, ...]]:
        nonlocal taken
        monkeypatch.setattr(Address, "here", PropertyMock(return_value=here))
        tally = Tally()
        with carrier(tally, kind) as it:
            for answer in answers("one"):
                it.take(answer)
            for answer in answers("two", 3):
                it.take(answer)
            it.finish()
        made = ray.get(publisher.take.remote(taken))
        assert ray.get(publisher.take.remote(taken)) == made, "it keeps them until it is told"
        taken += len(made)
        assert tally.events == len(made)
        ray.get(publisher.forget.remote("s"))
        return [(e.session_id, e.label, e.type, e.seq, e.score, e.start_pts_s) for e in made]

    past, through = events_of(True), events_of(False)
    assert past == through
    assert len(past) > 2 * len(LABELS)
    assert {session for session, *_ in past} == {"one", "two"}


@pytest.mark.parametrize("here", [True, False], ids=["past Ray", "through Ray"])
def test_a_publisher_that_dies_takes_the_session_and_no_other(
    publisher: ActorHandle[Publisher], monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    monkeypatch.setattr(Address, "here", PropertyMock(return_value=here))
    with carrier(Tally()) as it:
        it.take(next(answers("one")))
        kill(NAME)
        with pytest.raises((HungUp, ray.exceptions.RayActorError)):
            for answer in answers("one"):
                it.take(answer)
    start()
    with carrier(Tally()) as it:
        for answer in answers("two"):
            it.take(answer)
        kill(NAME)  # while the camera is idle
        again = start()
        for answer in answers("three"):
            it.take(answer)
        it.finish()
    assert {event.session_id for event in ray.get(again.take.remote(0))} == {"three"}


def test_a_publisher_at_work_is_not_ready(publisher: ActorHandle[Publisher]) -> None:
    """What its watch asks waits for a publisher that hangs, whoever called it."""

    def work_for_a_while(it: Publisher) -> None:
        it._one_at_a_time.acquire()
        Timer(1.5, it._one_at_a_time.release).start()

    ray.get(publisher.__ray_call__.remote(work_for_a_while))
    asked = publisher.ready.remote()
    assert not ray.wait([asked], timeout=0.5)[0]
    assert ray.get(asked, timeout=30) == [], "it had nothing to say"
