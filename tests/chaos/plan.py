"""Which faults come when: drawn from a seed, so that a run can be repeated.

    at_s  0 ------------------------------------ seconds ------------- seconds + quiet_s
             fault   fault [== fault ==] fault          nothing happens

Pure. What lasts is over before ``seconds``; what happens to one target never overlaps; the camera
``SPARED`` is never a target. Kinds come out of a bag that is shuffled, so a minute has nearly all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

SPARED = "north"
CAMERAS = ("east", "south", "west")
QUIET_S = 20.0  # a deployment is up in 8 s, a camera waits 4 s at most, Redis is asked each 5 s


class Kind(StrEnum):
    """What goes wrong."""

    STALL = "camera sends nothing"
    DROP = "camera's connections are reset"
    CORRUPT = "camera's pictures are damaged"
    JUMP = "camera's clock is set back"
    RESIZE = "camera's pictures change their size"
    PASSWORD = "camera asks for a password"
    REFUSE = "camera refuses connections"
    DELAY = "network to Redis is slow"
    CUT = "connections to Redis are cut"
    BLACK_HOLE = "network to Redis swallows everything"
    REDIS_KILL = "Redis is killed"
    REDIS_PAUSE = "Redis is frozen"
    KILL_CAMERA = "kill -9 of a camera actor"
    KILL_RECOGNIZER = "kill -9 of the recognizer"
    KILL_PUBLISHER = "kill -9 of the publisher"
    KILL_DEPLOYMENT = "kill -9 of the deployment"
    KILL_SUBSCRIBER = "kill -9 of the subscriber"


OF_CAMERAS = (
    *(Kind.STALL, Kind.DROP, Kind.CORRUPT, Kind.JUMP, Kind.RESIZE),
    *(Kind.PASSWORD, Kind.REFUSE),
)
OF_NETWORK = (Kind.DELAY, Kind.CUT, Kind.BLACK_HOLE)
OF_REDIS = (Kind.REDIS_KILL, Kind.REDIS_PAUSE)
OF_PARTS = (Kind.KILL_CAMERA, Kind.KILL_RECOGNIZER, Kind.KILL_PUBLISHER, Kind.KILL_DEPLOYMENT)
EVERY_KIND = tuple(Kind)
GENTLE = (*OF_CAMERAS, *OF_NETWORK, *OF_REDIS, Kind.KILL_SUBSCRIBER)
"""All that leaves the deployment's processes alive."""

LASTS_S: dict[Kind, tuple[float, float]] = {
    Kind.STALL: (1.5, 7.0),  # a session ends after 1 s, a connection after 4 s
    Kind.CORRUPT: (2.0, 5.0),
    Kind.RESIZE: (2.0, 5.0),
    Kind.PASSWORD: (2.0, 5.0),
    Kind.REFUSE: (1.0, 5.0),
    Kind.DELAY: (2.0, 6.0),
    Kind.BLACK_HOLE: (1.0, 6.0),
    Kind.REDIS_KILL: (0.5, 5.0),
    Kind.REDIS_PAUSE: (1.0, 6.0),
    Kind.KILL_SUBSCRIBER: (0.2, 3.0),
}
"""From and to; what isn't named is done in a moment."""

RECOVERY_S: dict[Kind, float] = {Kind.KILL_DEPLOYMENT: 15.0}
"""After which its target may be hit again; else ``PAUSE_S``."""
PAUSE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong."""

    at_s: float
    kind: Kind
    target: str
    lasts_s: float = 0.0
    """0: done in a moment, nothing to undo."""
    share: float = 0.0
    """In [0, 1): which one, where there are several."""

    @property
    def over_s(self) -> float:
        return self.at_s + self.lasts_s

    def __str__(self) -> str:
        lasts = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        where = f" ({self.target})" if self.kind in OF_CAMERAS else ""
        return f"{self.kind}{where}{lasts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A fault begins, or is taken back."""

    at_s: float
    fault: Fault
    begins: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All faults of a run, in the order in which they begin."""

    seed: int
    seconds: float
    quiet_s: float
    faults: tuple[Fault, ...]

    def steps(self) -> list[Step]:
        """What is to be done, in order."""
        begins = [Step(at_s=one.at_s, fault=one, begins=True) for one in self.faults]
        ends = [Step(at_s=one.over_s, fault=one, begins=False) for one in self.faults]
        return sorted(
            [*begins, *(step for step in ends if step.fault.lasts_s)], key=lambda step: step.at_s
        )


def draw(
    seed: int,
    seconds: float,
    *,
    every_s: float = 3.0,
    kinds: Sequence[Kind] = EVERY_KIND,
    cameras: Sequence[str] = CAMERAS,
    quiet_s: float = QUIET_S,
) -> Plan:
    """A plan with about one fault each ``every_s``."""
    chance = Random(seed)
    faults: list[Fault] = []
    free_s: dict[str, float] = {}
    """When a target may be hit again."""
    waiting: list[Kind] = []
    """Drawn, and without a place so far."""
    at_s = every_s * chance.uniform(0.5, 1.5)
    while at_s < seconds:
        if len(waiting) < len(kinds):
            waiting += chance.sample(kinds, len(kinds))
        fault = _fault(waiting, at_s, seconds, cameras, free_s, chance)
        if fault:
            faults.append(fault)
            waiting.remove(fault.kind)
            free_s[fault.target] = fault.over_s + RECOVERY_S.get(fault.kind, PAUSE_S)
        at_s += every_s * chance.uniform(0.5, 1.5)
    return Plan(seed=seed, seconds=seconds, quiet_s=quiet_s, faults=tuple(faults))


def _fault(
    kinds: Iterable[Kind],
    at_s: float,
    seconds: float,
    cameras: Sequence[str],
    free_s: Mapping[str, float],
    chance: Random,
) -> Fault | None:
    """The first of these kinds that has room here."""
    for kind in kinds:
        least_s, most_s = LASTS_S.get(kind, (0.0, 0.0))
        most_s = min(most_s, seconds - at_s)
        targets = [each for each in _targets(kind, cameras) if at_s >= free_s.get(each, 0.0)]
        if targets and least_s <= most_s:
            return Fault(
                at_s=at_s,
                kind=kind,
                target=chance.choice(targets),
                lasts_s=min(least_s + chance.random() * (most_s - least_s), most_s),
                share=chance.random(),
            )
    return None


def _targets(kind: Kind, cameras: Sequence[str]) -> Sequence[str]:
    if kind in OF_CAMERAS:
        return cameras
    if kind in OF_NETWORK:
        return ("network",)
    if kind in OF_REDIS:
        return ("redis",)
    return ("subscriber",) if kind is Kind.KILL_SUBSCRIBER else ("deployment",)
