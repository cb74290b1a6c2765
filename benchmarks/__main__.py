"""Every benchmark of some minutes in turn; exit code 1 if a promise isn't kept.

Those of many minutes are commands of their own: overload, many_cameras, reconnects.
"""

import sys

from benchmarks import decode, end_to_end, latency, memory, outbox, recognizer

if __name__ == "__main__":
    kept = [module.main() for module in (decode, recognizer, end_to_end, outbox, latency, memory)]
    sys.exit(not all(kept))
