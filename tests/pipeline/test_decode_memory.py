"""Decoding for long takes no more memory than decoding for a while."""

from fractions import Fraction
from pathlib import Path
from resource import getpagesize

import pytest

from pipeline.decode import Decoder
from pipeline.settings import GridSpec, PictureSpec
from pipeline.source import FileSource
from pipeline.tally import Tally
from tests.clips import write_clip

WARM, ALL = 500, 3000
GROWTH_MB = 6


STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * getpagesize()


@pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc, as on Linux")
def test_memory_does_not_grow_with_the_pictures_decoded(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.mp4", count=ALL)
    tally = Tally()
    warm_bytes = 0
    with FileSource(path=path, stream_id="long").open() as feed:
        decoder = Decoder(
            feed,
            stream_id="long",
            session_id="whole",
            grid=GridSpec(sample_fps=Fraction(25)),
            picture=PictureSpec(size_px=96, short_side_px=96),
            hop=4,
            tally=tally,
        )
        for _ in decoder.samples():
            if tally.pictures == WARM:
                warm_bytes = resident_bytes()
    assert tally.sampled == ALL
    assert resident_bytes() - warm_bytes < GROWTH_MB * 1e6
