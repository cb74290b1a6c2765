"""A file that is stopped anywhere has given the windows of the whole file as far as it came."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest

from pipeline.config import Config
from pipeline.model import load
from pipeline.records import EndReason, SessionEnd, Window
from pipeline.settings import Settings
from pipeline.settle import settle
from pipeline.source import FileSource
from pipeline.stream import windows
from pipeline.tally import Tally
from tests.clips import QUICK, write_clip


class StopAfter:
    """Stops once it has been asked so often."""

    def __init__(self, questions: int) -> None:
        self._left = questions

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.fixture(scope="module")
def settings() -> Settings:
    return settle(Config(), load("default", device="cpu").spec)


@pytest.fixture(scope="module", params=[0, 3], ids=["in order", "B-frames"])
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    options = QUICK | {"x264-params": f"bframes={request.param}:b-adapt=0:scenecut=0", "g": "40"}
    write_clip(path, count=150, options=options)
    return path


def test_it_is_a_beginning_and_nothing_but(video: Path, settings: Settings) -> None:
    source = FileSource(stream_id="clip", path=video)
    whole = made(source, settings, Tally(), Event())
    assert len(whole) > 6
    assert isinstance(whole[-1], SessionEnd)
    reached = set()
    for questions in range(1, 420, 5):
        tally = Tally()
        part = made(source, settings, tally, StopAfter(questions))
        tally.scored = tally.windows  # nobody scores them here
        assert tally.balance() == []
        if part and isinstance(part[-1], SessionEnd) and part[-1].unfinished:
            assert part.pop().reason is EndReason.STOPPED
            assert not tally.truncated
        reached.add(len(part))
        for mine, true in zip(part, whole, strict=False):
            same(mine, true)
    assert reached >= set(range(len(whole) - 2))


def made(
    source: FileSource, settings: Settings, tally: Tally, stop: Event | StopAfter
) -> list[Window | SessionEnd]:
    return list(windows(source, settings, tally=tally, stop=stop))


def same(mine: Window | SessionEnd, true: Window | SessionEnd) -> None:
    if isinstance(true, SessionEnd):
        assert mine == true
        return
    assert isinstance(mine, Window)
    assert (mine.span.first_ordinal, mine.span.end_ns) == (
        true.span.first_ordinal,
        true.span.end_ns,
    )
    assert mine.span.flags == true.span.flags
    assert np.array_equal(mine.pts_ns_T, true.pts_ns_T)
    assert np.array_equal(mine.little_PHWC, true.little_PHWC)
    assert np.array_equal(mine.big_PHWC, true.big_PHWC)
