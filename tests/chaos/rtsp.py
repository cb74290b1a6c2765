"""A camera that misbehaves on request: an RTSP server on loopback, in plain Python.

What goes wrong stands in the path of the URL, so one server is many cameras:

    rtsp://127.0.0.1:PORT/gate                    a good camera, which plays its video in a loop
    rtsp://127.0.0.1:PORT/gate,stall=30           sends nothing more after 30 pictures
    rtsp://127.0.0.1:PORT/gate,stall=30,pause=2   … for two seconds

See ``Script`` for the rest, and ``Mood`` for what can be changed while it runs.
Alone, as a child: python -m tests.chaos.rtsp VIDEO [VIDEO]
"""

import base64
import itertools
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from tests.chaos.rtsp_media import RtpWriter, Unit, Video, read_video
from tests.chaos.script import Mood, Script

REALM = "chaos"
LOOK_S = 0.02  # how soon a camera that was frozen goes on
NAP_S = 0.1  # from one picture to the next, at most: nobody is heeded meanwhile


@dataclass
class ChaosCamera:
    """The server; a context manager."""

    videos: list[Path]
    login: str | None = None
    tls: ssl.SSLContext | None = None
    port: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    """By method."""
    targets: set[str] = field(default_factory=set)
    """URLs that were asked for."""
    mood: Mood = field(default_factory=Mood)

    def __enter__(self) -> "ChaosCamera":
        self._videos: list[Video] = [read_video(path) for path in self.videos]
        self._closed = Event()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def url(self, path: str = "gate", login: str | None = None) -> str:
        scheme = "rtsps" if self.tls else "rtsp"
        return f"{scheme}://{login + '@' if login else ''}127.0.0.1:{self.port}/{path}"

    @property
    def connected(self) -> int:
        return len(self._connections)

    def cut_all(self) -> None:
        """Reset every connection, as in a power cut."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.requests["connect"] += 1
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._connections.add(connection)
        raw = connection
        try:
            if self.mood.refuses:
                return
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._connections.add(connection)
            with closing(connection):
                _Conversation(self, self._videos, connection, self._closed).run()
        except OSError:
            pass
        finally:
            self._connections -= {connection, raw}
            raw.close()


class _Conversation:
    """One client."""

    def __init__(
        self, camera: ChaosCamera, videos: list[Video], connection: socket.socket, closed: Event
    ) -> None:
        self._camera = camera
        self._videos = videos
        self._connection = connection
        self._closed = closed
        self._file = connection.makefile("rb")
        self._udp: tuple[socket.socket, tuple[str, int]] | None = None
        self._gone = Event()

    def run(self) -> None:
        try:
            while request := self._request():
                if not self._answer(*request):
                    return
        finally:
            self._gone.set()
            self._file.close()
            if self._udp:
                self._udp[0].close()

    def _request(self) -> tuple[str, str, dict[str, str]] | None:
        line = self._file.readline()
        while line[:1] == b"$":  # RTCP from the client
            rest = line[4:]
            wanted = struct.unpack("!H", line[2:4])[0] - len(rest) if len(line) >= 4 else 0
            self._file.read(max(0, wanted))
            line = self._file.readline()
        if not line.strip():
            return None
        method, url, _ = line.decode(errors="replace").split(" ", 2)
        headers = {}
        while (line := self._file.readline()).strip():
            name, _, value = line.decode(errors="replace").partition(":")
            headers[name.strip().lower()] = value.strip()
        return method, url, headers

    def _answer(self, method: str, url: str, headers: dict[str, str]) -> bool:
        """Answer a request; False ends the conversation."""
        script = Script.of(url.split("/", 3)[3] if url.count("/") > 2 else "")
        self._camera.requests[method] += 1
        self._camera.targets.add(url)
        if script.mute == 1 or (script.mute == 2 and method != "OPTIONS"):
            self._closed.wait()
            return False
        extra, body, status = {}, "", "200 OK"
        if method == "OPTIONS":
            extra["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"
        elif script.missing:
            status = "404 Not Found"
        elif script.deny or not self._welcome(headers):
            status = "401 Unauthorized"
            extra["WWW-Authenticate"] = f'Basic realm="{REALM}"'
        elif method == "DESCRIBE":
            extra |= {"Content-Base": url.rstrip("/") + "/", "Content-Type": "application/sdp"}
            body = self._videos[0].sdp
        elif method == "SETUP":
            extra["Transport"] = self._set_up(headers["transport"])
        lines = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', 0)}", "Session: 1;timeout=60"]
        lines += [f"{name}: {value}" for name, value in extra.items()]
        endless = script.flood == 1 and method == "DESCRIBE"
        lines += [f"Content-Length: {1_500_000_000 if endless else len(body)}", "", body]
        self._connection.sendall("\r\n".join(lines).encode())
        while endless:
            self._connection.sendall(b"a=nothing\r\n" * 10_000)
        if method == "PLAY" and status == "200 OK":
            Thread(target=self._play, args=(script,), daemon=True).start()
        return method != "TEARDOWN"

    def _welcome(self, headers: dict[str, str]) -> bool:
        if self._camera.login is None:
            return True
        given = headers.get("authorization", "")
        return given == "Basic " + base64.b64encode(self._camera.login.encode()).decode()

    def _set_up(self, transport: str) -> str:
        if "interleaved" in transport or "TCP" in transport:
            return "RTP/AVP/TCP;unicast;interleaved=0-1"
        ports = transport.split("client_port=")[1].split(";")[0].split("-")
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind(("127.0.0.1", 0))
        self._udp = (sender, ("127.0.0.1", int(ports[0])))
        port = sender.getsockname()[1]
        return f"RTP/AVP;unicast;client_port={'-'.join(ports)};server_port={port}-{port + 1}"

    def _play(self, script: Script) -> None:
        with suppress(OSError):
            mood = self._camera.mood
            _Player(script, mood, self._videos, self._send, self._gone).run()
            if script.cut:
                linger = struct.pack("ii", 1, 0)  # close() then resets
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._connection.shutdown(socket.SHUT_RDWR)

    def _send(self, packets: Iterable[bytes], channel: int) -> None:
        if self._udp:
            sender, (host, port) = self._udp
            for packet in packets:
                sender.sendto(packet, (host, port + channel))
            return
        framed = (struct.pack("!cBH", b"$", channel, len(packet)) + packet for packet in packets)
        if data := b"".join(framed):
            self._connection.sendall(data)


class _Player:
    """Sends pictures at their pace, and does to them what the script says; returns at an end."""

    def __init__(
        self,
        script: Script,
        mood: Mood,
        videos: list[Video],
        send: Callable[[Iterable[bytes], int], None],
        gone: Event,
    ) -> None:
        self._script, self._videos, self._send, self._gone = script, videos, send, gone
        self._mood = mood
        self._rtp = RtpWriter()
        self._sent = 0
        self._began_s = self._start_s()
        self._shift_s = -mood.jumped_s
        self._small, self._small_since = False, 0

    def run(self) -> None:
        script = self._script
        for number in itertools.count():
            video, unit = self._unit(number)
            due_s = self._began_s + number / (video.fps * script.speed)
            self._wait_until(due_s)
            if self._gone.is_set():
                return
            if number in (script.end or None, script.cut or None):
                return
            if script.flood == 2 and number == script.stall:
                self._flood()
                return
            if script.stall and number == script.stall:
                self._gone.wait(script.pause or None)
                self._began_s += script.pause
            self._shift_s += self._frozen_s()
            if self._gone.is_set():
                return
            if script.blind and unit.key:
                continue
            self._emit(number, unit, video.fps)

    def _wait_until(self, due_s: float) -> None:
        """Or until nobody looks any more; to sleep takes less CPU than to wait for an event."""
        wait_s = due_s - time.monotonic()
        if wait_s > NAP_S:
            self._gone.wait(wait_s)
        elif wait_s > 0:
            time.sleep(wait_s)

    def _flood(self) -> None:
        for packet in self._rtp.endless():
            if self._gone.is_set():
                return
            self._send([packet], 0)

    def _start_s(self) -> float:
        now_s, turn_s, phase_s = time.monotonic(), self._script.turn, self._script.phase
        return now_s + ((phase_s - now_s) % turn_s if turn_s else phase_s)

    def _frozen_s(self) -> float:
        """How long the camera sent nothing, just now: its time went on meanwhile."""
        since_s = time.monotonic()
        while self._mood.frozen and not self._gone.wait(LOOK_S):
            pass
        lost_s = time.monotonic() - since_s
        if lost_s < LOOK_S:
            return 0.0
        self._began_s += lost_s
        return lost_s

    def _unit(self, number: int) -> tuple[Video, Unit]:
        script = self._script
        small = self._mood.small or 0 < script.resize <= number
        if small != self._small:
            self._small, self._small_since = small, number
        video = self._videos[1 if small else 0]
        at = number - self._small_since if self._small_since else number + script.start
        unit = video.units[at % len(video.units)]
        every = script.corrupt or self._mood.corrupt
        if every and number % every == every - 1:
            unit = unit.damaged()
        return video, unit

    def _emit(self, number: int, unit: Unit, fps: float) -> None:
        script = self._script
        time_s = 1000 + number / fps + (script.by if script.jump and number >= script.jump else 0)
        time_s += self._shift_s + self._mood.jumped_s
        if script.report and number % 25 == 0:
            self._send([self._rtp.sender_report(time_s, time.time() + 3600)], 1)
        self._send(filter(self._arrives, self._rtp.packets(unit, time_s)), 0)

    def _arrives(self, _: bytes) -> bool:
        self._sent += 1
        return not (self._script.lose and self._sent % self._script.lose == 0)


def main() -> None:
    """Serve until the standard input ends."""
    with ChaosCamera([Path(name) for name in sys.argv[1:]]) as camera:
        print(camera.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
