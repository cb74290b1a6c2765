"""The section: how it was made, what became of each claim, and the numbers behind it."""

from collections.abc import Sequence

from pipeline.training.ablation.claims import Score
from pipeline.training.ablation.costs import Price, depths_of
from pipeline.training.ablation.document import table
from pipeline.training.ablation.findings import Findings
from pipeline.training.ablation.rows import Row, rows_of
from pipeline.training.ablation.runs import GROUPS
from pipeline.training.ablation.spec import Study
from pipeline.training.ablation.verdicts import claims

TITLES: dict[Study, str] = {
    "cost": "Cost",
    "fusion": "Local fusion, then TAM",
    "frames": "Frames",
    "taps": "Taps, starts, resolutions",
}
NOT_KNOWN = "–"


def section_of(found: Findings) -> str:
    """Markdown, from a heading of the second level on."""
    quick = " --quick" if found.spec.essential else ""
    parts = [
        "## The paper's claims\n",
        f"Written by `actionstream ablate{quick}`; every number and every verdict is computed.\n",
    ]
    if found.material is not None:
        parts += [_made(found), _fair(found)]
    said = [(claim.text, claim.paper, str(claim.verdict)) for claim in claims(found)]
    parts += [table(("claim", "the paper", "here"), said), _reading(found)]
    for study in found.spec.studies:
        parts.append(f"### {TITLES[study]}\n")
        if study == "cost":
            parts += [_costs(found), _fitting(found)]
        else:
            parts.append(_scores(found, rows_of(study, found.spec)))
    return "\n".join(parts)


def _made(found: Findings) -> str:
    spec, material = found.spec, found.material
    assert material is not None, "asked for where there is some"
    return (
        f"**How made.** Motion clips made for the purpose (`actionstream data make-motions`, seed "
        f"{material.seed}): {material.clips['train']:,} to train on, {material.clips['test']:,} of "
        f"other pictures to test on, {len(material.labels)} classes, chance "
        f"{1 / len(material.labels):.1%}. They are not Something-Something: moving pictures on "
        "pictures, which tell how networks see motion, and nothing of what they know about things. "
        f"{len(material.long_range)} of the classes are long-range: no pair of neighbouring frames "
        f"gives them away, only the order of the whole. Each run sees {spec.clips:,} clips at "
        f"{spec.size_px} px, which is a beginning and not the end of learning: networks are "
        "compared by how far they come.\n"
    )


def _fair(found: Findings) -> str:
    spec = found.spec
    return (
        "**Fair by construction.** All networks get the same clips in the same order, crops, flips "
        "with their labels and light; the same schedule (SGD, Nesterov momentum 0.9, peak learning "
        f"rate {spec.lr:g}, {spec.warmup_clips:,} clips of warm-up, cosine to zero, batch "
        f"{spec.batch_size}, {spec.precision}), the same start (He's normal, last scale of a block "
        "zero), no weights from elsewhere. The learning rate is the default model's, tuned for "
        "none of them. The averaged weights of the last step are tested once. Seeds: "
        f"{', '.join(map(str, spec.seeds))}, of weights, order and augmentation.\n"
    )


def _reading(found: Findings) -> str:
    said = (
        "How to read it: ± is twice the standard error of the difference, from the spread over "
        "seeds and no less than chance among so many test clips gives; a difference within it is "
        "none."
    )
    if found.fewest_seeds == 1:
        said += " **Where there is one seed only,** how much seeds differ isn't in it."
    if found.missing:
        total = found.runs + found.missing
        said += f" **Not complete:** {found.runs} of {total} runs are done."
    return said + "\n"


def _scores(found: Findings, rows: Sequence[Row]) -> str:
    head = ("network", "T", "parameters", "MMAC", "training, MiB", "seeds", "top-1", "neighbour")
    lines = []
    for row in rows:
        if not found.results(row):
            continue
        cost = found.cost(row)
        scores = [found.score(row, group) for group in GROUPS]
        lines.append(
            (
                f"{row.title} (`{row.network}`)",
                str(row.parts_in(found.spec)["frames"]),
                f"{cost.parameters / 1e6:.2f} M",
                f"{cost.macs / 1e6:.1f}",
                f"{cost.training_bytes / 2**20:.1f}",
                str(scores[0].seeds),
                *map(_percent, scores),
            )
        )
    text = table((*head, "long-range"), lines)
    return f"{text}\nTop-1 in %, mean ± standard deviation over seeds; MACs and bytes per clip.\n"


def _percent(score: Score) -> str:
    if not score.clips:
        return NOT_KNOWN
    spread = f" ± {100 * score.spread:.1f}" if score.seeds > 1 else ""
    return f"{100 * score.mean:.1f}{spread}"


def _costs(found: Findings) -> str:
    head = ("network", "frames", "parameters", "GMAC", "inference, counted", "measured")
    lines = []
    for depth in found.spec.depths:
        for pairs in found.spec.pairs:
            for name in (f"tsn-resnet-{depth}", f"blvnet-tam-{depth}"):
                lines.append(_price(found.prices[name, 2 * pairs], pairs))
    text = table((*head, "training, counted", "measured"), lines)
    return (
        f"One clip at {found.spec.cost_px} px, float32, MiB. Counted: activations alive at once, "
        "and what training keeps for the way back; no weights. Measured: the most that a process "
        "of its own adds to its memory on a CPU (kernel's peak resident size, after libraries are "
        "warm), with weights, gradients and what convolutions need; no optimizer. "
        f"{NOT_KNOWN}: not measured, or more than the machine has.\n\n{text}"
    )


def _price(price: Price, pairs: int) -> tuple[str, ...]:
    return (
        f"`{price.network}`",
        f"{price.frames} (f{pairs}x2)",
        f"{price.parameters / 1e6:.2f} M",
        f"{price.macs / 1e9:.1f}",
        _mib(price.activation_bytes),
        _mib(price.measured_inference),
        _mib(price.training_bytes),
        _mib(price.measured_training),
    )


def _mib(value: int | None) -> str:
    return NOT_KNOWN if value is None else f"{value / 2**20:,.0f}"


def _fitting(found: Findings) -> str:
    spec = found.spec
    lines, most = [], {}
    for family, depths in depths_of(spec).items():
        for depth in depths:
            name = f"{family}-{depth}"
            most[name] = found.most_frames(name)
            lines.append((f"`{name}`", str(most[name])))
    deepest = []
    for frames in (2 * pairs for pairs in spec.pairs):
        fitting = [
            max((d for d in depths if most[f"{family}-{d}"] >= frames), default=None)
            for family, depths in depths_of(spec).items()
        ]
        deepest.append((str(frames), *(str(depth or "none") for depth in fitting)))
    return (
        f"What fits into {spec.budget_gib:g} GiB in training with a batch of {spec.budget_batch} "
        "(counted: what training keeps, weights, gradients, momentum), by frames and by depth:\n\n"
        + table(("network", "most frames"), lines)
        + "\n"
        + table(("frames", "deepest TSN", "deepest bLVNet-TAM"), deepest)
    )
