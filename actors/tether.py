"""An actor's process ends with Ray's own process on its machine, whatever its threads wait for.

Ray asks a worker whose raylet died to leave, and a worker that is in a call, or has threads that
don't return, stays: for ever, and with its cameras connected.
"""

from __future__ import annotations

import os
import time
from threading import Thread

LOOK_S = 0.5


def end_with_parent() -> None:
    """From now on, in a thread of its own."""
    Thread(target=_watch, args=(os.getppid(),), name="tether", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(1)
