"""What of a picture is looked at: a region, the centre, or all of it between bars."""

from fractions import Fraction

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cameras import Region
from pipeline.decode import Scaler
from pipeline.decode.scale import MAX_SHAPE, as_stored, fit_inside
from pipeline.settings import PictureSpec

SIZE = 32


def quarters(width: int = 128, height: int = 64) -> VideoFrame:
    """Red and green above, blue and white below."""
    picture = np.zeros((height, width, 3), np.uint8)
    half_h, half_w = height // 2, width // 2
    picture[:half_h, :half_w] = (255, 0, 0)
    picture[:half_h, half_w:] = (0, 255, 0)
    picture[half_h:, :half_w] = (0, 0, 255)
    picture[half_h:, half_w:] = (255, 255, 255)
    return VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")


def seen(frame: VideoFrame, **view: object) -> np.ndarray:
    spec = PictureSpec(size_px=SIZE, short_side_px=SIZE, **view)
    high = Scaler(spec).scale(frame, pixel_aspect=Fraction(1))
    assert high.shape == (SIZE, SIZE, 3)
    assert not high.flags.writeable
    return high.astype(int)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv422p", "rgb24", "gray"])
@pytest.mark.parametrize(("width", "height"), [(128, 64), (65, 131), (100, 100)])
def test_the_centre_is_that_of_the_whole_picture(width: int, height: int, pixels: str) -> None:
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    frame = VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pixels)
    scaler = Scaler(PictureSpec(size_px=SIZE, short_side_px=SIZE + 8))
    whole = scaler.whole(frame, pixel_aspect=Fraction(1))
    high = scaler.scale(frame, pixel_aspect=Fraction(1))
    top, left = (whole.shape[0] - SIZE) // 2, (whole.shape[1] - SIZE) // 2
    assert np.array_equal(high, whole[top : top + SIZE, left : left + SIZE])


@pytest.mark.parametrize(
    ("x", "y", "colour"),
    [(0, 0, (255, 0, 0)), (0.5, 0, (0, 255, 0)), (0, 0.5, (0, 0, 255)), (0.5, 0.5, (255,) * 3)],
)
def test_a_region_is_all_that_is_seen(x: float, y: float, colour: tuple[int, ...]) -> None:
    high = seen(quarters(), region=Region(x=x, y=y, width=0.5, height=0.5))
    assert np.abs(high[2:-2, 2:-2] - colour).max() < 12


def test_a_region_follows_a_change_of_size() -> None:
    scaler = Scaler(
        PictureSpec(size_px=SIZE, short_side_px=SIZE, region=Region(x=0.5, width=0.5, height=0.5))
    )
    for width, height in ((128, 64), (64, 128), (200, 100)):
        high = scaler.scale(quarters(width, height), pixel_aspect=Fraction(1))
        assert np.abs(high[2:-2, 2:-2].astype(int) - (0, 255, 0)).max() < 12


@pytest.mark.parametrize(("width", "height"), [(4096, 8), (8, 4096), (4098, 2)])
def test_of_a_strip_the_middle_is_seen_at_no_price(width: int, height: int) -> None:
    """Scaled as a whole, to its shorter side, it would take hundreds of megabytes."""
    picture = np.zeros((height, width, 3), np.uint8)
    middle = np.s_[height // 2 - 64 : height // 2 + 64] if height > width else np.s_[:]
    across = np.s_[width // 2 - 64 : width // 2 + 64] if width > height else np.s_[:]
    picture[middle, across] = (255, 255, 255)
    frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    scaler = Scaler(PictureSpec(size_px=SIZE, short_side_px=SIZE))
    assert scaler.whole(frame, pixel_aspect=Fraction(1)).size <= 3 * SIZE * SIZE * MAX_SHAPE
    assert seen(frame).min() > 240


def test_letterboxing_shows_all_of_it_between_black_bars() -> None:
    high = seen(quarters(128, 64), fit="letterbox")
    assert (high[:8] == 0).all()
    assert (high[24:] == 0).all()
    assert np.abs(high[9:15, 1:15] - (255, 0, 0)).max() < 12
    assert np.abs(high[17:23, 17:31] - 255).max() < 12
    tall = seen(quarters(64, 128), fit="letterbox")
    assert (tall[:, :8] == 0).all()
    assert (tall[:, 24:] == 0).all()


def test_letterboxing_goes_with_a_region() -> None:
    high = seen(quarters(), fit="letterbox", region=Region(height=0.5))
    assert (high[:12] == 0).all()
    assert np.abs(high[13:19, 1:15] - (255, 0, 0)).max() < 12
    assert np.abs(high[13:19, 17:31] - (0, 255, 0)).max() < 12


def test_a_region_is_of_the_picture_as_it_is_shown() -> None:
    # shown:  A B   stored, to be turned once counterclockwise:  C A
    #         C D                                                 D B
    top_right = Region(x=0.5, y=0, width=0.5, height=0.5)
    stored = as_stored(top_right, 90.0)
    assert (stored.x, stored.y) == (0.5, 0.5)
    shown = np.arange(24).reshape(4, 6)
    kept = np.rot90(shown, k=-1)
    part = Region(x=1 / 6, y=1 / 4, width=2 / 6, height=2 / 4)
    lies = as_stored(part, 90.0)
    height, width = kept.shape
    top, left = round(lies.y * height), round(lies.x * width)
    cut = kept[top : top + round(lies.height * height), left : left + round(lies.width * width)]
    np.testing.assert_array_equal(np.rot90(cut), shown[1:3, 1:3])


@given(
    st.integers(1, 8192),
    st.integers(1, 8192),
    st.fractions(Fraction(1, 20), 20),
    st.integers(2, 512),
)
@settings(deadline=None)
def test_what_is_letterboxed_fits(width: int, height: int, aspect: Fraction, long: int) -> None:
    wide, tall = fit_inside(width, height, pixel_aspect=aspect, long=long)
    assert max(wide, tall) == long
    assert min(wide, tall) >= 1


shares = st.floats(0.02, 1)


@given(shares, shares, st.floats(0, 1), st.floats(0, 1), st.integers(2, 400), st.integers(2, 400))
@settings(deadline=None)
def test_any_region_of_any_picture_gives_a_square(
    width: float, height: float, x: float, y: float, wide: int, tall: int
) -> None:
    region = Region(x=x * (1 - width), y=y * (1 - height), width=width, height=height)
    frame = VideoFrame(wide, tall, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    seen(frame, region=region)
    seen(frame, region=region, fit="letterbox")
