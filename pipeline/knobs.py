"""What every model of the config is made of: frozen, strict about keys, exact about rates."""

from fractions import Fraction
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_SAMPLE_FPS = 240


class Frozen(BaseModel):
    """A model that can't be changed and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def _fraction(value: object) -> object:
    """8 -> 8, 29.97 -> 2997/100, "30000/1001" -> 30000/1001: what is written is what is meant."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        raise ValueError(f"want a rate in pictures per second, got {value!r}")
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"want a rate such as 8, 12.5 or 30000/1001, got {value!r}") from None
    if not 0 < rate <= MAX_SAMPLE_FPS:
        raise ValueError(f"want more than 0 and at most {MAX_SAMPLE_FPS} per second, got {value}")
    return rate


Rate = Annotated[Fraction, BeforeValidator(_fraction)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[\w][\w.\-/ ]{0,199}$")]
