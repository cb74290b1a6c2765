"""Video as a camera sends it: access units of an MP4, cut into RTP packets (RFC 3550, RFC 6184)."""

import base64
import itertools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

CLOCK_HZ = 90_000
MTU = 1400
PAYLOAD_TYPE = 96
NTP_EPOCH_S = 2_208_988_800  # from 1900 to 1970
SPS, PPS, IDR, SLICE = 7, 8, 5, 1


@dataclass(frozen=True, slots=True)
class Unit:
    """One picture as its NAL units, without start codes."""

    nals: tuple[bytes, ...]

    @property
    def key(self) -> bool:
        return any(nal[0] & 31 == IDR for nal in self.nals)

    def damaged(self) -> "Unit":
        """The same with noise in the middle of its slices."""
        return Unit(tuple(_noisy(nal) if nal[0] & 31 in (IDR, SLICE) else nal for nal in self.nals))


def _noisy(nal: bytes) -> bytes:
    middle = len(nal) // 2
    noise = bytes(255 - byte for byte in nal[middle : middle + 32])
    return nal[:middle] + noise + nal[middle + len(noise) :]


@dataclass(frozen=True)
class Video:
    """An H.264 video, without B-frames, that begins with a key frame."""

    units: tuple[Unit, ...]
    fps: float

    @cached_property
    def parameter_sets(self) -> str:
        """As SDP wants them."""
        sets = [nal for nal in self.units[0].nals if nal[0] & 31 in (SPS, PPS)]
        return ",".join(base64.b64encode(nal).decode() for nal in sets)

    @property
    def sdp(self) -> str:
        lines = [
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=camera",
            "t=0 0",
            "a=control:*",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;"
            f"sprop-parameter-sets={self.parameter_sets}",
            f"a=framerate:{self.fps:g}",
            "a=control:track0",
        ]
        return "\r\n".join(lines) + "\r\n"


def read_video(path: Path) -> Video:
    """The H.264 video in an MP4, its parameter sets in front of each key frame."""
    units = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            if packet.size:
                units += [Unit(_nals(bytes(part))) for part in annex_b.filter(packet)]
        return Video(tuple(units), float(stream.average_rate or 25))


def _nals(annex_b: bytes) -> tuple[bytes, ...]:
    return tuple(nal for nal in re.split(rb"\x00\x00\x00?\x01", annex_b) if nal)


class RtpWriter:
    """Numbers the packets of one stream."""

    def __init__(self, ssrc: int = 0x5EED) -> None:
        self._ssrc = ssrc
        self._sequence = 1000
        self._packets = self._bytes = 0

    def packets(self, unit: Unit, time_s: float) -> Iterator[bytes]:
        """The RTP packets of a picture; large NAL units travel in fragments (FU-A)."""
        payloads = [part for nal in unit.nals for part in _fragments(nal)]
        for number, payload in enumerate(payloads):
            last = number == len(payloads) - 1
            self._packets += 1
            self._bytes += len(payload)
            yield self._header(last, time_s) + payload

    def endless(self) -> Iterator[bytes]:
        """Fragments of a picture of which none is the last."""
        for first in itertools.chain([True], itertools.repeat(False)):
            yield self._header(False, 0) + bytes([0x7C, first << 7 | 5]) + bytes(60_000)

    def sender_report(self, time_s: float, unix_s: float) -> bytes:
        """RTCP: which time of day a presentation time is."""
        seconds, fraction = divmod(unix_s + NTP_EPOCH_S, 1)
        return struct.pack(
            "!BBHIIIIII",
            0x80,
            200,
            6,
            self._ssrc,
            int(seconds),
            int(fraction * 2**32),
            _ticks(time_s),
            self._packets & 0xFFFFFFFF,
            self._bytes & 0xFFFFFFFF,
        )

    def _header(self, last: bool, time_s: float) -> bytes:
        self._sequence += 1
        kind = PAYLOAD_TYPE | (0x80 if last else 0)
        sequence = self._sequence & 0xFFFF
        return struct.pack("!BBHII", 0x80, kind, sequence, _ticks(time_s), self._ssrc)


def _fragments(nal: bytes) -> Iterator[bytes]:
    if len(nal) <= MTU:
        yield nal
        return
    indicator, kind = (nal[0] & 0xE0) | 28, nal[0] & 31
    body = nal[1:]
    for at in range(0, len(body), MTU):
        first, last = at == 0, at + MTU >= len(body)
        yield bytes([indicator, kind | first << 7 | last << 6]) + body[at : at + MTU]


def _ticks(time_s: float) -> int:
    return round(time_s * CLOCK_HZ) & 0xFFFFFFFF
