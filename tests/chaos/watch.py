"""What a deployment says of itself, and what its processes hold, looked at again and again."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from threading import Event, Thread
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.processes import Holdings, holdings
from tests.chaos.service import Service

SCRAPE_S = 0.7  # the page is made anew each second at most
HOLDINGS_EVERY = 4
TIMEOUT_S = 15.0
PREFIX = "actionstream_"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One page of metrics."""

    at_s: float
    """Unix seconds at which it was asked for."""
    life: int
    """Which start of the deployment it is of: 1, 2 …"""
    samples: dict[str, dict[Labels, float]]
    """By the metric's name without its prefix."""

    def rows(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """Samples that bear these labels."""
        for found, value in self.samples.get(name, {}).items():
            if labels.items() <= dict(found).items():
                yield dict(found), value

    def sum(self, name: str, **labels: str) -> float:
        return sum(value for _, value in self.rows(name, **labels))

    @property
    def streams(self) -> list[str]:
        return sorted({found["stream"] for found, _ in self.rows("pictures_in_total")})

    def state(self, stream: str) -> str:
        """What the stream is doing; empty where nothing is known of it."""
        rows = self.rows("stream_state", stream=stream)
        return next((found["state"] for found, value in rows if value), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one process held."""

    at_s: float
    life: int
    pid: int
    role: str
    holdings: Holdings


@dataclass
class Watch:
    """A thread that looks; a context manager."""

    deployment: Service
    port: int
    every_s: float = SCRAPE_S
    scrapes: list[Scrape] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._closing = Event()
        self._thread = Thread(target=self._work, name="watch")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._thread.join()

    def scrape(self) -> Scrape | None:
        """The page as it is now; None where there is none."""
        at_s, life = time.time(), self.deployment.lives
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        if answer.status != 200 or life != self.deployment.lives:
            return None
        samples: dict[str, dict[Labels, float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            if family.type == "histogram":
                continue
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                samples[sample.name.removeprefix(PREFIX)][labels] = sample.value
        return Scrape(at_s=at_s, life=life, samples=dict(samples))

    def see(self) -> None:
        """Note what every process of the deployment holds."""
        at_s, life = time.time(), self.deployment.lives
        for process in self.deployment.processes:
            held = holdings(process)
            if held is not None:
                role = role_of(process.title)
                self.sights.append(
                    Sight(at_s=at_s, life=life, pid=process.pid, role=role, holdings=held)
                )

    def _work(self) -> None:
        turns = 0
        while not self._closing.wait(self.every_s):
            scrape = self.scrape()
            if scrape is not None and scrape.streams:
                self.scrapes.append(scrape)
            if turns % HOLDINGS_EVERY == 0:
                self.see()
            turns += 1


ROLES = {
    "ray::Camera": "camera",
    "ray::Recognizer": "recognizer",
    "ray::Publisher": "publisher",
    "actors.cli": "supervisor",
    "gcs_server": "ray gcs",
    "/raylet ": "ray raylet",
}


def role_of(title: str) -> str:
    """``camera`` for ``ray::Camera.states``."""
    return next((role for part, role in ROLES.items() if part in title), "ray other")
