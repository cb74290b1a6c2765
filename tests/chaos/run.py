"""Faults from a seed on a real deployment, and whether the laws hold after them.

    python -m tests.chaos.run --seed 7 --seconds 60 [--every 3] [--no-files]

Prints the plan as it goes, a table, and a line for each law that is broken; exit code 1 then.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.act import Act
from tests.chaos.compare import Compared, compare
from tests.chaos.evidence import Broken, Evidence
from tests.chaos.files import killed_analysis
from tests.chaos.laws import broken
from tests.chaos.plan import draw
from tests.chaos.report import line, table
from tests.chaos.stage import Stage

MIN_LINES = 5  # of the spared camera, in common with a run without faults


def live(seed: int, seconds: float, every_s: float = 3.0) -> tuple[Evidence, Compared]:
    """Cameras through the faults of a seed."""
    folder = Path(tempfile.mkdtemp(prefix="as-"))
    try:
        with Stage(folder) as stage:
            evidence = Act(stage, draw(seed, seconds, every_s=every_s)).run()
            return evidence, compare(evidence, stage.footage)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=3.0)
    parser.add_argument("--no-files", action="store_true")
    given = parser.parse_args()
    evidence, compared = live(given.seed, given.seconds, given.every)
    wrong = [*broken(evidence), *compared.broken]
    if compared.lines < MIN_LINES:
        values = f"only {compared.lines} lines in common with a run without faults"
        wrong.append(Broken(law="the spared camera gives events", values=values))
    print(table(evidence, ("compared with a run without faults", str(compared))))
    if not given.no_files:
        wrong += killed_analysis(given.seed)
    for one in wrong:
        print(line(one, evidence))
    print(f"{'BROKEN' if wrong else 'ok'}: seed {given.seed}, {len(wrong)} laws broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
