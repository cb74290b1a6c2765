"""``actionstream model``: weights, looked at and converted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.model import Architecture, cost, load, save_bundle
from pipeline.model.spec import PUBLISHED_BLOCKS

app = typer.Typer(
    help="Look at weights, and make bundles of published checkpoints.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Frames = Annotated[int | None, typer.Option(help="T, where the file's name doesn't tell.")]
Beta = Annotated[int | None, typer.Option(help="Beta, where the file's name doesn't tell.")]
Labels = Annotated[Path | None, typer.Option(help="Text file with a label per line.")]


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A published checkpoint, or a bundle.")],
    target: Annotated[Path, typer.Argument(help="The bundle to write (.safetensors).")],
    frames: Frames = None,
    beta: Beta = None,
    labels: Labels = None,
) -> int:
    """Make one file that carries everything the weights need."""
    recognizer = load(source, device="cpu", frames=frames, beta=beta, labels=labels)
    save_bundle(recognizer, target)
    Console().print(
        f"{target}: {recognizer.spec.name}, digest {recognizer.digest}", highlight=False
    )
    return 0


@app.command()
def info(
    file: Annotated[str, typer.Argument(help="A checkpoint, a bundle, or default.")],
    frames: Frames = None,
    beta: Beta = None,
    labels: Labels = None,
) -> int:
    """Say what a file holds: network, sizes, labels, cost, origin."""
    recognizer = load(file, device="cpu", frames=frames, beta=beta, labels=labels)
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
        table.add_row(name, value)
    Console(highlight=False).print(table)
    return 0


@app.command("ls")
def ls() -> int:
    """List the networks that can be built or loaded, with what a window costs."""
    table = Table("network", "frames", "parameters", "GMAC per window", box=None, pad_edge=False)
    for depth, blocks in PUBLISHED_BLOCKS.items():
        for pairs in (8, 16, 24, 32):
            architecture = Architecture(blocks=blocks, frames=2 * pairs, classes=174)
            price = cost(architecture, size_px=224)
            table.add_row(
                f"blvnet-tam-{depth}-a2-b4-f{pairs}x2",
                str(architecture.frames),
                f"{price.parameters / 1e6:.2f} M",
                f"{price.macs / 1e9:.2f}",
            )
    spec = load("default", device="cpu").spec
    price = cost(spec.architecture, size_px=spec.size_px)
    table.add_row(
        f"default ({spec.name})",
        str(spec.architecture.frames),
        f"{price.parameters / 1e6:.2f} M",
        f"{price.macs / 1e9:.2f}",
    )
    Console(highlight=False).print(table)
    return 0


def _describe(architecture: Architecture) -> str:
    depth = f"depth {architecture.depth}" if architecture.depth else f"blocks {architecture.blocks}"
    return (
        f"{architecture.family}, {depth}, width {architecture.width}, alpha {architecture.alpha}, "
        f"beta {architecture.beta}, {architecture.taps} taps, big input {architecture.big_input}"
    )
