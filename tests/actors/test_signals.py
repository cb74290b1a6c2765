"""What a signal does to a command that is stopped by it."""

import os
import signal
import time

import pytest

from actors.cli.signals import SAME_S, stopped_by_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_stops_its_double_does_nothing_and_the_next_interrupts(
    number: signal.Signals,
) -> None:
    with stopped_by_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert stop.is_set()
        time.sleep(2 * SAME_S)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_handlers_are_put_back_and_a_hangup_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_by_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with stopped_by_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.is_set()
            time.sleep(2 * SAME_S)
            os.kill(os.getpid(), signal.SIGHUP)  # the kernel's, after the shell's
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
