"""What is known after a run of faults, for laws to be held against it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.records import ActionEvent
from tests.chaos.listener import Identity
from tests.chaos.plan import Fault, Kind, Plan
from tests.chaos.watch import Scrape, Sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A fault that was begun or taken back."""

    at_s: float
    """Unix seconds."""
    over_s: float
    """Unix seconds at which doing it was through."""
    fault: Fault
    begins: bool
    note: str = ""
    """Why nothing came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A law that did not hold."""

    law: str
    values: str
    at_s: float | None = None
    """Unix seconds at which it did not; None: at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All of it."""

    plan: Plan
    began_s: float
    """Unix seconds at which the plan began."""
    done: Sequence[Done]
    anew: Sequence[float] = ()
    """Unix seconds at which the spared camera was cut off, for its footage to begin anew."""
    scrapes: Sequence[Scrape]
    settled_after_s: float | None
    """From the last fault until all was well; None: it never was."""
    unsettled: str
    """What was not well at last."""
    paused_s: float
    """Unix seconds at which the cameras were let go of, in order."""
    last: Scrape
    """After that."""
    sights: Sequence[Sight]
    stored: Sequence[ActionEvent]
    handled: Sequence[Identity]
    dead_letters: int
    left_over: int
    """Events that wait on disk after the end."""
    exit_codes: dict[str, int] = field(default_factory=dict)
    left: Sequence[str] = ()
    """Command lines of processes that outlived the end."""
    said: str = ""
    """By the deployment, all its lives."""

    def kills(self, *kinds: Kind) -> Iterator[Done]:
        """Faults of these kinds that hit something."""
        for one in self.done:
            if one.begins and one.fault.kind in kinds and not one.note:
                yield one

    def before(self, at_s: float | None) -> Fault | None:
        """The last fault that began before a moment."""
        begun = [one for one in self.done if one.begins and (at_s is None or one.at_s <= at_s)]
        return begun[-1].fault if begun else None


def lives_of(events: Sequence[ActionEvent]) -> dict[str, list[ActionEvent]]:
    """Lines by ``event_id``, in their order."""
    found: dict[str, list[ActionEvent]] = {}
    for event in events:
        found.setdefault(event.event_id, []).append(event)
    return found
