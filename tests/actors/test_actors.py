"""The stages on Ray give what they give in one process, whatever dies on the way."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from threading import Event, Thread

import pytest
import ray

from actors.calls import CALLS, Calls
from actors.cluster import NAMESPACE, cluster, run_name
from actors.direct import Address, HungUp, Line
from actors.pulse import PartDied, Pulse
from actors.recognizer import Recognizer
from actors.reporter import Reporter
from actors.supervisor import Supervisor
from benchmarks.measure import cpu_seconds
from pipeline import run as in_process
from pipeline.config import Config, EventConfig, ModelConfig, RecognizerConfig
from pipeline.errors import ConfigError, SourceNotFound
from pipeline.model import load
from pipeline.records import ActionEvent, Window
from pipeline.settle import origin_of, settle
from pipeline.source import CameraSource, FileSource, Source, parse_address
from pipeline.stream import windows
from pipeline.tally import Outcome, Tally
from tests.footage import clip
from tests.rtsp import RtspServer, transcode

CONFIG = Config(
    recognizer=RecognizerConfig(batch_size=4),
    events=EventConfig(enter=0.2, exit=0.1, background=()),  # many events, of any label
)
CLIPS = ("room.webm", "street.mp4", "car.mp4")

# Ray's driver leaves sockets and files to the garbage collector, which warns of each.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with cluster():
        yield


class Kept:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.events: list[ActionEvent] = []

    def write(self, events: list[ActionEvent]) -> None:
        self.events += events

    def close(self) -> None:
        """Nothing to close."""


def files(*names: str) -> list[FileSource]:
    return [FileSource(path=clip(name), stream_id=name) for name in names]


def supervisor(sources: list[Source], config: Config = CONFIG) -> Supervisor:
    recognizer = load("default", device="cpu")
    settings = settle(config, recognizer.spec)
    origin = origin_of(recognizer, settings)
    return Supervisor(
        sources, config, settings, origin, redis=None, keep_events=True, name=run_name()
    )


def on_ray(
    running: Supervisor, each_step: Callable[[], None] = lambda: None
) -> tuple[list[ActionEvent], list[Outcome]]:
    events: list[ActionEvent] = []
    while running.busy:
        running.step()
        each_step()
        events += running.take_events()
    return events, running.outcomes


def in_one_process(sources: list[Source]) -> list[ActionEvent]:
    kept = Kept()
    in_process.run(sources, load("default", device="cpu"), CONFIG, kept)
    return kept.events


def equal(ours: list[ActionEvent], theirs: list[ActionEvent]) -> None:
    """As design says: everything but scores to the letter, scores within 1e-4."""
    assert len(ours) == len(theirs)
    order = sorted(ours, key=lambda e: (e.event_id, e.seq))
    for a, b in zip(order, sorted(theirs, key=lambda e: (e.event_id, e.seq)), strict=True):
        zeros = {"score": 0.0, "peak_score": 0.0, "mean_score": 0.0}
        assert replace(a, **zeros) == replace(b, **zeros)
        for name in zeros:
            assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-4)


def family_of(pid: int) -> set[int]:
    """A process and all that descend from it."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def listening_addresses(pids: set[int]) -> list[IPv4Address | IPv6Address]:
    """Where these processes listen for TCP, from the kernel's tables."""
    inodes = set()
    for pid in pids:
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    inodes.add(str(descriptor.readlink()).removeprefix("socket:["))
    found: list[IPv4Address | IPv6Address] = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"{fields[9]}]" in inodes:  # LISTEN
                raw = bytes.fromhex(fields[1].partition(":")[0])
                words = b"".join(raw[n : n + 4][::-1] for n in range(0, len(raw), 4))
                address = ip_address(words)
                found.append(getattr(address, "ipv4_mapped", None) or address)
    return found


def process_of(name: str) -> int:
    actor = ray.get_actor(name, namespace=NAMESPACE)
    pid: int = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    return pid


@pytest.fixture(scope="module")
def expected() -> list[ActionEvent]:
    events = in_one_process(files(*CLIPS))
    assert len(events) > 10
    return events


def test_actors_give_the_events_of_one_process(ray_here: None, expected: list[ActionEvent]) -> None:
    with supervisor([*files(*CLIPS), FileSource(path=Path("nothere.mp4"), stream_id="x")]) as it:
        events, outcomes = on_ray(it)
    equal(events, expected)
    failed = [outcome for outcome in outcomes if outcome.error]
    assert [type(outcome.error) for outcome in failed] == [SourceNotFound]
    assert all(outcome.tally.balance() == [] for outcome in outcomes)
    assert sum(outcome.tally.scored for outcome in outcomes) == 25 + 19 + 7


