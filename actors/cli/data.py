"""``actionstream data``: data sets that the project makes itself."""

from __future__ import annotations

from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline.cpus import usable_cpus
from pipeline.errors import ConfigError
from pipeline.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PICTURES = Path(".footage/motions")

EXTRA = "pip install 'actionstream[train]'"

app = typer.Typer(help="Make data sets to train on.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Make data sets to train on."""


@app.command("make-motions")
def make_motions(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    train: Annotated[
        int, typer.Option(min=0, help="Clips of each split; 0 leaves it out.")
    ] = 27_000,
    validation: Annotated[int, typer.Option(min=0)] = 1350,
    test: Annotated[int, typer.Option(min=0, help="On photographs not seen in training.")] = 2160,
    test_video: Annotated[int, typer.Option(min=0, help="On real video, not seen either.")] = 2160,
    size: Annotated[int, typer.Option(min=32, max=512, help="Pixels of a side, even.")] = 72,
    frames: Annotated[int, typer.Option(min=2, max=256, help="Pictures of a clip.")] = 8,
    fps: Annotated[float, typer.Option(min=0.1, max=120, help="Pictures per second.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same clips.")] = 0,
    things: Annotated[Path, typer.Option(help="Cut-outs with transparency.")] = PICTURES / "things",
    stills: Annotated[Path, typer.Option(help="Photographs.")] = PICTURES / "stills",
    videos: Annotated[Path, typer.Option(help="Videos, cameras standing.")] = PICTURES / "videos",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per CPU.")] = None,
) -> int:
    """Make clips of moving things and cameras whose class no single picture gives away.

    make pictures brings cut-outs, photographs and videos; folders of your own do as well. The
    splits share no picture; if only test splits are asked for, they use all of them.
    """
    try:
        from pipeline.training import motions
    except ImportError as error:
        raise ConfigError(f"{error}; install what training needs: {EXTRA}") from None
    if size % 2:
        raise ConfigError(f"--size must be even, as H.264 wants it; got {size}")
    counts = {"train": train, "validation": validation, "test": test, "test-video": test_video}
    spec = motions.MotionSpec(
        things=things,
        stills=stills,
        videos=videos,
        clips={split: count for split, count in counts.items() if count},
        seed=seed,
        frames=frames,
        fps=Fraction(fps).limit_denominator(1000),
        size_px=size,
        processes=workers or usable_cpus(),
    )
    with _bar(sum(counts.values())) as advance:
        motions.make_motions(out, spec, progress=advance)
    console = Console(highlight=False, soft_wrap=True)
    for split, count in spec.clips.items():
        line = f"{out / split}: {count} clips of {len(motions.LABELS)} classes, sheet.png"
        console.print(printable(line), markup=False)
    return 0


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
