"""A plan carried out on a stage, from the first picture to the last process."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.control import Control
from pipeline.config import RedisConfig
from pipeline.errors import ConfigError
from pipeline.sink import left_over
from tests.chaos.evidence import Done, Evidence
from tests.chaos.plan import Plan
from tests.chaos.stage import Stage
from tests.chaos.watch import SCRAPE_S, Scrape, Watch

START_S = 240.0  # for everything to run the first time, on a machine that does other things
LEAD_S = 8.0  # without faults, for the spared camera to have events that can be compared
SHOWS_S = 3.0  # until the last fault can be seen at all
BUSY = 4.0  # such a machine settles so many times later
POLL_S = 0.3

Say = Callable[[str], None]


def aloud(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


@dataclass
class Act:
    """One run."""

    stage: Stage
    plan: Plan
    say: Say = aloud
    look_every_s: float = SCRAPE_S
    done: list[Done] = field(default_factory=list)
    anew: list[float] = field(default_factory=list)
    """When the spared camera was connected anew, in Unix seconds."""

    def run(self) -> Evidence:
        """Faults, a quiet time, an end in order; what was seen of it."""
        stage, plan = self.stage, self.plan
        with Watch(stage.deployment, stage.health_port, self.look_every_s) as watch:
            trouble = _until_well(watch, stage, START_S)
            assert not trouble, f"the deployment did not start: {trouble}"
            self.say("all is well; faults begin")
            self._lead()
            began_s = time.time()
            self._perform(began_s)
            over_s = time.time()
            time.sleep(SHOWS_S)
            trouble = _until_well(watch, stage, plan.quiet_s * BUSY)
            settled_s = None if trouble else time.time() - over_s
            self.say(
                f"{'NOT WELL: ' + trouble if trouble else f'all is well after {settled_s:.1f} s'}"
            )
            watch.see()
            self._lead()
            paused_s = time.time()
            last = self._pause(watch)
        code, left = stage.deployment.stop()
        listening, left_too = stage.subscriber.stop()
        return Evidence(
            plan=plan,
            began_s=began_s,
            done=self.done,
            anew=self.anew,
            scrapes=watch.scrapes,
            settled_after_s=settled_s,
            unsettled=trouble,
            paused_s=paused_s,
            last=last,
            sights=watch.sights,
            stored=stage.stored(),
            handled=stage.handled(),
            dead_letters=stage.dead_letters(),
            left_over=sum(
                count for count, _ in left_over(RedisConfig(state_dir=stage.state_dir)).values()
            ),
            exit_codes={"deployment": code, "subscriber": listening},
            left=[process.title for process in [*left, *left_too]],
            said=stage.deployment.said.read_text(errors="replace"),
        )

    def _lead(self) -> None:
        """A session of the spared camera with nothing about it: neither a start nor a fault.

        While a deployment starts, the machine is busy, and windows may be dropped.
        """
        self.anew.append(time.time())
        self.stage.begin_anew()
        time.sleep(LEAD_S)

    def _perform(self, began_s: float) -> None:
        for step in self.plan.steps():
            time.sleep(max(0.0, began_s + step.at_s - time.time()))
            at_s, note = time.time(), ""
            if step.begins:
                note = self.stage.begin(step.fault)
            else:
                self.stage.undo(step.fault)
            self.done.append(
                Done(at_s=at_s, over_s=time.time(), fault=step.fault, begins=step.begins, note=note)
            )
            over = "" if step.begins else "over: "
            remark = f"  [{note}]" if note else ""
            self.say(f"{at_s - began_s:6.1f} s  {over}{step.fault}{remark}")

    def _pause(self, watch: Watch) -> Scrape:
        """Let go of the cameras in order: what is counted then is final."""
        control = Control(self.stage.state_dir)
        for name in self.stage.cameras:
            try:
                control.pause(name)
            except ConfigError as error:
                self.say(f"can't pause {name}: {error}")
        deadline_s = time.monotonic() + self.plan.quiet_s * BUSY
        while time.monotonic() < deadline_s:
            time.sleep(1.1)  # the page is made anew after a second
            scrape = watch.scrape()
            if scrape is not None and _is_still(scrape, self.stage):
                return scrape
        scrape = watch.scrape()
        assert scrape is not None, "no page of metrics at the end"
        return scrape


def _is_still(scrape: Scrape, stage: Stage) -> bool:
    moving = scrape.sum("windows_made_total") - scrape.sum("windows_total")
    paused = all(scrape.state(name) == "paused" for name in stage.cameras)
    waiting = scrape.sum("outbox_events") or stage.unread()
    return paused and not moving and not waiting


def _until_well(watch: Watch, stage: Stage, timeout_s: float) -> str:
    """Wait until all is well; what is not, or nothing."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        scrape = watch.scrape()
        trouble = "no metrics" if scrape is None else _trouble(scrape, stage)
        if not trouble or time.monotonic() > deadline_s:
            return trouble
        time.sleep(POLL_S)


def _trouble(scrape: Scrape, stage: Stage) -> str:
    states = {name: scrape.state(name) for name in stage.cameras}
    down = [found["part"] for found, up in scrape.rows("part_up") if not up]
    roles = {found["role"] for found, _ in scrape.rows("part_up")}
    waiting = scrape.sum("outbox_events")
    unread = stage.unread()
    if any(state != "streaming" for state in states.values()):
        return f"cameras are {states}"
    if down or roles != {"camera", "recognizer", "publisher"}:
        return f"parts that are down: {down}, roles {sorted(roles)}"
    if not all(scrape.sum("events_total", stream=name) for name in stage.cameras):
        return "not every camera has had an event"
    if waiting > 20 or unread > 20:  # more come all the time
        return f"{waiting:g} events wait in the outbox, {unread} for the subscriber"
    return ""
