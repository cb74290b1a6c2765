"""How many actors a deployment begins with."""

from pathlib import Path

import pytest

from actors import plan
from actors.plan import Plan
from pipeline.cameras import CameraKnobs
from pipeline.source import CameraSource, FileSource, Source, parse_address

CORES = 4


@pytest.fixture(autouse=True)
def _cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "usable_cpus", lambda: CORES)


def sources(cameras: int, files: int) -> list[Source]:
    address = parse_address("rtsp://127.0.0.1/1")
    return [
        *(
            CameraSource(stream_id=f"c{n}", address=address, knobs=CameraKnobs())
            for n in range(cameras)
        ),
        *(FileSource(stream_id=f"f{n}", path=Path(f"{n}.mp4")) for n in range(files)),
    ]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 16, 101])
@pytest.mark.parametrize("stays", [False, True])
def test_every_camera_runs_at_once(count: int, stays: bool) -> None:
    made = Plan.of(sources(count, 0), stays=stays)
    assert made.live and not made.waits_for_company
    assert made.cameras == min(count, CORES)
    assert count <= made.cameras * made.streams_each < count + made.cameras


def test_cameras_may_be_attached_to_a_deployment_that_has_none() -> None:
    made = Plan.of([], stays=True)
    assert (made.live, made.cameras, made.most_cameras) == (True, 0, CORES)


@pytest.mark.parametrize(("count", "waits"), [(1, False), (2, False), (4, True), (100, True)])
def test_many_files_fill_batches(count: int, waits: bool) -> None:
    made = Plan.of(sources(0, count), stays=False)
    assert not made.live
    assert made.cameras == made.most_cameras == min(count, CORES)
    assert made.waits_for_company == waits


def test_files_beside_a_camera_do_not_keep_it_waiting() -> None:
    made = Plan.of(sources(1, 20), stays=False)
    assert made.live and not made.waits_for_company


def test_nothing_at_all_has_one_actor() -> None:
    assert Plan.of([], stays=False).cameras == 1
