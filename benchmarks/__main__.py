"""Every benchmark in turn; exit code 1 if a promise isn't kept."""

import sys

from benchmarks import decode, end_to_end, memory, outbox, recognizer

if __name__ == "__main__":
    kept = [module.main() for module in (decode, recognizer, end_to_end, outbox, memory)]
    sys.exit(not all(kept))
