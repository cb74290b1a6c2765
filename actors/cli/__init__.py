"""The command ``actionstream``."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run a command; what goes wrong is one line and an exit code.

    Exit codes: 0 all fine, 1 some input failed or events can't be written, 2 the call or the config
    is wrong.
    """
    usual = {  # else the caller knows better; a script's "command &" begins deaf to SIGINT
        signal.SIGINT: (signal.default_int_handler, signal.SIG_IGN),
        signal.SIGTERM: (signal.SIG_DFL,),
    }
    ours = [number for number, handlers in usual.items() if signal.getsignal(number) in handlers]
    for number in ours:
        signal.signal(number, _leave)
    from actors.cli.app import app_for, call  # takes seconds, in which people press Ctrl-C

    app = app_for(sys.argv[1] if sys.argv[1:] else "")
    for number in ours:
        signal.signal(number, signal.default_int_handler)  # raises KeyboardInterrupt
    call(app)


def _leave(number: int, frame: FrameType | None) -> None:
    """Nothing was begun, so nothing is to be ended; an exception could end up in any import."""
    os.write(2, b"actionstream: interrupted\n")
    os._exit(1)
