"""A program that reacts to events, to be killed: it notes each in a file, and then acknowledges.

Alone: python -m tests.chaos.listener ADDRESS FILE
"""

import os
import sys
from pathlib import Path

from actors.cli.signals import stopped_by_signals
from pipeline.errors import ActionstreamError
from pipeline.subscribe import Patience, Rules, Subscriber

GROUP = "chaos"
RULES = Rules(claim_idle_s=5, sweep_s=1)

Identity = tuple[str, int]
"""``event_id`` and ``seq``."""


def handled(path: Path) -> list[Identity]:
    """What it has noted so far, repeats as well."""
    if not path.exists():
        return []
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(event_id, int(seq)) for event_id, seq in lines]


def main() -> int:
    """Listen until SIGTERM; exit code 1 where Redis is away at the start."""
    address, path = sys.argv[1:]
    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        with stopped_by_signals() as stop:
            patience = Patience(stop=stop)
            with Subscriber(
                address, group=GROUP, consumer="listener", start="0", rules=RULES, patience=patience
            ) as subscriber:
                for event in subscriber:
                    os.write(notes, f"{event.event_id} {event.seq}\n".encode())
    except ActionstreamError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
