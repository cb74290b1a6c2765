"""From a config to a trainer that is ready, and from what it trained to files.

In ``out``: ``checkpoint.pt`` while it runs, ``log.jsonl``, and at the end ``model.safetensors`` and
``results.json``.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.errors import ConfigError, DataError
from pipeline.model.bundle import digest_of, write_bundle
from pipeline.spec import ModelSpec, Suggests, check_clip, check_labels
from pipeline.training.checkpoint import write_whole
from pipeline.training.config import TrainConfig
from pipeline.training.data import (
    Clips,
    DataConfig,
    DataSet,
    Views,
    default_short_side_px,
    open_dataset,
)
from pipeline.training.listen import Listener
from pipeline.training.peers import ALONE, Peers
from pipeline.training.start import Started, start_network
from pipeline.training.trainer import Trained, Trainer

Decoded = Callable[[int, int], None]
"""Told how many of how many clips are in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A trainer, and what its model will be called and made of."""

    trainer: Trainer
    started: Started
    config: TrainConfig
    labels: tuple[str, ...]
    data_name: str
    examples: int
    out: Path


def prepare(
    config: TrainConfig,
    out: Path,
    *,
    listener: Listener,
    decoded: Decoded | None = None,
    peers: Peers = ALONE,
) -> Prepared:
    """Open the data, build the network, load what it starts from.

    Raises:
        ConfigError: what the config says can't be done.
        DataError: the data can't be used.
        ModelError: the weights can't be used.
    """
    dataset = open_dataset(config.data, config.data.train)
    try:
        check_labels(dataset.labels)
    except ValueError as error:  # else said when the run is over, and its model can't be saved
        raise DataError(f"{dataset.name}: {error}") from None
    torch.manual_seed(config.seed)
    started = start_network(config, dataset.labels)
    try:
        check_clip(started.network.architecture.frames, started.size_px)
    except ValueError as error:  # as well
        raise ConfigError(f"size_px: {error}") from None
    clips = _clips(config.data, dataset, started, train=True, decoded=decoded)
    views = _views(config, dataset, started, decoded=decoded) if peers.leads else None
    _make_folder(out)
    if peers.leads:
        for line in [*_story(dataset, clips), *started.story]:
            listener.note(line)
    trainer = Trainer(
        config,
        started,
        labels=dataset.labels,
        clips=clips,
        views=views,
        out=out,
        listener=listener,
        peers=peers,
    )
    return Prepared(
        trainer=trainer,
        started=started,
        config=config,
        labels=dataset.labels,
        data_name=dataset.name,
        examples=len(clips),
        out=out,
    )


def finish(prepared: Prepared, trained: Trained) -> dict[str, object]:
    """Write the bundle and the results; returns the results.

    Raises:
        ModelError, TrainingError: they can't be written.
    """
    config, evaluation = prepared.config, trained.evaluation
    spec = _spec(prepared, trained)
    state = prepared.trainer.average.state_dict()
    write_bundle(prepared.out / "model.safetensors", state, spec)
    results: dict[str, object] = {
        "name": config.name,
        "model": "model.safetensors",
        "digest": digest_of(state, spec),
        "parameters": sum(p.numel() for p in prepared.trainer.average.parameters()),
        "starts_from": list(prepared.started.story),
        "training": {"data": prepared.data_name, "examples": prepared.examples},
        "steps": trained.step,
        "clips": trained.step * config.clips_per_step,
        "seconds": round(trained.elapsed_s, 1),
        "validation": evaluation and evaluation.summary(),
        "per_class": evaluation and evaluation.per_class,
        "history": trained.history,
        "config": config.model_dump(mode="json", by_alias=True),
    }
    write_whole(prepared.out / "results.json", json.dumps(results, indent=2).encode() + b"\n")
    return results


def _spec(prepared: Prepared, trained: Trained) -> ModelSpec:
    config, started, evaluation = prepared.config, prepared.started, trained.evaluation
    recipe = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    provenance = {
        "data": f"{prepared.data_name}, {prepared.examples} clips",
        "start": started.origin,
        "recipe": json.dumps(recipe, sort_keys=True),
        "seed": str(config.seed),
        "clips": str(trained.step * config.clips_per_step),
    }
    if evaluation is not None:
        split = config.data.validation
        provenance["accuracy"] = f"top-1 {evaluation.top1:.4f} on {split} ({len(evaluation.keys)})"
    return ModelSpec(
        name=config.name,
        architecture=started.network.architecture,
        labels=prepared.labels,
        size_px=started.size_px,
        mean=started.mean,
        std=started.std,
        suggests=_suggests(prepared),
        provenance=provenance,
    )


def _suggests(prepared: Prepared) -> Suggests:
    """Pipelines should see things as large as training did."""
    said, data = prepared.started.suggests, prepared.config.data
    if said.short_side_px is not None:
        return said
    short = data.short_side_px or default_short_side_px(prepared.started.size_px)
    return said.model_copy(update={"short_side_px": short})


def _views(
    config: TrainConfig, training: DataSet, started: Started, *, decoded: Decoded | None
) -> Callable[[], Iterator[Views]]:
    dataset = open_dataset(config.data, config.data.validation)
    if dataset.labels != training.labels:
        raise ConfigError(
            f"{training.name} has {len(training.labels)} labels and {dataset.name} has "
            f"{len(dataset.labels)}, or others; both splits need the same"
        )
    clips = _clips(config.data, dataset, started, train=False, decoded=decoded)
    return lambda: clips.views(config.batch_size)


def _clips(
    data: DataConfig, dataset: DataSet, started: Started, *, train: bool, decoded: Decoded | None
) -> Clips:
    return Clips.of(
        data,
        dataset,
        frames=started.network.architecture.frames,
        size_px=started.size_px,
        train=train,
        progress=decoded,
    )


def _story(dataset: DataSet, clips: Clips) -> list[str]:
    lines = [f"{dataset.name}: {len(clips)} clips, {len(dataset.labels)} classes"]
    if clips.broken:
        shown = "; ".join(f"{broken.key} ({broken.reason})" for broken in clips.broken[:3])
        lines.append(f"{len(clips.broken)} clips can't be used: {shown}")
    return lines


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: can't be made a folder: {error.strerror}") from None
