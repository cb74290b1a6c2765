"""Write the default model's card from what training and evaluation left.

actionstream train deploy/training/default.yaml --out runs/default
for split in test test-video; do
    actionstream evaluate default --data motions --split $split --flips --out runs/$split
done
python deploy/training/card.py runs/default runs/test runs/test-video > docs/default-model.md
"""

import json
import sys
from pathlib import Path

Figures = dict[str, object]

INTRO = """# The default model

*Written by `deploy/training/card.py` from the results of training and evaluation.*

`pipeline/model/default.safetensors` is what every command uses until you name another model: a
`blvnet-tam-small` that tells what moves in a picture, and how: things that move, turn, come, go,
approach each other and cover each other; cameras that turn, approach, retreat and shake. It knows
no kinds of things, and nothing of people.
"""

LIMITS = """## What it isn't good for

- It was trained on cut-outs moved over photographs and real video, not on filmed actions: it is a
  test of motion, and a start for classes of your own ([training](training.md)), not a substitute
  for a data set.
- It sees a second at a time, at 64 px: a thing smaller than a tenth of the picture, or a motion of
  less than a tenth of it in a second, may be missed.
- One motion at a time. In a crowd, or when a person gestures close to the camera, labels change
  quickly and mean little.
- Covering and uncovering are its weakest classes: what is covered must be visible at 64 px.
- A cut in edited video looks like any sudden motion.

`Doing nothing` and `Shaking the camera` are background: never events.
"""


def main(trained: str, *evaluated: str) -> None:
    """The card, on standard output."""
    results = _read(Path(trained) / "results.json")
    reports = [(Path(folder).name, _read(Path(folder) / "evaluation.json")) for folder in evaluated]
    size = (Path(trained) / str(results["model"])).stat().st_size
    print(INTRO)
    print(_recipe(results, size))
    print(_accuracy(reports))
    print(_per_class(reports))
    print(LIMITS, end="")


def _recipe(results: Figures, size: int) -> str:
    config = results["config"]
    assert isinstance(config, dict)
    training = results["training"]
    assert isinstance(training, dict)
    minutes = float(str(results["seconds"])) / 60
    return f"""## How it was made

| | |
|---|---|
| network | {config["network"]["name"]}: {results["parameters"]:,} parameters, {size / 1e6:.1f} MB |
| data | {training["examples"]:,} clips of `actionstream data make-motions`, seed 1 |
| recipe | [deploy/training/default.yaml](../deploy/training/default.yaml), seed {config["seed"]} |
| length | {results["clips"]:,} clips, {minutes:.0f} minutes on two CPU cores |
| digest | `{results["digest"]}` |
"""


def _accuracy(reports: list[tuple[str, Figures]]) -> str:
    lines = [
        "## How good it is",
        "",
        "| split | clips | top-1 | top-5 | calibration error | mirrored | backwards |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, report in reports:
        flips = report["flips"]
        assert isinstance(flips, dict)
        lines.append(
            f"| {name} | {report['examples']:.0f} | {report['top1']:.1%} | {report['top5']:.1%} "
            f"| {report['calibration_error']:.3f} | {flips['mirror']['relative']:.1%} "
            f"| {flips['reverse']['relative']:.1%} |"
        )
    return "\n".join(lines) + (
        "\n\n`test` is on photographs, `test-video` on real video; neither shares a picture with "
        "training.\nMirrored and backwards: how often such a clip gets the label that it then "
        "should, as a share of how\noften the clip itself gets its own. Calibration error: mean "
        "distance between confidence and accuracy.\n"
    )


def _per_class(reports: list[tuple[str, Figures]]) -> str:
    names = " | ".join(name for name, _ in reports)
    lines = [f"| class | {names} |", "|---|" + "---|" * len(reports)]
    classes = reports[0][1]["per_class"]
    assert isinstance(classes, dict)
    for label in classes:
        shares = " | ".join(f"{report['per_class'][label]:.0%}" for _, report in reports)  # type: ignore[index]
        lines.append(f"| {label} | {shares} |")
    return "\n".join(lines) + "\n"


def _read(path: Path) -> Figures:
    found: Figures = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
