"""The claims: whose they are, and what the numbers found say of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.training.ablation import rows
from pipeline.training.ablation.claims import (
    ABOUT_TWICE,
    FEWER_MACS,
    Verdict,
    times,
)
from pipeline.training.ablation.costs import Price
from pipeline.training.ablation.findings import Findings
from pipeline.training.ablation.rows import Row, at_frames
from pipeline.training.ablation.runs import Group

OURS = "ours, not the paper's"
ABOVE = "TAM above TSM above none"
FUSION = "merging the branches mixes neighbouring frames"
GROWS = "46.4, 48.4 % with 16, 32 frames; 47.8, 49.6, 52.2, 53.1 % with 16, 32, 48, 64 (SSv1)"
SAYS_FLOPS, SAYS_MEMORY = "3 to 4 times", "about 2 times"
IN_GROUP: dict[Group, str] = {
    "all": "all classes",
    "neighbour": "neighbour classes",
    "long": "long-range classes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A line of the table of claims."""

    text: str
    paper: str
    verdict: Verdict


def claims(found: Findings) -> list[Claim]:
    """All that something was found about."""
    made = [*_of_cost(found), *_of_fusion(found), *_of_frames(found), *_of_taps(found)]
    paper = [claim for claim in made if claim.paper != OURS]
    return paper + [claim for claim in made if claim.paper == OURS]


def _of_cost(found: Findings) -> Iterator[Claim]:
    if "cost" not in found.spec.studies:
        return
    for depth in found.spec.depths:
        at = f"bLVNet-TAM-{depth} against TSN-{depth}"
        ratios = _ratios(found, depth, lambda price: price.macs)
        yield Claim(text=f"{at}: fewer MACs", paper=SAYS_FLOPS, verdict=times(ratios, FEWER_MACS))
        for what, name in (("training", "training_bytes"), ("inference", "activation_bytes")):
            ratios = _ratios(found, depth, lambda price, name=name: getattr(price, name))  # type: ignore[misc]
            yield Claim(
                text=f"{at}: less memory in {what}, counted",
                paper=SAYS_MEMORY,
                verdict=times(ratios, ABOUT_TWICE),
            )
            name = f"measured_{what}"
            ratios = _ratios(found, depth, lambda price, name=name: getattr(price, name))  # type: ignore[misc]
            if ratios:
                yield Claim(
                    text=f"{at}: less memory in {what}, measured, one clip with the weights",
                    paper=SAYS_MEMORY,
                    verdict=times(ratios, ABOUT_TWICE, reason=_weights(found, depth, name)),
                )
        most = [found.most_frames(f"{name}-{depth}") for name in ("blvnet-tam", "tsn-resnet")]
        if most[1]:
            yield Claim(
                text=f"{at}: more frames fit into {found.spec.budget_gib:g} GiB",
                paper="more frames in the same budget",
                verdict=times([most[0] / most[1]], ABOUT_TWICE),
            )


def _ratios(found: Findings, depth: int, value: Callable[[Price], int | None]) -> list[float]:
    """TSN over bLVNet-TAM, at every number of frames where both are known."""
    ratios = []
    for pairs in found.spec.pairs:
        tsn = value(found.prices[f"tsn-resnet-{depth}", 2 * pairs])
        ours = value(found.prices[f"blvnet-tam-{depth}", 2 * pairs])
        if tsn is not None and ours is not None:
            ratios.append(tsn / ours)
    return ratios


def _weights(found: Findings, depth: int, measured: str) -> str:
    """How much of what was measured is the same for any number of clips."""
    shares = [
        4 * price.parameters / value
        for price in found.prices.values()
        if price.network == f"blvnet-tam-{depth}" and (value := getattr(price, measured))
    ]
    span = " to ".join(f"{share:.0%}" for share in sorted({min(shares), max(shares)}))
    return f"weights, of about the same size in both, are {span} of bLVNet-TAM's"


def _of_fusion(found: Findings) -> Iterator[Claim]:
    if "fusion" not in found.spec.studies:
        return
    every: tuple[Group, ...] = ("all", "neighbour", "long")
    for better, worse, where, paper in (
        (rows.PLAIN, rows.TSN_BL, "at the same number of clips", FUSION),
        (rows.PLAIN, rows.TSN_EQUAL, "at the same MACs", FUSION),
        (rows.PLAIN, rows.TSN_BL_EQUAL, "at the same MACs", FUSION),
        (rows.TSM, rows.PLAIN, "at the same MACs", ABOVE),
        (rows.TAM, rows.TSM, "at the same MACs", ABOVE),
        (rows.TAM, rows.TSN, "at the same number of clips", ABOVE),
        (rows.TAM, rows.TSN_EQUAL, "at the same MACs", ABOVE),
    ):
        for group in every:
            yield from _above(found, better, worse, f"{where}, {IN_GROUP[group]}", paper, group)


def _of_frames(found: Findings) -> Iterator[Claim]:
    if "frames" not in found.spec.studies:
        return
    few, many = min(found.spec.frame_counts), max(found.spec.frame_counts)
    tam_few, tam_many = (at_frames(rows.TAM, count, found.spec) for count in (few, many))
    tsn_few, tsn_many = (at_frames(rows.TSN_EQUAL, count, found.spec) for count in (few, many))
    if found.results(tam_few) and found.results(tam_many):
        yield Claim(
            text=f"bLVNet-TAM grows from {few} to {many} frames",
            paper=GROWS,
            verdict=found.above(tam_many, tam_few),
        )
    if found.results(tsn_few) and found.results(tsn_many):
        yield Claim(
            text=f"TSN does not grow from {few} to {many} frames",
            paper="does not",
            verdict=found.not_above(tsn_many, tsn_few),
        )


def _of_taps(found: Findings) -> Iterator[Claim]:
    if "taps" not in found.spec.studies:
        return
    yield from _above(found, rows.TAM, rows.ONE_TAP, "as it mixes", "mixing is what helps", "all")
    for other, text in (
        (rows.FIVE_TAPS, "5 taps gain nothing over 3"),
        (rows.IDENTITY, "starting TAM from identity gains nothing over the published start"),
        (rows.DIFFERENCE, "starting TAM from differences gains nothing over the published start"),
        (rows.ONE_RESOLUTION, "Big frames at full resolution gain nothing over half"),
    ):
        if found.results(other) and found.results(rows.TAM):
            yield Claim(text=text, paper=OURS, verdict=found.not_above(other, rows.TAM))


def _above(
    found: Findings, better: Row, worse: Row, where: str, paper: str, group: Group
) -> Iterator[Claim]:
    if found.results(better) and found.results(worse):
        if not found.score(better, group).clips:
            return
        text = f"{better.title} above {worse.title} {where}"
        yield Claim(text=text, paper=paper, verdict=found.above(better, worse, group))
