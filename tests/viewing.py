"""A file seen through source, decode and window: what came out, and what was counted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from pipeline.decode import Decoder, PacketFeed
from pipeline.errors import SourceError
from pipeline.records import Sample, SessionEnd, Window
from pipeline.settings import MAX_PIXELS, GridSpec, PictureSpec, WindowSpec
from pipeline.source import Feed, FileSource
from pipeline.tally import Tally
from pipeline.window import Windower
from tests.clips import read_number

SIZE_PX = 64


@dataclass
class View:
    """What a file gave."""

    tally: Tally = field(default_factory=Tally)
    samples: list[Sample] = field(default_factory=list)
    ends: list[SessionEnd] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    error: SourceError | None = None

    @property
    def numbers(self) -> dict[int, int]:
        """Which picture each grid point shows."""
        return {sample.ordinal: read_number(sample.high_HWC) for sample in self.samples}

    @property
    def reasons(self) -> list[str]:
        return [end.reason.value for end in self.ends]


def view(
    path: Path,
    *,
    sample_fps: Fraction | int = 8,
    max_gap_s: float = 1.0,
    max_pixels: int = MAX_PIXELS,
    frames: int = 8,
    hop: int = 4,
    through: Callable[[Feed], PacketFeed] = lambda feed: feed,
) -> View:
    """Decode a file to its end; ``through`` may meddle with its packets."""
    seen = View()
    windower = Windower(WindowSpec(frames=frames, hop=hop), size_px=SIZE_PX, tally=seen.tally)
    try:
        with FileSource(path=path, stream_id="clip").open() as feed:
            decoder = Decoder(
                through(feed),
                stream_id="clip",
                session_id="whole",
                grid=GridSpec(sample_fps=Fraction(sample_fps), max_gap_s=max_gap_s),
                picture=PictureSpec(size_px=SIZE_PX, short_side_px=SIZE_PX, max_pixels=max_pixels),
                hop=hop,
                tally=seen.tally,
            )
            for item in decoder.samples():
                _take(seen, windower, item)
    except SourceError as error:
        seen.error = error
    seen.tally.scored = len(seen.windows)
    assert not seen.tally.balance()
    return seen


def _take(seen: View, windower: Windower, item: Sample | SessionEnd) -> None:
    if isinstance(item, Sample):
        seen.samples.append(item)
        window = windower.push(item)
    else:
        seen.ends.append(item)
        window = windower.end(item)
    if window:
        seen.windows.append(window)
