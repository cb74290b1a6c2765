"""What the default model says of real footage: the label of what was done, and nothing else."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from actors.cli.takes import Take, make_takes
from pipeline.config import Config
from pipeline.model import Recognizer, load
from pipeline.records import ActionEvent, EventType
from pipeline.run import run
from pipeline.source import find_files
from tests.footage import clip

Frame = np.ndarray


class Kept(list[ActionEvent]):
    """A sink that keeps."""

    def write(self, events: Sequence[ActionEvent]) -> None:
        self.extend(events)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return load("default", device="cpu")


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Take]:
    folder = tmp_path_factory.mktemp("takes")
    made = make_takes(clip("room.webm").parent, folder)
    return {take.name: take for take in made}


def labels_in(path: Path, recognizer: Recognizer) -> list[str]:
    kept = Kept()
    run(find_files([str(path)]), recognizer, Config(), kept)
    return [event.label for event in kept if event.type is EventType.START]


@pytest.mark.parametrize("name", ["pan-left", "pan-right", "zoom-in", "zoom-out"])
def test_what_was_done_to_real_footage_is_seen_once(
    name: str, takes: dict[str, Take], recognizer: Recognizer
) -> None:
    assert labels_in(takes[name].path, recognizer) == list(takes[name].true_labels)


def test_a_man_who_walks_past_is_something_that_moves_from_left_to_right(
    takes: dict[str, Take], recognizer: Recognizer
) -> None:
    seen = labels_in(takes["walker"].path, recognizer)
    assert seen
    assert set(seen) <= set(takes["walker"].true_labels)


def still(frame: Frame, _: np.random.Generator) -> Frame:
    return frame


def noisy(frame: Frame, rng: np.random.Generator) -> Frame:
    return np.clip(frame + rng.normal(0, 12, frame.shape), 0, 255).astype(np.uint8)


def flickering(frame: Frame, rng: np.random.Generator) -> Frame:
    return np.clip(frame * rng.uniform(0.75, 1.25), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("footage", ["room.webm", "car.mp4", "street.mp4"])
@pytest.mark.parametrize("change", [still, noisy, flickering])
def test_a_scene_in_which_nothing_happens_gives_no_events(
    change: object, footage: str, recognizer: Recognizer, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    frame = next(frames_of(clip(footage)))
    write(tmp_path / "scene.mp4", [change(frame, rng) for _ in range(60)])  # type: ignore[operator]
    assert labels_in(tmp_path / "scene.mp4", recognizer) == []


def frames_of(path: Path) -> Iterator[Frame]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24", width=320, height=240)


def write(path: Path, frames: Sequence[Frame]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(15))
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
