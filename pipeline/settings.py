"""The knobs that the stages take, after the config and the weights have both been asked."""

import hashlib
import json
from typing import Literal

from pydantic import Field, model_validator

from pipeline.cameras import CameraKnobs, Region
from pipeline.knobs import Frozen, NotNegative, Positive, Rate, Share

MAX_FRAMES = 4096
MAX_SIDE_PX = 4096
MAX_SMOOTHING = 1000  # windows; a mean over more is no event's
MAX_PIXELS = 9_437_184  # the largest picture of H.264 level 5.2: 4096 x 2304


class GridSpec(Frozen):
    """Which pictures of a stream are looked at."""

    sample_fps: Rate
    """Grid points per second of presentation time."""
    max_gap_s: Positive = 1.0
    """Without a picture for this long, the session ends."""
    corrupt: Literal["keep", "discard"] = "keep"
    """Damaged pictures are flagged, or dropped and counted."""


class PictureSpec(Frozen):
    """What becomes of a picture that is looked at."""

    size_px: int = Field(ge=32, le=MAX_SIDE_PX, multiple_of=2)
    """Side of the high-resolution square; the low one has half of it."""
    short_side_px: int = Field(le=MAX_SIDE_PX)
    """The shorter side is scaled to this, then the centre is cut out."""
    region: Region | None = None
    """The part of the picture that this happens to; the rest isn't looked at."""
    fit: Literal["crop", "letterbox"] = "crop"
    """Instead of the crop: all of it in the square, with black bars."""
    max_pixels: int = Field(default=MAX_PIXELS, gt=0)
    """A larger picture is refused before it is decoded."""

    @model_validator(mode="after")
    def _crop_fits(self) -> "PictureSpec":
        if self.short_side_px < self.size_px:
            raise ValueError(
                f"a centre crop of {self.size_px} px can't be cut from a picture whose short side "
                f"is {self.short_side_px} px; want short_side_px of at least {self.size_px}"
            )
        return self


class WindowSpec(Frozen):
    """How sampled pictures become windows."""

    frames: int = Field(ge=2, le=MAX_FRAMES)
    """T, grid points per window."""
    hop: int = Field(ge=2)
    """Grid points from one window's start to the next."""
    big_input: Literal["high", "low"] = "high"
    """The resolution at which the network wants its Big frames."""

    @model_validator(mode="after")
    def _pairs_stay_whole(self) -> "WindowSpec":
        for name, value in (("frames", self.frames), ("hop", self.hop)):
            if value % 2:
                raise ValueError(
                    f"{name} must be even, because big and little frames alternate; got {value}"
                )
        if self.hop > self.frames:
            raise ValueError(
                f"hop must be at most frames ({self.frames}), or some pictures would be in no "
                f"window; got {self.hop}"
            )
        return self


class EventSpec(Frozen):
    """When scores become events. Times are in seconds of presentation time."""

    enter: Share = 0.5
    """Smoothed score at which an action begins."""
    exit: Share = 0.35
    """Smoothed score below which it stops being seen."""
    smoothing_windows: int = Field(default=2, ge=1, le=MAX_SMOOTHING)
    """Scores are averaged over this many windows, the current one last."""
    min_duration_s: NotNegative = 0.0
    """An action that covers less is never published."""
    merge_gap_s: NotNegative = 1.0
    """An action seen again within this time goes on instead of ending."""
    cooldown_s: NotNegative = 0.0
    """After an end, the same label can't begin for this long."""
    update_interval_s: Positive = 5.0
    """Cadence of updates while an action lasts."""
    background: tuple[str, ...] = ()
    """Labels that are never events."""

    @model_validator(mode="after")
    def _hysteresis(self) -> "EventSpec":
        if self.exit > self.enter:
            raise ValueError(
                f"exit ({self.exit}) must not exceed enter ({self.enter}), "
                "or an action would end in the window that began it"
            )
        return self


class Settings(Frozen):
    """The knobs of all stages, after config and weights have both been asked."""

    grid: GridSpec
    picture: PictureSpec
    window: WindowSpec
    events: EventSpec

    def seen_by(self, knobs: CameraKnobs | None) -> "Settings":
        """These settings as one camera has them; a file has no knobs, and changes nothing."""
        if knobs is None:
            return self
        grid: dict[str, object] = {"corrupt": knobs.corrupt}
        if knobs.sample_fps is not None:
            grid["sample_fps"] = knobs.sample_fps
        picture = {"region": knobs.region, "fit": knobs.fit}
        return self.model_copy(
            update={
                "grid": self.grid.model_copy(update=grid),
                "picture": self.picture.model_copy(update=picture),
            }
        )

    def digest(self) -> str:
        """Hash of everything that decides which events a video gives, in 16 hex digits."""
        deciding = self.model_dump(mode="json", exclude={"picture": {"max_pixels"}})
        deciding["events"]["background"].sort()
        text = json.dumps(deciding, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
