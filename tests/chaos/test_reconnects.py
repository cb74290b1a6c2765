"""Two hundred connections and their losses leave nothing behind; the long form is a benchmark."""

import pytest

from benchmarks.reconnects import FAULTS, grown

CYCLES = 200


@pytest.mark.timeout(600)
def test_nothing_grows_with_each_reconnect() -> None:
    early, late, tally = grown(CYCLES)
    assert late.threads <= early.threads
    assert late.descriptors <= early.descriptors
    assert late.mib - early.mib < 4, f"{early} became {late}"
    assert tally.reconnects == CYCLES
    assert tally.hung == 0
    assert len(tally.faults) >= len(FAULTS) // 2
