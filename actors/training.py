"""Training on Ray: the same run as in one process, each of its batches shared by several workers.

Every worker computes its part of a batch, gradients are averaged (gloo on CPUs, NCCL on GPUs), and
all take the same step. The first worker evaluates, reports and saves into ``out``, which every
machine must see: on several, a shared folder. A run that was killed goes on from there.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import ray
from ray import train as ray_train
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.train.torch import TorchConfig, TorchTrainer

from actors.cluster import cluster
from pipeline.errors import ActionstreamError, ConfigError, TrainingError
from pipeline.training.config import TrainConfig, parse_training
from pipeline.training.listen import Listener, Progress, silent
from pipeline.training.peers import Peers
from pipeline.training.prepare import finish, prepare
from pipeline.training.schedule import share_of

POLL_S = 0.5  # how often news is fetched
Letter = tuple[str, tuple[object, ...]]


def train_on_ray(
    config: TrainConfig,
    out: Path,
    *,
    workers: int,
    address: str | None = None,
    listener: Listener,
) -> dict[str, object]:
    """Train to the end; returns the results, which also are in ``out``.

    Raises:
        ConfigError: fewer processors than workers, or as ``prepare``.
        TrainingError: as ``Trainer.run``, or a worker died; its checkpoint stays.
    """
    share_of(config, config.batch_size, Peers(size=workers))  # before Ray takes its seconds
    with cluster(address):
        gpus = _resources(config, workers)
        mailbox = ray.remote(Mailbox).options(num_cpus=0).remote()
        told = _Told(mailbox, listener)
        with told, tempfile.TemporaryDirectory(prefix="actionstream-") as storage:
            trainer = TorchTrainer(
                work,
                train_loop_config={
                    "config": config.model_dump(mode="json", by_alias=True),
                    "out": str(out.absolute()),
                    "mailbox": mailbox,
                },
                torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
                scaling_config=ray_train.ScalingConfig(num_workers=workers, use_gpu=gpus),
                run_config=ray_train.RunConfig(name="training", storage_path=storage),
            )
            try:
                trainer.fit()
            except (RayError, ray_train.TrainingFailedError) as error:
                failure: BaseException = error
            else:
                failure = TrainingError("the workers ended without results")
        if told.results is None:
            raise told.error or TrainingError(
                f"a worker died ({type(failure).__name__}); the same command goes on from the "
                f"checkpoint in {out}"
            )
        return told.results


def work(task: dict[str, object]) -> None:
    """What each worker does."""
    context = ray_train.get_context()
    peers = Peers(rank=context.get_world_rank(), size=context.get_world_size())
    mailbox = task["mailbox"]
    assert isinstance(mailbox, ActorHandle)
    document, out = task["config"], Path(str(task["out"]))
    assert isinstance(document, dict)
    listener: Listener = Posted(mailbox) if peers.leads else silent()
    try:
        config = parse_training(document, where="config")
        prepared = prepare(config, out, listener=listener, peers=peers)
        trained = prepared.trainer.run()
        if peers.leads:
            ray.get(mailbox.put.remote("results", finish(prepared, trained)))
    except ActionstreamError as error:
        ray.get(mailbox.put.remote("error", error))
        raise


class Mailbox:
    """An actor that carries news from the workers to the process that waits for them."""

    def __init__(self) -> None:
        self._letters: list[Letter] = []

    def put(self, kind: str, *content: object) -> None:
        """Add a letter."""
        self._letters.append((kind, content))

    def take(self) -> list[Letter]:
        """Every letter since the last time."""
        letters, self._letters = self._letters, []
        return letters


class Posted:
    """A listener whose news goes into a mailbox."""

    def __init__(self, mailbox: ActorHandle) -> None:
        self._mailbox = mailbox

    def note(self, line: str) -> None:
        """Post it."""
        self._mailbox.put.remote("note", line)

    def progress(self, progress: Progress) -> None:
        """Post it."""
        self._mailbox.put.remote("progress", progress)

    def validated(self, step: int, figures: dict[str, float]) -> None:
        """Post it."""
        self._mailbox.put.remote("validated", step, figures)


class _Told:
    """Empties a mailbox into a listener while the context lasts, and keeps how it ended."""

    def __init__(self, mailbox: ActorHandle, listener: Listener) -> None:
        self._mailbox, self._listener = mailbox, listener
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.results: dict[str, object] | None = None
        self.error: ActionstreamError | None = None

    def __enter__(self) -> _Told:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        last = False
        while not last:
            last = self._over.wait(POLL_S)  # and once more, for what came since
            for kind, content in ray.get(self._mailbox.take.remote()):
                self._read(kind, content)

    def _read(self, kind: str, content: tuple[object, ...]) -> None:
        match kind, content:
            case "results", (dict() as results,):
                self.results = results
            case "error", (ActionstreamError() as error,):
                self.error = self.error or error
            case "note", (str() as line,):
                self._listener.note(line)
            case "progress", (Progress() as progress,):
                self._listener.progress(progress)
            case "validated", (int() as step, dict() as figures):
                self._listener.validated(step, figures)


def _resources(config: TrainConfig, workers: int) -> bool:
    """Whether each worker gets a GPU.

    Raises:
        ConfigError: there are fewer processors than workers, who would wait for ever.
    """
    there = ray.cluster_resources()
    if config.device.startswith("cuda") or (
        config.device == "auto" and there.get("GPU", 0) >= workers
    ):
        kind = "GPU"
    else:
        kind = "CPU"
    if there.get(kind, 0) < workers:
        raise ConfigError(
            f"{workers} workers want a {kind} each, the Ray cluster has {there.get(kind, 0):.0f}"
        )
    return kind == "GPU"
