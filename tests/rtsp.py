"""Cameras for tests: a real RTSP server as a child, and hosts that misbehave."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")
PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,bad}"


class RtspServer:
    """Serves MP4 files over RTSP on loopback until the context ends."""

    def __init__(self, mounts: Mapping[str, Path], *, login: str | None = None) -> None:
        arguments = [f"{name}={path}" for name, path in mounts.items()]
        if login:
            arguments += ["--login", login]
        self._child = subprocess.Popen(
            [SYSTEM_PYTHON, str(SERVER), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline().strip()
        if not line.isdigit():
            _, errors = self._child.communicate()
            raise RuntimeError(f"no RTSP server (Debian: {PACKAGES}): {errors.strip()[-500:]}")
        self.port = int(line)

    def url(self, mount: str, *, login: str | None = None) -> str:
        """Address of a mount."""
        return f"rtsp://{login + '@' if login else ''}127.0.0.1:{self.port}/{mount}"

    def kill(self) -> None:
        """Die as in a power cut."""
        self._child.kill()
        self._child.wait()

    def freeze(self) -> None:
        """Stop answering, with every connection open."""
        os.kill(self._child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        os.kill(self._child.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the child, whatever state it is in."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.communicate()

    def __enter__(self) -> "RtspServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def mute_host() -> Iterator[int]:
    """Port of a host that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def dead_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def transcode(
    source: Path,
    target: Path,
    *,
    codec: str,
    seconds: float,
    fps: int = 25,
    size: tuple[int, int] = (320, 180),
) -> None:
    """The beginning of a video as H.264 or H.265 in MP4, without B-frames, with short GOPs."""
    options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(fps)}
    if codec == "libx265":
        options["x265-params"] = f"log-level=none:keyint={fps}:bframes=0"
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        stream = out.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number, frame in enumerate(container.decode(video=0)):
            if number >= seconds * fps:
                break
            small = frame.reformat(width=size[0], height=size[1], format="yuv420p")
            small.pts, small.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(small))
        out.mux(stream.encode(None))
