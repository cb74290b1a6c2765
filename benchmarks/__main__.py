"""Every benchmark of some minutes in turn; exit code 1 if a promise isn't kept.

Those of many minutes are commands of their own: overload, many_cameras, reconnects.
"""

import sys

from benchmarks import decode, end_to_end, engine, latency, memory, outbox, recognizer

if __name__ == "__main__":
    modules = (decode, engine, recognizer, end_to_end, outbox, latency, memory)
    kept = [module.main() for module in modules]
    sys.exit(not all(kept))
