"""What every model of the config is made of: frozen, strict about keys, exact about rates."""

import re
import unicodedata
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MAX_SAMPLE_FPS = 240
MIN_SAMPLE_FPS = Fraction(1, 3600)
MAX_DIGITS = 40
MOST = 1e9  # 30 years in seconds; 10 times as many no longer fit into nanoseconds
_HUGE = re.compile(r"e[+-]?\d{3}", re.IGNORECASE)
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""Of the letters and marks: Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt)."""


class Frozen(BaseModel):
    """A model that can't be changed and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def rate(value: object) -> Fraction:
    """8 -> 8, 29.97 -> 2997/100, "30000/1001" -> 30000/1001: what is written is what is meant."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        # never the value: ten lines of YAML aliases would be written out as 10^10 items
        raise ValueError(f"want a rate in pictures per second, got a {type(value).__name__}")
    try:
        text = str(value)
        if len(text) > MAX_DIGITS or _HUGE.search(text):  # would take hours to write out
            raise ValueError
        exact = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError("want a rate in pictures per second, such as 8 or 30000/1001") from None
    if not MIN_SAMPLE_FPS <= exact <= MAX_SAMPLE_FPS:
        raise ValueError(
            f"want at least {MIN_SAMPLE_FPS} and at most {MAX_SAMPLE_FPS} per second, got {value}"
        )
    return exact


Rate = Annotated[Fraction, BeforeValidator(rate)]
Positive = Annotated[float, Field(gt=0, le=MOST)]
NotNegative = Annotated[float, Field(ge=0, le=MOST)]
Share = Annotated[float, Field(ge=0, le=1)]


def _one_way(name: str) -> str:
    if not name.isprintable() or _UNSEEN.search(name) or unicodedata.normalize("NFC", name) != name:
        raise ValueError("holds characters that can't be seen, or can be written in two ways (NFC)")
    return name


Name = Annotated[
    str,
    Field(pattern=r"^\w(?:[\w.\-/ ]{0,198}[\w.\-/])?$"),
    AfterValidator(_one_way),
]
"""Two that look the same are the same."""
