"""Small studies from pictures to the section, through the trainer that users get."""

import json
from pathlib import Path

import pytest

from pipeline.errors import ActionstreamError, ConfigError
from pipeline.model import architecture_of
from pipeline.model.cost import cost
from pipeline.training.ablation import AblationSpec, ablate
from pipeline.training.ablation.costs import frames_that_fit, price
from pipeline.training.ablation.rows import TAM, TSN_BL_EQUAL, TSN_EQUAL, all_rows
from pipeline.training.ablation.spec import load_ablation
from pipeline.training.listen import Listeners, Progress

pytestmark = pytest.mark.timeout(180)


class Watching(Listeners):
    """Counts what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []
        self.begun: list[str] = []
        self.priced: list[str] = []
        self.notes: list[str] = []
        self.steps = 0
        self.share = 0.0

    def note(self, line: str) -> None:
        self.notes.append(line)

    def progress(self, progress: Progress) -> None:
        self.steps = progress.step

    def making(self, done: int, total: int) -> None:
        self.made.append(done)

    def decoded(self, done: int, total: int) -> None:
        pass

    def pricing(self, what: str) -> None:
        self.priced.append(what)

    def begins(self, title: str, place: int, total: int) -> None:
        self.begun.append(title)

    def worked(self, done: float) -> None:
        assert done >= self.share
        self.share = done


class Place:
    """Folders of one study."""

    def __init__(self, root: Path, pictures: Path) -> None:
        self.work, self.out, self.pictures = root / "work", root / "results.md", pictures
        self.data = root / "motions"

    def ablate(
        self,
        spec: AblationSpec,
        watcher: Watching,
        *,
        checks: int | None = None,
        so_far: bool = False,
    ) -> bool:
        """``checks``: told to stop at so many's asking."""
        asked = iter(range(checks if checks is not None else 10**9))
        return ablate(
            spec,
            data=self.data,
            work=self.work,
            out=self.out,
            pictures=self.pictures,
            processes=1,
            watcher=watcher,
            stop=lambda: next(asked, None) is None,
            so_far=so_far,
        )


@pytest.fixture
def place(tmp_path: Path, pictures: Path) -> Place:
    return Place(tmp_path, pictures)


def test_a_study_goes_on_where_it_was_cut_off_and_does_nothing_twice(
    place: Place, tiny: AblationSpec
) -> None:
    place.out.write_text("# Results\n\nby hand\n")
    cut = Watching()
    assert not place.ablate(tiny, cut, checks=9)  # one run is done by then, the next is under way
    assert cut.made[-1] == 81
    assert place.out.read_text() == "# Results\n\nby hand\n"
    done = sorted(place.work.glob("runs/*/result.json"))
    assert len(done) == 1
    assert json.loads(done[0].read_text())["of"] == {"all": 27, "neighbour": 22, "long": 5}
    assert not (done[0].parent / "checkpoint.pt").exists()

    partly = Watching()
    assert place.ablate(tiny, partly, so_far=True)
    assert partly.begun == []
    assert "**Not complete:** 1 of 4 runs are done." in place.out.read_text()

    rest = Watching()
    assert place.ablate(tiny, rest)
    assert rest.made == []
    assert rest.begun == ["bLVNet, seed 0", "bLVNet-TSM, seed 0", "bLVNet-TAM, seed 0"]
    assert any(note.startswith("goes on after step") for note in rest.notes)
    assert rest.share == 1.0

    text = place.out.read_text()
    assert text.startswith("# Results\n\nby hand\n")
    assert "Not complete" not in text
    for words in (
        "Motion clips made for the purpose",
        "Fair by construction",
        "there is one seed only",
        "| bLVNet-TAM above bLVNet-TSM at the same MACs, long-range classes | TAM above TSM above",
        "| bLVNet-TAM (`blvnet-tam-small`) | 4 |",
    ):
        assert words in text

    again = Watching()
    assert place.ablate(tiny, again)
    assert again.begun == []
    assert place.out.read_text() == text


def test_what_there_is_so_far_makes_no_data(place: Place, tiny: AblationSpec) -> None:
    with pytest.raises(ActionstreamError, match="no such file"):
        place.ablate(tiny, Watching(), so_far=True)
    assert not place.data.exists()
    assert not place.out.exists()


def test_other_settings_do_not_meet_old_results(place: Place, tiny: AblationSpec) -> None:
    one = tiny.model_copy(update={"clips": 8, "studies": ("frames",)})
    assert place.ablate(one, Watching())
    assert len(list(place.work.glob("runs/*"))) == 4
    assert "bLVNet-TAM grows from 4 to 6 frames" in place.out.read_text()
    other = Watching()
    assert place.ablate(one.model_copy(update={"lr": 0.1}), other)
    assert len(other.begun) == 4
    with pytest.raises(ConfigError, match="have 6 pictures, the studies want 16"):
        place.ablate(one.model_copy(update={"stored_frames": 16}), Watching())


def test_costs_are_counted_and_measured_once(place: Place, tiny: AblationSpec) -> None:
    spec = tiny.model_copy(update={"studies": ("cost",)})
    assert place.ablate(spec, Watching())
    assert not place.data.exists()
    found = price("blvnet-tam-50", 4, spec, place.work, measured=True)
    assert found.measured_training is not None and found.measured_inference is not None
    weights = 4 * found.parameters
    assert weights < found.measured_inference < found.measured_training
    assert found.measured_training > 2 * weights
    text = place.out.read_text()
    for words in (
        "| bLVNet-TAM-50 against TSN-50: fewer MACs | 3 to 4 times | ",
        "| `tsn-resnet-50` | ",
    ):
        assert words in text


def test_what_fits_is_what_is_counted(tiny: AblationSpec, tmp_path: Path) -> None:
    spec = tiny.model_copy(update={"budget_gib": 1.0, "budget_batch": 4})
    name = "blvnet-tam-50"
    eight, sixteen = (price(name, n, spec, tmp_path, measured=False) for n in (8, 16))
    most = frames_that_fit(eight, sixteen, spec)

    def needed(frames: int) -> int:
        found = cost(architecture_of(name, classes=174, frames=frames), size_px=spec.cost_px)
        return spec.budget_batch * found.training_bytes + 12 * found.parameters

    assert needed(most) <= 2**30 < needed(most + 2)
    assert frames_that_fit(eight, sixteen, spec.model_copy(update={"budget_gib": 0.01})) == 0


def test_networks_of_the_same_macs_have_them() -> None:
    spec = AblationSpec()
    wanted = cost(TAM.architecture(spec, 27), size_px=64).macs
    for row in (TSN_EQUAL, TSN_BL_EQUAL):
        found = cost(row.architecture(spec, 27), size_px=64).macs
        assert found == pytest.approx(wanted, rel=0.05)


def test_a_network_of_two_studies_is_trained_once() -> None:
    rows = all_rows(AblationSpec())
    assert len(rows) == len({row.title for row in rows}) == 16
    assert len(all_rows(load_ablation(None, quick=True))) == 4


def test_a_config_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "ablation.yaml"
    path.write_text("seeds: [1, 2]\nclips: 100\nwarmup_clips: 10\n")
    spec = load_ablation(path, quick=True, studies=("taps",))
    assert (spec.seeds, spec.clips, spec.studies, spec.essential) == ((1, 2), 100, ("taps",), True)
    path.write_text("frame_counts: [4, 32]\n")
    with pytest.raises(ConfigError, match=r"stored_frames \(16\) must be at least .*\(32\)"):
        load_ablation(path)
