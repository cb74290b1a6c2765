"""Training: batches in, weights out; a run that was killed goes on to the same losses.

The rule that is easy to get wrong: whatever is random (dropout here, order and augmentation in the
data) is a function of seed and position, so a checkpoint holds no random state and nothing drifts
when a run goes on. Cost on two cores: about 140 clips/s for 1.0 M parameters at 64 px in bf16, data
included; ``torch.compile`` took two minutes to begin and showed no clear gain.
"""

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch.nn import functional as F

from pipeline.errors import DataError, ModelError, TrainingError
from pipeline.model.network import VideoNetwork
from pipeline.training.checkpoint import (
    VERSION,
    Checkpoint,
    check_same,
    read_checkpoint,
    taken_over,
    write_checkpoint,
)
from pipeline.training.config import TrainConfig
from pipeline.training.data import AugmentSpec, Batch, Views
from pipeline.training.evaluate import Evaluation, evaluate
from pipeline.training.feed import Feed, classifier, device_of
from pipeline.training.listen import Listener, Listeners, Log, Progress
from pipeline.training.optimise import Average, load_optimizer, make_optimizer
from pipeline.training.peers import ALONE, Peers
from pipeline.training.schedule import rate_at, seed_of, share_of, steps_of
from pipeline.training.start import Started

VALIDATIONS = 10  # per run, where the config doesn't say
SHOWN_KEYS = 8


class TrainingClips(Protocol):
    """Labelled clips to learn from."""

    def __len__(self) -> int:
        """How many there are in an epoch."""

    def batches(
        self, *, batch_size: int, seed: int, epoch: int, augment: AugmentSpec | None,
        first_batch: int, shard: int, shards: int, drop_last: bool,
    ) -> Iterator[Batch]:  # fmt: skip
        """An epoch's batches from a place on: a pure function of all of these."""


AllViews = Callable[[], Iterable[Views]]
"""The clips to evaluate on, anew at each call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run has come to."""

    finished: bool
    """Or stopped, and able to go on."""
    step: int
    elapsed_s: float
    evaluation: Evaluation | None
    """Of the averaged weights, where there is something to evaluate on."""
    history: list[dict[str, float]]


@dataclass(slots=True)
class Meter:
    """Sums since the last report."""

    clips: float = 0.0
    loss: float = 0.0
    right: float = 0.0


