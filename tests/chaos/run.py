"""Faults from a seed on a real deployment, and whether the laws hold after them.

    python -m tests.chaos.run --seed 7 --seconds 60 [--every 3] [--no-files]

Prints the plan as it goes, a table, and a line for each law that is broken; exit code 1 then.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.chaos.act import Act
from tests.chaos.compare import Compared, compare
from tests.chaos.evidence import Broken, Evidence
from tests.chaos.files import killed_analysis
from tests.chaos.laws import broken
from tests.chaos.plan import draw
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


def line(one: Broken, evidence: Evidence) -> str:
    """The law, the values, the seed, the fault before it."""
    at = "at the end" if one.at_s is None else f"at {one.at_s - evidence.began_s:.1f} s"
    before = evidence.before(one.at_s)
    return (
        f"BROKEN {one.law}: {one.values}; {at}, seed {evidence.plan.seed}; "
        f"before it: {before or 'no fault'}"
    )


def table(evidence: Evidence, compared: Compared) -> str:
    """What happened, in numbers."""
    last = evidence.last
    kinds = Counter(one.fault.kind for one in evidence.done if one.begins and not one.note)
    flags = Counter(flag for event in evidence.stored for flag in event.flags)
    stored = len(evidence.stored)
    rows = [
        ("faults", f"{sum(kinds.values())} of {len(kinds)} kinds"),
        ("lives of the deployment", str(last.life)),
        ("settled after", f"{evidence.settled_after_s or float('nan'):.1f} s"),
        ("events in Redis", f"{stored} lines, {dict(flags)}"),
        (
            "handled by the subscriber",
            f"{len(evidence.handled)}, {len(evidence.handled) - stored} repeats",
        ),
        ("compared with a run without faults", str(compared)),
    ]
    for stream in last.streams:
        drops = {
            found["reason"]: int(value)
            for found, value in last.rows("windows_total", stream=stream, outcome="dropped")
            if value
        }
        rows.append(
            (
                f"{stream}, last life",
                f"{last.sum('pictures_in_total', stream=stream):g} pictures, "
                f"{last.sum('windows_made_total', stream=stream):g} windows, dropped {drops}",
            )
        )
    for role in sorted({sight.role for sight in evidence.sights}):
        held = [sight.holdings for sight in evidence.sights if sight.role == role]
        rows.append(
            (
                f"{role}, at most",
                f"{max(one.mib for one in held):.0f} MiB, {max(one.threads for one in held)} "
                f"threads, {max(one.descriptors for one in held)} descriptors",
            )
        )
    return "\n".join(f"{name:36} {value}" for name, value in rows)


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
    print(table(evidence, compared))
    if not given.no_files:
        wrong += killed_analysis(given.seed)
    for one in wrong:
        print(line(one, evidence))
    print(f"{'BROKEN' if wrong else 'ok'}: seed {given.seed}, {len(wrong)} laws broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
