"""What a run tells is kept, and what a killed run told too early is forgotten."""

import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.training.listen import Listeners, Log, Progress, TensorBoard


def progress(step: int) -> Progress:
    return Progress(
        step=step, steps=8, clips=4 * step, loss=1 / step, top1=0.5, rate=0.1, clips_per_s=9.0
    )


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_log_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path, after=0, last=8)
    for step in range(1, 9):
        log.progress(progress(step))
    log.validated(4, {"top1": 0.25})
    log.validated(8, {"top1": 0.5})
    with path.open("a") as file:
        file.write('{"kind": "training", "ste')  # a kill in the middle of a line
    Log(path, after=5, last=8)
    assert steps(path) == [1, 2, 3, 4, 5, 4]


def test_the_evaluation_at_the_end_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path, after=0, last=8)
    log.progress(progress(8))
    log.validated(8, {"top1": 0.5})
    Log(path, after=8, last=8)
    assert steps(path) == [8]


def test_tensorboard_gets_scalars_by_clips(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path, clips_per_step=4)
    listener = Listeners(board)
    for step in (2, 4):
        listener.progress(progress(step))
    listener.validated(4, {"top1": 0.75})
    listener.note("nothing")
    board.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("training/loss")] == [(8, 0.5), (16, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("validation/top1")] == [(16, 0.75)]
