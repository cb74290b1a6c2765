"""The networks that are trained, and the studies that they belong to.

A network in two studies is trained once.
"""

from pydantic import BaseModel, ConfigDict, Field

from pipeline.model import AnyArchitecture, architecture_of
from pipeline.model.tam import TAMStart
from pipeline.training.ablation.spec import AblationSpec, Study
from pipeline.training.config import Part


class Row(BaseModel):
    """One network, trained once per seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    network: str
    parts: dict[str, Part] = Field(default_factory=dict)
    tam_start: TAMStart = "published"

    def architecture(self, spec: AblationSpec, classes: int) -> AnyArchitecture:
        """What is built."""
        return architecture_of(self.network, classes=classes, **self.parts_in(spec))

    def parts_in(self, spec: AblationSpec) -> dict[str, Part]:
        """What is said of its architecture: by the row, or else for all rows."""
        return {"frames": spec.frames, **spec.parts, **self.parts}


TSN = Row(title="TSN", network="tsn-resnet-small")
TSN_BL = Row(title="TSN-bLNet", network="tsn-blresnet-small")
PLAIN = Row(title="bLVNet", network="blvnet-small")
TSM = Row(title="bLVNet-TSM", network="blvnet-tsm-small")
TAM = Row(title="bLVNet-TAM", network="blvnet-tam-small")
# 55 and 60 MMAC at T = 8 and 64 px, where bLVNet-TAM has 57: widths are multiples of 4
TSN_EQUAL = Row(
    title="TSN, narrower",
    network="tsn-resnet-small",
    parts={"width": 12, "blocks": (2, 1, 2, 1)},
)
TSN_BL_EQUAL = Row(
    title="TSN-bLNet, narrower",
    network="tsn-blresnet-small",
    parts={"width": 12, "blocks": (2, 2, 3, 1)},
)
ONE_TAP = Row(title="TAM of 1 tap", network="blvnet-tam-small", parts={"taps": 1})
FIVE_TAPS = Row(title="TAM of 5 taps", network="blvnet-tam-small", parts={"taps": 5})
IDENTITY = Row(title="TAM from identity", network="blvnet-tam-small", tam_start="identity")
DIFFERENCE = Row(title="TAM from differences", network="blvnet-tam-small", tam_start="difference")
ONE_RESOLUTION = Row(
    title="one resolution", network="blvnet-tam-small", parts={"big_input": "high"}
)


def at_frames(row: Row, frames: int, spec: AblationSpec) -> Row:
    """The same network on so many frames."""
    if frames == spec.frames:
        return row
    parts = {**row.parts, "frames": frames}
    return row.model_copy(update={"title": f"{row.title}, T = {frames}", "parts": parts})


def rows_of(study: Study, spec: AblationSpec) -> tuple[Row, ...]:
    """What a study trains, in the order of its table."""
    if study == "fusion":
        if spec.essential:
            return (TSN_EQUAL, PLAIN, TSM, TAM)
        return (TSN, TSN_BL, TSN_EQUAL, TSN_BL_EQUAL, PLAIN, TSM, TAM)
    if study == "frames":
        counts = sorted(spec.frame_counts)
        return tuple(at_frames(row, count, spec) for row in (TSN_EQUAL, TAM) for count in counts)
    if study == "taps":
        return (TAM, ONE_TAP, FIVE_TAPS, IDENTITY, DIFFERENCE, ONE_RESOLUTION)
    return ()


def all_rows(spec: AblationSpec) -> list[Row]:
    """Every row once."""
    rows: list[Row] = []
    for study in spec.studies:
        rows += [row for row in rows_of(study, spec) if row not in rows]
    return rows