class Trainer:
    """Trains one network.

    Weights, their average and the checkpoint are in ``out``; where that holds the checkpoint of a
    run with the same config, it goes on.
    """

    def __init__(
        self, config: TrainConfig, started: Started, *, labels: tuple[str, ...],
        clips: TrainingClips, views: AllViews | None, out: Path, listener: Listener,
        peers: Peers = ALONE,
    ) -> None:  # fmt: skip
        self._config, self._labels, self._clips, self._views = config, labels, clips, views
        self._peers, self._out, self._listener = peers, out, listener
        self.steps = steps_of(config, len(clips))
        self._share = share_of(config, len(clips), peers)
        self._device = device_of(config)
        network = started.network.to(self._device)
        if config.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._average = Average(network, config.ema_decay)
        self._network = network.train()
        self._optimizer = make_optimizer(network, config.optimizer)
        self._scaler = torch.amp.GradScaler("cuda", enabled=config.precision == "fp16")
        feed = Feed(network, started.mean, started.std, config.precision).to(self._device)
        self._feed = peers.joined(feed)
        self._classify = classifier(
            self._average.network, started.mean, started.std, config.precision
        )
        self._step, self._epoch, self._batch = 0, 0, 0
        self._meter = Meter()
        self._history: list[dict[str, float]] = []
        self._elapsed_s, self._since_s = 0.0, time.monotonic()

    @property
    def average(self) -> VideoNetwork:
        """The network that is evaluated and saved."""
        return self._average.network

    def run(self, stop: Callable[[], bool] = lambda: False) -> Trained:
        """Train to the end, or until told to stop; from the checkpoint, if there is one.

        Raises:
            ConfigError: the checkpoint is of another config; the message names the differences.
            TrainingError: the loss is not a number, or the checkpoint can't be written; the one
                before it is whole.
        """
        if self._path.exists():
            self._go_on(read_checkpoint(self._path))
        if self._peers.leads:
            log = Log(self._out / "log.jsonl", after=self._step, last=self.steps)
            self._listener = Listeners(log, self._listener)
        with closing(self._batches()) as batches:
            self._train(batches, stop)
        evaluation = self._validate() if self._step == self.steps else None
        self._save()
        return Trained(
            finished=self._step == self.steps,
            step=self._step,
            elapsed_s=self._seconds(),
            evaluation=evaluation,
            history=self._history,
        )

    def _train(self, batches: Iterator[tuple[int, int, Batch]], stop: Callable[[], bool]) -> None:
        config, last_s = self._config, time.monotonic()
        validate = config.validate_every_clips or -(
            -self.steps * config.clips_per_step // VALIDATIONS
        )
        while self._step < self.steps and not stop():
            self._learn([next(batches) for _ in range(config.accumulate)])
            if self._due(config.log_every_steps):
                self._report(time.monotonic() - last_s)
                last_s = time.monotonic()
            if self._due(self._in_steps(validate)) and self._step < self.steps:
                before_s = time.monotonic()
                self._validate()
                last_s += time.monotonic() - before_s
            if self._due(self._in_steps(config.checkpoint_every_clips)):
                self._save()

    def _learn(self, batches: list[tuple[int, int, Batch]]) -> None:
        """One step: gradients of some batches, one change of the weights."""
        config = self._config
        self._set_rate()
        torch.manual_seed(seed_of(config.seed, self._step, self._peers.rank))
        for place, (epoch, following, batch) in enumerate(batches):
            last = place == len(batches) - 1
            with self._peers.apart(self._feed, last=last):
                self._scaler.scale(self._loss(batch) / len(batches)).backward()  # type: ignore[no-untyped-call]
            self._epoch, self._batch = epoch, following
        self._scaler.unscale_(self._optimizer)
        norm = torch.nn.utils.clip_grad_norm_(
            self._network.parameters(), config.optimizer.clip_norm or math.inf
        )
        if config.precision != "fp16":  # there, the scaler skips such a step by itself
            self._check(norm.item(), "gradient", [batch for _, _, batch in batches])
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self._average.update(self._step)
        self._step += 1

    def _set_rate(self) -> None:
        config = self._config
        share = rate_at(
            self._step, self.steps, config.schedule, clips_per_step=config.clips_per_step
        )
        for group in self._optimizer.param_groups:
            group["lr"] = config.optimizer.lr * share

    def _loss(self, batch: Batch) -> torch.Tensor:
        labels_N = batch.labels_N.to(self._device)
        logits_NK = self._feed(batch.clips_NTHWC.to(self._device, non_blocking=True))
        loss = F.cross_entropy(logits_NK, labels_N, label_smoothing=self._config.label_smoothing)
        value = loss.item()
        self._check(value, "loss", [batch])
        self._meter.clips += len(labels_N)
        self._meter.loss += value * len(labels_N)
        self._meter.right += int((logits_NK.argmax(dim=1) == labels_N).sum())
        return loss

    def _check(self, value: float, what: str, batches: list[Batch]) -> None:
        if math.isfinite(value):
            return
        keys = list(itertools.chain.from_iterable(batch.keys for batch in batches))
        more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
        raise TrainingError(
            f"step {self._step + 1}: the {what} is {value} for the batch "
            f"{', '.join(keys[:SHOWN_KEYS])}"
            f"{more}; {self._kept}; look at these clips, lower optimizer.lr or set "
            "optimizer.clip_norm"
        )

    def _batches(self) -> Generator[tuple[int, int, Batch], None, None]:
        """(epoch, number of the following batch, batch), for ever."""
        epoch, first = self._epoch, self._batch
        while True:
            following = first
            for batch in self._clips.batches(
                batch_size=self._share,
                seed=self._config.seed,
                epoch=epoch,
                augment=self._config.augment,
                first_batch=first,
                shard=self._peers.rank,
                shards=self._peers.size,
                drop_last=len(self._clips) >= self._config.batch_size,
            ):
                following += 1
                yield epoch, following, batch
            if not following:
                raise DataError("an epoch of the training data has not one batch")
            epoch, first = epoch + 1, 0

    def _report(self, seconds: float) -> None:
        meter, self._meter = self._meter, Meter()
        clips, loss, right = self._peers.total([meter.clips, meter.loss, meter.right])
        if self._peers.leads:
            self._listener.progress(
                Progress(
                    step=self._step,
                    steps=self.steps,
                    clips=self._step * self._config.clips_per_step,
                    loss=loss / clips,
                    top1=right / clips,
                    rate=self._optimizer.param_groups[0]["lr"],
                    clips_per_s=clips / seconds,
                )
            )

    def _validate(self) -> Evaluation | None:
        evaluation = None
        if self._peers.leads and self._views is not None:
            evaluation = self._evaluation(self._views())
            figures = evaluation.summary()
            self._history.append({"step": float(self._step), **figures})
            self._listener.validated(self._step, figures)
        self._peers.wait()
        return evaluation

    def _evaluation(self, views: Iterable[Views]) -> Evaluation:
        try:
            return evaluate(self._classify, views, self._labels)
        except ModelError as error:
            raise TrainingError(
                f"step {self._step}: {error}; {self._kept}; lower optimizer.lr or set "
                "optimizer.clip_norm"
            ) from None

    def _due(self, every_steps: int) -> bool:
        return self._step % every_steps == 0

    def _in_steps(self, clips: int) -> int:
        return max(1, round(clips / self._config.clips_per_step))

    def _seconds(self) -> float:
        return self._elapsed_s + time.monotonic() - self._since_s

    @property
    def _path(self) -> Path:
        return self._out / "checkpoint.pt"

    def _save(self) -> None:
        meter = self._peers.total([self._meter.clips, self._meter.loss, self._meter.right])
        if self._peers.leads:
            self._check_weights()
            write_checkpoint(self._path, self._state(Meter(*meter)))

    def _check_weights(self) -> None:
        for network in (self._network, self._average.network):
            for name, tensor in network.state_dict().items():
                if not torch.isfinite(tensor).all():
                    raise TrainingError(
                        f"step {self._step}: {name} is no longer a finite number; {self._kept}; "
                        "lower optimizer.lr or set optimizer.clip_norm"
                    )

    @property
    def _kept(self) -> str:
        return f"{self._path} is as it was" if self._path.exists() else "nothing was saved yet"

    def _state(self, meter: Meter) -> Checkpoint:
        return Checkpoint(
            version=VERSION,
            config=self._config.model_dump(mode="json"),
            labels=list(self._labels),
            examples=len(self._clips),
            workers=self._peers.size,
            step=self._step,
            epoch=self._epoch,
            batch=self._batch,
            network=self._network.state_dict(),
            average=self._average.network.state_dict(),
            optimizer=self._optimizer.state_dict(),
            scaler=self._scaler.state_dict(),
            meter=asdict(meter),
            history=self._history,
            elapsed_s=self._seconds(),
        )

    def _go_on(self, state: Checkpoint) -> None:
        check_same(
            self._path,
            state,
            self._config,
            labels=self._labels,
            examples=len(self._clips),
            workers=self._peers.size,
        )
        with taken_over(self._path):
            self._network.load_state_dict(state["network"])
            self._average.network.load_state_dict(state["average"])
            load_optimizer(self._optimizer, state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])
            if self._peers.leads:  # it holds what all of them counted
                self._meter = Meter(**{k: float(v) for k, v in state["meter"].items()})
            self._history = [line for line in state["history"] if line["step"] < self.steps]
            self._step, self._epoch, self._batch = state["step"], state["epoch"], state["batch"]
            if self._step > self.steps or min(self._step, self._epoch, self._batch) < 0:
                raise ValueError("beyond the run")
        self._elapsed_s, self._since_s = state["elapsed_s"], time.monotonic()
        self._listener.note(f"goes on after step {self._step} of {self.steps} ({self._path})")
