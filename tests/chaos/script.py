"""What goes wrong with a camera: by its path from the start, or by its mood while it runs."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What goes wrong, and when: most are numbers of pictures."""

    mute: int = 0
    """1: accepts and never answers; 2: answers OPTIONS, and nothing after it."""
    deny: int = 0
    """1: no login is good enough."""
    missing: int = 0
    """1: no such path."""
    start: int = 0
    """Begins with this picture, so perhaps without a key frame."""
    blind: int = 0
    """1: never sends a key frame."""
    stall: int = 0
    """Sends nothing more after so many."""
    pause: float = 0
    """Seconds after which a stalled camera goes on."""
    flood: int = 0
    """1: a description without end; 2: a picture without end, in place of a stall."""
    cut: int = 0
    """Resets the connection after so many."""
    end: int = 0
    """Closes the connection in order after so many."""
    corrupt: int = 0
    """Every so manieth picture is damaged."""
    lose: int = 0
    """Every so manieth RTP packet is lost."""
    jump: int = 0
    """The clock is set after so many …"""
    by: float = -60.0
    """… by so many seconds."""
    resize: int = 0
    """Goes on with the second video after so many."""
    report: int = 0
    """1: sends RTCP sender reports, whose clock is an hour ahead."""
    speed: float = 1.0
    """Pictures come so many times as fast as they should; their times don't."""
    turn: float = 0
    """Begins when the clock is at a multiple of so many seconds …"""
    phase: float = 0
    """… and so many more."""

    @classmethod
    def of(cls, path: str) -> "Script":
        given = dict(part.split("=") for part in path.split("/")[0].split(",")[1:])
        kinds = {one.name: one.type for one in fields(cls)}
        return cls(**{k: int(v) if kinds[k] is int else float(v) for k, v in given.items()})


@dataclass(slots=True)
class Mood:
    """What is wrong with a camera now, whoever is connected; taken back by setting it back."""

    frozen: bool = False
    """Sends nothing, while its time goes on."""
    corrupt: int = 0
    """Every so manieth picture is damaged."""
    small: bool = False
    """Sends the second video."""
    jumped_s: float = 0.0
    """Its clock was set by so much, all in all; a connection begins at the same time anyway."""
    refuses: bool = False
    """New connections are closed at once."""
