"""Two hundred connections and their losses leave nothing behind; the long form is a benchmark."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from benchmarks.reconnects import FAULTS, grown

CYCLES = 200


@pytest.mark.timeout(600)
def test_nothing_grows_with_each_reconnect() -> None:
    alone = ProcessPoolExecutor(1, mp_context=get_context("spawn"))  # the heap of other tests moves
    with alone as process:
        early, late, tally = process.submit(grown, CYCLES).result()
    assert late.threads <= early.threads
    assert late.descriptors <= early.descriptors
    assert late.mib - early.mib < 2, f"{early} became {late}"
    assert tally.reconnects == CYCLES
    assert tally.hung == 0
    assert len(tally.faults) >= len(FAULTS) // 2
