"""A question that is asked again and again, of an actor that isn't one."""

import time
from collections.abc import Iterator

import pytest
import ray

from actors.cluster import cluster
from actors.pulse import PartDied, PartLost, Pulse
from pipeline.errors import ConfigError


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with cluster():
        yield


class Asked:
    def __init__(self) -> None:
        self.times = 0
        self.now_s = 100.0

    def question(self) -> "ray.ObjectRef[int]":
        self.times += 1
        return ray.put(self.times)

    def pulse(self) -> Pulse[int]:
        return Pulse(self.question, start_s=60, answer_s=10, now=lambda: self.now_s)


def test_a_question_is_asked_again_once_it_is_answered_and_the_pause_is_over() -> None:
    asked = Asked()
    pulse = asked.pulse()
    pulse.ask(every_s=1.0)
    pulse.ask()
    assert asked.times == 1, "it has not been answered"
    assert pulse.look() == 1
    asked.now_s += 0.5
    pulse.ask(every_s=1.0)
    assert asked.times == 1
    assert pulse.look() is None
    asked.now_s += 0.5
    pulse.ask(every_s=1.0)
    assert pulse.look() == 2
    pulse.ask()
    assert pulse.look() == 3


@ray.remote(num_cpus=0)
class Mute:
    def answer(self) -> int:
        time.sleep(1000)
        return 1


def test_who_is_not_asked_is_not_silent_and_who_was_away_has_heard_nothing() -> None:
    asked, mute = Asked(), Mute.remote()
    pulse: Pulse[int] = Pulse(
        lambda: asked.question() if asked.times < 1 else mute.answer.remote(),
        start_s=60,
        answer_s=10,
        now=lambda: asked.now_s,
    )

    def look_for(seconds: int) -> None:
        for _ in range(seconds):
            asked.now_s += 1
            assert pulse.look() is None

    pulse.ask()
    assert pulse.look() == 1
    look_for(20)
    pulse.ask()
    look_for(9)
    asked.now_s += 1000  # we were stopped, and go on
    assert pulse.look() is None
    look_for(1)
    asked.now_s += 1
    with pytest.raises(PartLost, match="11 s"):
        pulse.look()
    ray.kill(mute)


@ray.remote(num_cpus=0)
class Failing:
    def __init__(self, error: Exception) -> None:
        raise error

    def answer(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("redis: the variable X is not set"), "died: redis: the variable X is not set"),
        (ValueError("hunter2"), "died"),
    ],
)
def test_an_actor_that_can_not_start_says_why_if_we_know(error: Exception, said: str) -> None:
    actor = Failing.remote(error)
    pulse: Pulse[int] = Pulse(actor.answer.remote, start_s=60, answer_s=60)
    pulse.ask()
    with pytest.raises(PartDied) as died:
        while pulse.look() is None:
            time.sleep(0.05)
    assert str(died.value) == said