@pytest.mark.parametrize("part", ["camera-0", "recognizer-0", "publisher"])
def test_a_part_that_is_killed_comes_back_and_no_event_is_missing(
    ray_here: None, expected: list[ActionEvent], part: str
) -> None:
    with supervisor(files(*CLIPS)) as it:
        pids: list[int] = []

        def kill_once() -> None:
            if not pids and any(tally.scored > 3 for tally in it.tallies.values()):
                pids.append(process_of(it.name_of(part)))
                os.kill(pids[0], signal.SIGKILL)

        events, outcomes = on_ray(it, kill_once)
    assert pids, "the run was over before anything could be killed"
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert [outcome.tally.balance() for outcome in outcomes] == [[]] * 3
    equal(events, expected)


def test_a_publisher_at_work_holds_nobody_up_and_gives_its_events_later(
    ray_here: None, expected: list[ActionEvent]
) -> None:
    with supervisor(files(*CLIPS)) as it:
        pid = process_of(it.name_of("publisher"))
        os.kill(pid, signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            while time.monotonic() - began_s < 3:
                it.step()
                assert it.take_events() == []
            assert time.monotonic() - began_s < 6
        finally:
            os.kill(pid, signal.SIGCONT)
        events, outcomes = on_ray(it)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    equal(events, expected)


def test_windows_that_are_due_together_share_a_call(
    ray_here: None, wait_until: Callable[..., None]
) -> None:
    network = load("default", device="cpu")
    (room,) = files("room.webm")
    items = windows(room, settle(CONFIG, network.spec), tally=Tally(), stop=Event())
    made = [item for item in items if isinstance(item, Window)][:16]
    actor = ray.remote(Recognizer).options(max_concurrency=CALLS + 1, num_cpus=0)
    recognizer = actor.remote(
        ModelConfig(device="cpu"), RecognizerConfig(batch_size=4), digest=network.digest
    )
    with Calls(recognizer, batch_size=8) as calls:
        answers = [calls.submit(window) for window in made]
        for window, answer, expected in zip(made, answers, network.scores(made), strict=True):
            assert answer.result(120).span == window.span
            assert answer.result().scores_K == pytest.approx(expected.scores_K, abs=1e-4)
        assert calls.batches < 16, "the first windows go at once, the rest together"
        assert calls.direct == CALLS
        pid = ray.get(recognizer.__ray_call__.remote(lambda _: os.getpid()))
        ray.kill(recognizer)  # which only asks for it
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the recognizer is dead")
        error = calls.submit(made[0]).exception(120)
        assert isinstance(error, ray.exceptions.RayActorError)


@pytest.mark.parametrize("there", ["on another machine", "no longer at its door"])
def test_a_recognizer_that_cannot_be_reached_directly_is_called_through_ray(
    ray_here: None, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    def refuse(_: object, address: Address) -> None:
        raise HungUp(address.name)

    if there == "on another machine":
        monkeypatch.setattr(Address, "here", False)
    else:
        monkeypatch.setattr(Line, "__init__", refuse)
    network = load("default", device="cpu")
    (room,) = files("room.webm")
    items = windows(room, settle(CONFIG, network.spec), tally=Tally(), stop=Event())
    window = next(item for item in items if isinstance(item, Window))
    actor = ray.remote(Recognizer).options(max_concurrency=CALLS + 1, num_cpus=0)
    recognizer = actor.remote(ModelConfig(device="cpu"), RecognizerConfig(), digest=network.digest)
    with Calls(recognizer, batch_size=8) as calls:
        found = calls.submit(window).result(120)
        assert calls.direct == 0
    assert found.scores_K == pytest.approx(network.scores([window])[0].scores_K, abs=1e-4)
    ray.kill(recognizer)


def test_a_recognizer_that_finds_another_model_does_not_work(ray_here: None) -> None:
    actor = ray.remote(Recognizer).options(num_cpus=0, max_restarts=-1)
    recognizer = actor.remote(ModelConfig(device="cpu"), RecognizerConfig(), digest="0" * 64)
    pulse: Pulse[str] = Pulse(recognizer.ready.remote, start_s=120, answer_s=120)
    pulse.ask()
    with pytest.raises(PartDied, match="holds another model than the one that the deployment"):
        while pulse.look() is None:
            time.sleep(0.05)


class SlowToHear:
    """A publisher that hangs."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []
        self.open = Event()

    def report(self, *line: str) -> None:
        self.open.wait()
        self.heard.append(line)

    def go_on(self) -> None:
        self.open.set()

    def all(self) -> list[tuple[str, ...]]:
        return self.heard


def test_a_publisher_that_hangs_or_dies_holds_up_no_report_and_misses_none(
    ray_here: None, wait_until: Callable[..., None]
) -> None:
    name = f"{run_name()}/publisher"
    start = ray.remote(SlowToHear).options(name=name, max_concurrency=3, num_cpus=0).remote
    first = start()
    reporter = Reporter(name)
    began_s = time.monotonic()
    told = [reporter.report("gate", state, "") for state in ("connecting", "streaming", "ended")]
    assert time.monotonic() - began_s < 1
    assert not told[0].wait(1)
    ray.kill(first)
    second = None

    def started() -> bool:
        nonlocal second
        with suppress(ValueError):  # until the name is free
            second = start()
        return second is not None

    wait_until(started, "the next publisher", 30)
    assert second is not None
    second.go_on.remote()
    assert told[-1].wait(60)
    states = [state for _, state, _ in ray.get(second.all.remote())]
    assert states == ["connecting", "streaming", "ended"]
    ray.kill(second)


def test_a_start_that_is_stopped_waits_for_nothing(ray_here: None) -> None:
    recognizer = load("default", device="cpu")
    settings = settle(CONFIG, recognizer.spec)
    stop = Event()
    stop.set()
    with Supervisor(
        files("room.webm"),
        CONFIG,
        settings,
        origin_of(recognizer, settings),
        redis=None,
        name=run_name(),
        stop=stop,
    ) as running:
        actor = ray.get_actor(running.name_of("recognizer-0"), namespace=NAMESPACE)
        assert not ray.wait([actor.ready.remote()], timeout=0)[0]  # torch takes its time
        outcomes = running.run(stop)
    assert [outcome.tally.windows for outcome in outcomes] == [0]


def test_a_drain_ends_what_is_open_and_leaves_no_actor(
    ray_here: None, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    video = tmp_path / "v.mp4"
    transcode(clip("room.webm"), video, codec="libx264", seconds=4)
    with RtspServer({"gate@loop": video}) as server:
        address = parse_address(server.url("gate@loop"))
        with supervisor([CameraSource(stream_id="gate", address=address)]) as it:
            stop = Event()
            worker = Thread(target=it.run, args=(stop,))
            worker.start()
            wait_until(lambda: it.tallies and it.tallies["gate"].events > 1, "events come")
            stop.set()
            worker.join()
            events = it.take_events()
        names = [name["name"] for name in ray.util.list_named_actors(all_namespaces=True)]
    assert names == []
    assert {e.event_id for e in events if e.type == "end"} == {e.event_id for e in events}
    assert all(e.arrived_s is not None for e in events)
    assert [outcome.tally.balance() for outcome in it.outcomes] == [[]]


def test_what_decodes_what_publishes_and_what_supervises_does_without_torch() -> None:
    look = """
import sys, actors.parts, actors.supervisor, actors.health, actors.deployment, actors.cli.analyze
import actors.cli.run
from pipeline.config import ModelConfig
from pipeline.settle import card_from
card_from(ModelConfig())
sys.exit('torch' in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", look]).returncode == 0


@pytest.mark.parametrize("port", ["1", "9" * 20])
def test_an_address_without_a_cluster_is_a_config_error(port: str) -> None:
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(ConfigError, match="can't join"), cluster(f"127.0.0.1:{port}"):
        pass


def test_a_local_ray_listens_on_loopback_alone_asks_for_a_token_and_brings_no_company() -> None:
    if ray.is_initialized():
        ray.shutdown()
    with cluster():
        commands = " ".join(
            Path(f"/proc/{pid}/cmdline").read_text() for pid in family_of(os.getpid())
        )
        assert "raylet" in commands
        assert not re.findall(r"\w*monitor\.py|dashboard\.py", commands)
        worker = ray.remote(lambda: Path("/proc/self/oom_score_adj").read_text())
        assert int(ray.get(worker.remote())) <= 0, "no first victim of the kernel"
        listening = listening_addresses(family_of(os.getpid()))
        assert listening, "Ray listens somewhere"
        assert [address for address in listening if not address.is_loopback] == []
        folder = Path(ray._private.worker._global_node.get_session_dir_path())
        assert folder.is_dir()
        before_s = cpu_seconds()
        time.sleep(2)
        assert cpu_seconds() - before_s < 1, "its servers rest"
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert len(os.environ["RAY_AUTH_TOKEN"]) >= 32
    assert not folder.exists(), "it leaves nothing behind"
