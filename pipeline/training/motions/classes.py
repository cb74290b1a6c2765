"""The classes of motion, by name, and which of them a mirror or playing backwards swaps.

No single frame gives a class away. Texts are those of Something-Something V2 (Goyal et al.,
ICCV 2017) where it has the class. ``LONG_RANGE`` classes aren't even given away by any pair of
neighbouring frames: the same small steps, in another order, make another class.
"""

from typing import Final

LEFT: Final = "Pushing something from right to left"
RIGHT: Final = "Pushing something from left to right"
UP: Final = "Moving something up"
DOWN: Final = "Moving something down"
TOWARDS: Final = "Moving something towards the camera"
AWAY: Final = "Moving something away from the camera"
CLOCKWISE: Final = "Turning something clockwise"
ANTICLOCKWISE: Final = "Turning something anticlockwise"
CLOSER: Final = "Moving something and something closer to each other"
APART: Final = "Moving something and something away from each other"
COVERING: Final = "Covering something with something"
UNCOVERING: Final = "Uncovering something"
INTO_VIEW: Final = "Moving something into view"
OUT_OF_VIEW: Final = "Moving something out of view"
CAMERA_LEFT: Final = "Turning the camera left while filming something"
CAMERA_RIGHT: Final = "Turning the camera right while filming something"
CAMERA_UP: Final = "Turning the camera upwards while filming something"
CAMERA_DOWN: Final = "Turning the camera downwards while filming something"
APPROACHING: Final = "Approaching something with your camera"
RETREATING: Final = "Moving away from something with your camera"
SHAKING: Final = "Shaking the camera"
NOTHING: Final = "Doing nothing"
LEFT_RIGHT: Final = "Moving something left and then right"
RIGHT_LEFT: Final = "Moving something right and then left"
UP_DOWN: Final = "Moving something up and then down"
DOWN_UP: Final = "Moving something down and then up"
IN_OUT: Final = "Putting something into view and taking it out again"

LABELS: Final = (
    LEFT, RIGHT, UP, DOWN, TOWARDS, AWAY, CLOCKWISE, ANTICLOCKWISE, CLOSER, APART, COVERING,
    UNCOVERING, INTO_VIEW, OUT_OF_VIEW, CAMERA_LEFT, CAMERA_RIGHT, CAMERA_UP, CAMERA_DOWN,
    APPROACHING, RETREATING, SHAKING, NOTHING, LEFT_RIGHT, RIGHT_LEFT, UP_DOWN, DOWN_UP, IN_OUT,
)  # fmt: skip

LONG_RANGE: Final = (LEFT_RIGHT, RIGHT_LEFT, UP_DOWN, DOWN_UP, IN_OUT)

CAMERA: Final = (
    CAMERA_LEFT, CAMERA_RIGHT, CAMERA_UP, CAMERA_DOWN, APPROACHING, RETREATING, SHAKING,
)  # fmt: skip
"""Classes in which the whole picture moves."""


def _both_ways(*pairs: tuple[str, str]) -> dict[str, str]:
    return dict(pairs) | {b: a for a, b in pairs}


MIRROR: Final = _both_ways(
    (LEFT, RIGHT),
    (CLOCKWISE, ANTICLOCKWISE),
    (CAMERA_LEFT, CAMERA_RIGHT),
    (LEFT_RIGHT, RIGHT_LEFT),
)
"""Label -> label of the clip mirrored left to right; others stay as they are."""

REVERSE: Final = _both_ways(
    (LEFT, RIGHT),
    (UP, DOWN),
    (TOWARDS, AWAY),
    (CLOCKWISE, ANTICLOCKWISE),
    (CLOSER, APART),
    (COVERING, UNCOVERING),
    (INTO_VIEW, OUT_OF_VIEW),
    (CAMERA_LEFT, CAMERA_RIGHT),
    (CAMERA_UP, CAMERA_DOWN),
    (APPROACHING, RETREATING),
)
"""Label -> label of the clip played backwards; others stay as they are."""
