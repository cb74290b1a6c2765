"""All studies, one after another: prices, then every run, then the section that tells of them.

Seeds come last: when the first seed is through, every row has a number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.errors import ConfigError
from pipeline.training.ablation.costs import counted, prices
from pipeline.training.ablation.document import check_document, write_section
from pipeline.training.ablation.findings import Findings
from pipeline.training.ablation.material import Material, make_material, open_material
from pipeline.training.ablation.report import section_of
from pipeline.training.ablation.rows import Row, all_rows
from pipeline.training.ablation.runs import RunResult, config_of, folder_of, read_result, run
from pipeline.training.ablation.spec import AblationSpec
from pipeline.training.config import TrainConfig
from pipeline.training.listen import Listener, Progress


class Watcher(Listener, Protocol):
    """Whoever wants to know how it goes."""

    def making(self, done: int, total: int) -> None:
        """Motion clips that are made."""

    def decoded(self, done: int, total: int) -> None:
        """Clips that are in the cache."""

    def pricing(self, what: str) -> None:
        """A cost is counted or measured now."""

    def begins(self, title: str, place: int, total: int) -> None:
        """A run begins: so many of so many, from 1."""

    def worked(self, done: float) -> None:
        """Share of the work of all runs that is done, by what each computes, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """A run, done or to be done."""

    row: Row
    config: TrainConfig
    folder: Path
    work: float
    """In multiply-accumulates of a pass forward."""


def ablate(
    spec: AblationSpec,
    *,
    data: Path,
    work: Path,
    out: Path,
    pictures: Path,
    processes: int,
    watcher: Watcher,
    stop: Callable[[], bool] = lambda: False,
    so_far: bool = False,
) -> bool:
    """Carry out all studies and write what came of them; False if told to stop before the end.

    ``data`` is made where it doesn't exist, from ``pictures``. With ``so_far`` nothing is trained:
    what is written tells of the runs that are done, also by another process that goes on.

    Raises:
        ConfigError: what is wanted can't be done, or ``out`` can't be read.
        DataError, TrainingError: of the data, or of a run.
    """
    check_document(out)
    _make_folder(work)
    material = None
    if all_rows(spec):
        if not data.exists() and not so_far:
            _make(data, spec, pictures, processes, watcher)
        material = open_material(data, spec)
    found = Findings(spec=spec, material=material)
    if "cost" in spec.studies:
        for price in prices(spec, work, begins=watcher.pricing, stop=stop):
            found.prices[price.network, price.frames] = price
    if material is not None:
        if so_far:
            _look_up(found, material, work)
        else:
            _run_all(found, material, work, watcher, stop)
    if stop():
        return False
    write_section(out, section_of(found))
    return True


def _look_up(found: Findings, material: Material, work: Path) -> None:
    for planned in _plan(found.spec, material, work):
        result = read_result(planned.folder)
        if result is None:
            found.missing += 1
        else:
            found.add(planned.row, result)


def _run_all(
    found: Findings, material: Material, work: Path, watcher: Watcher, stop: Callable[[], bool]
) -> None:
    plan = _plan(found.spec, material, work)
    total, done = sum(planned.work for planned in plan), 0.0
    for place, planned in enumerate(plan, start=1):
        if stop():
            return
        result = read_result(planned.folder)
        if result is None:
            watcher.begins(planned.config.name, place, len(plan))
            listener = _Share(watcher, done / total, planned.work / total)
            result = _run(planned, material, listener, watcher, stop)
        if result is None:
            return
        found.add(planned.row, result)
        done += planned.work
        watcher.worked(done / total)


def _run(
    planned: _Planned,
    material: Material,
    listener: Listener,
    watcher: Watcher,
    stop: Callable[[], bool],
) -> RunResult | None:
    return run(
        planned.config,
        planned.row.title,
        material,
        planned.folder,
        listener=listener,
        decoded=watcher.decoded,
        stop=stop,
    )


def _plan(spec: AblationSpec, material: Material, work: Path) -> list[_Planned]:
    plan = []
    for seed in spec.seeds:
        for row in all_rows(spec):
            config = config_of(row, seed, spec, material)
            architecture = row.architecture(spec, len(material.labels))
            plan.append(
                _Planned(
                    row=row,
                    config=config,
                    folder=folder_of(row, config, material, work),
                    work=float(counted(architecture, spec.size_px).macs * spec.clips),
                )
            )
    return plan


class _Share:
    """A run's progress as part of all the work."""

    def __init__(self, watcher: Watcher, before: float, share: float) -> None:
        self._watcher, self._before, self._share = watcher, before, share
        self.note, self.validated = watcher.note, watcher.validated

    def progress(self, progress: Progress) -> None:
        """Pass it on, and what it means for the whole."""
        self._watcher.progress(progress)
        self._watcher.worked(self._before + self._share * progress.step / progress.steps)


def _make(data: Path, spec: AblationSpec, pictures: Path, processes: int, watcher: Watcher) -> None:
    total, done = spec.train_clips + spec.test_clips, 0

    def made(count: int) -> None:
        nonlocal done
        done += count
        watcher.making(done, total)

    make_material(data, spec, pictures, processes=processes, made=made)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: can't be made a folder: {error.strerror}") from None
