"""All that a run of faults needs, and how each fault is done and taken back.

cameras --> deployment --> proxy --> Redis --> proxy --> subscriber
"""

import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from pipeline import wire
from pipeline.records import ActionEvent
from tests.chaos.listener import Identity, handled
from tests.chaos.plan import CAMERAS, SPARED, Fault, Kind
from tests.chaos.proxy import Proxy
from tests.chaos.rtsp import ChaosCamera
from tests.chaos.service import Service
from tests.footage import clip
from tests.redis_server import RedisServer, free_port
from tests.rtsp import transcode

FOOTAGE = {
    SPARED: "room.webm",
    "east": "car.mp4",
    "south": "street.mp4",
    "west": "animation.mp4",
}
SECONDS = 12.0  # of footage, in a loop; the shortest clip has 12.7 s
SMALL = (160, 120)
DELAY_S = 0.15  # each way
DAMAGED = 5  # every fifth picture
JUMP_S = -30.0
LOGIN = "guard:chaos-secret"  # asked for, and known to nobody

EVENTS = "{enter: 0.2, exit: 0.1, background: []}"
"""Many more events than an operator would want."""

CONFIG = """\
events: {events}
health: {{port: {port}}}
camera_defaults:
  open_timeout_s: 5
  frame_timeout_s: 4
  retry: {{initial_delay_s: 0.2, max_delay_s: 2}}
cameras:
"""

PART_ROLES = {
    Kind.KILL_CAMERA: "Camera",
    Kind.KILL_RECOGNIZER: "Recognizer",
    Kind.KILL_PUBLISHER: "Publisher",
}


def videos(folder: Path) -> dict[str, list[Path]]:
    """What each camera plays, large and small."""
    found = {}
    for name, source in FOOTAGE.items():
        found[name] = [folder / f"{name}.mp4", folder / f"{name}-small.mp4"]
        transcode(clip(source), found[name][0], codec="libx264", seconds=SECONDS)
        transcode(clip(source), found[name][1], codec="libx264", seconds=SECONDS, size=SMALL)
    return found


class Stage:
    """A context manager; the deployment and the subscriber are processes of their own."""

    def __init__(self, folder: Path) -> None:
        """``folder`` has a short path, because sockets want one."""
        self.folder = folder
        self.health_port = free_port()
        self.state_dir = folder / "state"
        self.footage = videos(folder)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.cameras = {
                name: stack.enter_context(ChaosCamera(self.footage[name]))
                for name in (SPARED, *CAMERAS)
            }
            self.redis = stack.enter_context(RedisServer("--appendonly", "yes"))
            self.proxy = stack.enter_context(Proxy(self.redis.port))
            self.subscriber = stack.enter_context(self._subscriber())
            self.deployment = stack.enter_context(self._deployment())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def address(self) -> str:
        """Of Redis, behind the proxy."""
        return f"redis://127.0.0.1:{self.proxy.port}"

    def begin(self, fault: Fault) -> str:
        """Do it; what there is to say about it, if anything."""
        if fault.target in self.cameras:
            self._spoil(fault, begins=True)
            return ""
        match fault.kind:
            case Kind.DELAY:
                self.proxy.delay_s = DELAY_S
            case Kind.CUT:
                self.proxy.cut()
            case Kind.BLACK_HOLE:
                self.proxy.black_hole = True
            case Kind.REDIS_KILL:
                self.redis.kill()
            case Kind.REDIS_PAUSE:
                self.redis.freeze()
            case Kind.KILL_DEPLOYMENT:
                self.deployment.kill()
            case Kind.KILL_SUBSCRIBER:
                self.subscriber.hold()
                self.subscriber.kill()
            case _:
                return self._kill_part(fault)
        return ""

    def undo(self, fault: Fault) -> None:
        """Take it back."""
        if fault.target in self.cameras:
            self._spoil(fault, begins=False)
            return
        match fault.kind:
            case Kind.DELAY:
                self.proxy.delay_s = 0.0
            case Kind.BLACK_HOLE:
                self.proxy.black_hole = False
            case Kind.REDIS_KILL:
                self.redis.start()
            case Kind.REDIS_PAUSE:
                self.redis.thaw()
            case Kind.KILL_SUBSCRIBER:
                self.subscriber.release()

    def begin_anew(self) -> None:
        """Cut the spared camera's connection: its next one shows its footage from the start."""
        self.cameras[SPARED].cut_all()

    def stored(self) -> list[ActionEvent]:
        """Every event in Redis, in its order."""
        with self.redis.client() as client:
            return [wire.from_fields(fields) for _, fields in client.xrange(wire.events_key())]

    def handled(self) -> list[Identity]:
        """What the subscriber noted."""
        return handled(self.folder / "handled")

    def unread(self) -> int:
        """Entries that the subscriber has not acknowledged."""
        with self.redis.client() as client:
            try:
                groups = client.xinfo_groups(wire.events_key())
            except redis.ResponseError:
                return 0
            return sum(int(group["pending"]) + int(group["lag"] or 0) for group in groups)

    def dead_letters(self) -> int:
        """What the subscriber gave up on."""
        with self.redis.client() as client:
            return int(client.xlen(wire.dead_key()))

    def _spoil(self, fault: Fault, *, begins: bool) -> None:
        camera = self.cameras[fault.target]
        match fault.kind:
            case Kind.STALL:
                camera.mood.frozen = begins
            case Kind.DROP:
                camera.cut_all()
            case Kind.CORRUPT:
                camera.mood.corrupt = DAMAGED if begins else 0
            case Kind.JUMP:
                camera.mood.jumped_s += JUMP_S
            case Kind.RESIZE:
                camera.mood.small = begins
            case Kind.PASSWORD:
                camera.login = LOGIN if begins else None
                camera.cut_all()
            case Kind.REFUSE:
                camera.mood.refuses = begins
                camera.cut_all()

    def _kill_part(self, fault: Fault) -> str:
        found = self.deployment.actors(PART_ROLES[fault.kind])
        if not found:
            return "there is none now"
        found[int(fault.share * len(found))].kill()
        return ""

    def _subscriber(self) -> Service:
        notes = str(self.folder / "handled")
        command = [sys.executable, "-m", "tests.chaos.listener", self.address, notes]
        return Service(command, self.folder, "subscriber")

    def _deployment(self) -> Service:
        config = self.folder / "cameras.yaml"
        lines = [
            f"  - {{name: {name}, url: '{camera.url()}'}}\n"
            for name, camera in self.cameras.items()
        ]
        config.write_text(CONFIG.format(events=EVENTS, port=self.health_port) + "".join(lines))
        call = "from actors.cli import main; main()"
        command = [sys.executable, "-c", call, "run", str(config), "--redis", self.address]
        (self.folder / "ray").mkdir(exist_ok=True)
        return Service(
            [*command, "--state-dir", str(self.state_dir)],
            self.folder,
            "deployment",
            RAY_TMPDIR=str(self.folder / "ray"),
        )
