"""What was found, by network."""

from dataclasses import dataclass, field

from pipeline.model.cost import Cost
from pipeline.training.ablation.claims import Score, Verdict, above, not_above, score_of
from pipeline.training.ablation.costs import Price, counted, frames_that_fit
from pipeline.training.ablation.material import Material
from pipeline.training.ablation.rows import Row
from pipeline.training.ablation.runs import Group, RunResult
from pipeline.training.ablation.spec import AblationSpec


@dataclass(slots=True, kw_only=True)
class Findings:
    """Prices by network and frames, results by row."""

    spec: AblationSpec
    material: Material | None
    """None where nothing is trained."""
    prices: dict[tuple[str, int], Price] = field(default_factory=dict)
    missing: int = 0
    """Runs that aren't done."""
    _results: dict[str, list[RunResult]] = field(default_factory=dict)

    def add(self, row: Row, result: RunResult) -> None:
        """One seed of a row."""
        self._results.setdefault(row.title, []).append(result)

    def results(self, row: Row) -> list[RunResult]:
        """All seeds of a row that there are."""
        return self._results.get(row.title, [])

    @property
    def runs(self) -> int:
        """That are done."""
        return sum(map(len, self._results.values()))

    @property
    def fewest_seeds(self) -> int:
        """Of any row that has results; 0 if none has."""
        return min(map(len, self._results.values()), default=0)

    def score(self, row: Row, group: Group) -> Score:
        """Of a row that has results."""
        return score_of(self.results(row), group)

    def cost(self, row: Row) -> Cost:
        """Of what a row trains, per clip."""
        return counted(row.architecture(self.spec, self.classes), self.spec.size_px)

    @property
    def classes(self) -> int:
        """Told apart."""
        assert self.material is not None, "rows have been trained on something"
        return len(self.material.labels)

    def most_frames(self, network: str) -> int:
        """That fit into the budget."""
        eight, sixteen = (self.prices[network, frames] for frames in (8, 16))
        return frames_that_fit(eight, sixteen, self.spec)

    def above(self, better: Row, worse: Row, group: Group = "all") -> Verdict:
        """The claim that one row is better than another."""
        pair = self.score(better, group), self.score(worse, group)
        return above(*pair, classes=self.classes)

    def not_above(self, more: Row, less: Row, group: Group = "all") -> Verdict:
        """The claim that one row gains nothing over another."""
        pair = self.score(more, group), self.score(less, group)
        return not_above(*pair, classes=self.classes)
