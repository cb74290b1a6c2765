"""``actionstream model``: weights, looked at and converted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.model import NAMES, AnyArchitecture, architecture_of, cost, load, save_bundle
from pipeline.printable import printable

app = typer.Typer(
    help="Look at weights, and make bundles of published checkpoints.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Frames = Annotated[int | None, typer.Option(help="T, where the file's name doesn't tell.")]
Beta = Annotated[int | None, typer.Option(help="Beta, where the file's name doesn't tell.")]
Pool = Annotated[
    Literal["none", "max", "avg"] | None,
    typer.Option(
        "--temporal-pooling", help="How a ResNet pools frames, where the file's name doesn't tell."
    ),
]
Labels = Annotated[Path | None, typer.Option(help="Text file with a label per line.")]


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A published checkpoint, or a bundle.")],
    target: Annotated[Path, typer.Argument(help="The bundle to write (.safetensors).")],
    frames: Frames = None,
    beta: Beta = None,
    temporal_pooling: Pool = None,
    labels: Labels = None,
) -> int:
    """Make one file that carries everything the weights need."""
    recognizer = load(
        source,
        device="cpu",
        frames=frames,
        beta=beta,
        temporal_pooling=temporal_pooling,
        labels=labels,
    )
    save_bundle(recognizer, target)
    Console(soft_wrap=True).print(
        f"{printable(target)}: {recognizer.spec.name}, digest {recognizer.digest}",
        highlight=False,
        markup=False,
    )
    return 0


@app.command()
def info(
    file: Annotated[str, typer.Argument(help="A checkpoint, a bundle, or default.")],
    frames: Frames = None,
    beta: Beta = None,
    temporal_pooling: Pool = None,
    labels: Labels = None,
) -> int:
    """Say what a file holds: network, sizes, labels, cost, origin."""
    recognizer = load(
        file,
        device="cpu",
        frames=frames,
        beta=beta,
        temporal_pooling=temporal_pooling,
        labels=labels,
    )
    spec, architecture = recognizer.spec, recognizer.spec.architecture
    price = cost(architecture, size_px=spec.size_px)
    shown = ", ".join(spec.labels[:8]) + (", …" if len(spec.labels) > 8 else "")
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in (
        ("name", spec.name),
        ("network", _describe(architecture)),
        ("parameters", f"{price.parameters:,}"),
        ("per window", f"{price.macs / 1e9:.2f} GMAC"),
        ("input", f"{architecture.frames} frames of {spec.size_px} px"),
        ("labels", f"{len(spec.labels)}: {shown}"),
        ("score", spec.score),
        ("suggests", f"{spec.suggests.sample_fps} pictures/s, hop {spec.hop}"),
        ("digest", recognizer.digest),
        *spec.provenance.items(),
    ):
        table.add_row(Text(name), Text(value))  # a name or a label may hold [brackets]
    Console(highlight=False).print(table)
    return 0


@app.command("ls")
def ls(
    frames: Annotated[
        int | None, typer.Option(help="T; by default 16, and 8 for the small ones.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=32, max=4096, help="Side of a frame in px; by default 224 or 64."),
    ] = None,
    classes: Annotated[int, typer.Option(help="Classes told apart.")] = 174,
) -> int:
    """List the networks that can be built, trained and loaded, with what a window costs."""
    columns = ("network", "frames", "px", "parameters", "GMAC", "inference", "training")
    table = Table(*columns, box=None, pad_edge=False)
    said = {} if frames is None else {"frames": frames}
    for name in NAMES:
        usual_px = 64 if name.endswith("-small") else 224
        architecture = architecture_of(name, classes=classes, **said)
        table.add_row(name, *_price(architecture, size or usual_px))
    spec = load("default", device="cpu").spec
    table.add_row("default", *_price(spec.architecture, spec.size_px))
    Console(highlight=False).print(table)
    Console(highlight=False).print(
        "Of one window. Activations, float32: the peak in inference; what training keeps."
    )
    return 0


def _price(architecture: AnyArchitecture, size_px: int) -> tuple[str, ...]:
    price = cost(architecture, size_px=size_px)
    return (
        str(architecture.frames),
        str(size_px),
        f"{price.parameters / 1e6:.2f} M",
        f"{price.macs / 1e9:.3f}",
        f"{price.activation_bytes / 2**20:.1f} MiB",
        f"{price.training_bytes / 2**20:.0f} MiB",
    )


def _describe(architecture: AnyArchitecture) -> str:
    depth = f"depth {architecture.depth}" if architecture.depth else f"blocks {architecture.blocks}"
    said = architecture.model_dump(exclude={"blocks", "frames", "in_channels", "classes"})
    rest = (f"{name.replace('_', ' ')} {value}" for name, value in said.items() if name != "family")
    return f"{architecture.family}, {depth}, {', '.join(rest)}"
