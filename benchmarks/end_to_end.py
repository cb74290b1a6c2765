"""What the whole pipeline on Ray makes of the machine, over decoding and network each alone.

Ideal: both share the cores without loss, so a window takes 1/decode + 1/network. Decode and network
are each measured alone on all cores. Start-up of Ray and of the actors doesn't count.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from actors.cluster import cluster, run_name
from actors.supervisor import Supervisor
from benchmarks.measure import h264, in_turn, seconds, verdict, windows_of
from pipeline.config import Config
from pipeline.cpus import usable_cpus
from pipeline.model import load, share_cpu
from pipeline.settle import origin_of, settle
from pipeline.source import FileSource

FILES = 8
BATCH = 4
STEP_S = 0.05


def main() -> bool:
    """Measure; was the promise kept?"""
    path = h264(1280, 720, seconds=20)
    windows = windows_of(path)
    total = FILES * len(windows)
    config = Config()
    network = load("default", device="cpu")
    settings = settle(config, network.spec)
    share_cpu(1)
    with cluster(), ThreadPoolExecutor(usable_cpus()) as pool:

        def decode() -> None:
            list(pool.map(windows_of, [path] * FILES))

        def score() -> None:
            batches = [windows[n : n + BATCH] for n in range(0, len(windows), BATCH)]
            list(pool.map(network.scores, batches * FILES))

        def everything() -> float:
            sources = [FileSource(path=Path(path), stream_id=f"file {n}") for n in range(FILES)]
            with Supervisor(
                sources,
                config,
                settings,
                origin_of(network, settings),
                redis=None,
                name=run_name(),
            ) as supervisor:
                return total / seconds(lambda: supervisor.run_to_end(STEP_S))

        rate, decode_alone, network_alone = in_turn(
            everything,
            lambda: total / seconds(decode),
            lambda: total / seconds(score),
            rounds=3,
        )
    ideal = 1 / (1 / decode_alone + 1 / network_alone)
    detail = (
        f"{rate:.0f} of {ideal:.0f} windows/s (decode alone {decode_alone:.0f}, "
        f"network alone {network_alone:.0f}); 720p, {FILES} files"
    )
    return verdict("end to end on Ray", rate / ideal, 0.8, detail)


if __name__ == "__main__":
    sys.exit(not main())
