"""Small real data sets, in every layout; each picture bears its number."""

import json
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from tests.clips import drawn, write_clip

VP9 = {"cpu-used": "8", "deadline": "realtime"}
SIDE = (72, 72)


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Puts a video at a path; each kind is encoded once, and linked from there."""
    made: dict[str, Path] = {}

    def put(path: Path, *, first: int = 0, count: int = 12) -> Path:
        name = f"{first}-{count}{path.suffix}"
        if name not in made:
            folder = tmp_path_factory.mktemp("videos")
            webm = path.suffix == ".webm"
            made[name] = write_clip(
                folder / name,
                first=first,
                count=count,
                size=SIDE,
                **({"codec": "libvpx-vp9", "options": VP9} if webm else {}),
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(made[name])
        return path

    return put


def write_jpeg(path: Path, number: int, *, codec: str = "mjpeg", pix_fmt: str = "yuvj420p") -> None:
    """One picture that bears its number."""
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = *SIDE, pix_fmt
    encoder.time_base = Fraction(1, 25)
    frame = VideoFrame.from_ndarray(drawn(number, SIDE), format="rgb24").reformat(format=pix_fmt)
    path.write_bytes(b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode()]))


@pytest.fixture
def frame_folder() -> Callable[..., Path]:
    """Writes a folder of numbered JPEG pictures."""

    def write(folder: Path, numbers: Iterable[int]) -> Path:
        folder.mkdir(parents=True)
        for place, number in enumerate(numbers, start=1):
            write_jpeg(folder / f"{place:05d}.jpg", number)
        return folder

    return write


@pytest.fixture
def motions(tmp_path: Path, video: Callable[..., Path]) -> Path:
    """Six clips of three labels to train on, two to validate with."""
    root = tmp_path / "motions"
    labels = ["moving left", "moving right", "doing nothing"]
    reverse = {"moving left": "moving right", "moving right": "moving left"}
    maps = {"mirror": {"doing nothing": None, **reverse}, "reverse": reverse}
    root.mkdir()
    (root / "labels.json").write_text(json.dumps({"labels": labels, **maps}))
    for split, count in (("train", 6), ("validation", 2)):
        lines = ["path,label,crf"]
        for number in range(count):
            video(root / split / "000" / f"{number}.mp4", first=20 * number)
            lines.append(f"000/{number}.mp4,{labels[number % 3]},23")
        (root / split / "manifest.csv").write_text("\n".join(lines))
    return root
