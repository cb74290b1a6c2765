"""Before anything runs: which model it is, and what model and config come to together.

A bundle is known without torch; so whoever only starts others, which load it, needn't.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipeline.bundle import Card, card_of, named
from pipeline.config import Config, ModelConfig, describe
from pipeline.errors import ConfigError
from pipeline.events import Origin
from pipeline.settings import EventSpec, GridSpec, PictureSpec, Settings, WindowSpec
from pipeline.spec import ModelSpec

if TYPE_CHECKING:
    from pipeline.model import Recognizer  # brings torch


def card_from(config: ModelConfig) -> Card:
    """What the model of a config is; it is loaded only where the file alone doesn't tell.

    Raises: as ``pipeline.model.load`` does. That tensors don't fit the architecture that the header
    of a bundle names is found by who loads it.
    """
    plain = config.device in ("auto", "cpu") and config == ModelConfig(
        path=config.path, device=config.device
    )
    card = card_of(named(config.path)) if plain else None
    if card is None:
        from pipeline.model import load_from

        recognizer = load_from(config)
        card = Card(spec=recognizer.spec, digest=recognizer.digest)
    return card


def settle(config: Config, spec: ModelSpec) -> Settings:
    """What the weights require, what they suggest, and what the config overrides.

    Raises:
        ConfigError: the config asks for something that these weights can't do.
    """
    suggests, sampling = spec.suggests, config.sampling
    if spec.architecture.in_channels != 3:
        raise ConfigError(
            f"{spec.name} takes {spec.architecture.in_channels} channels per frame, and pictures "
            "have 3; give other weights as model.path or --model"
        )
    overrides = {k: v for k, v in config.events.model_dump().items() if v is not None}
    suggested = suggests.events.model_dump() if suggests.events else {}
    suggested["background"] = suggests.background
    try:
        settings = Settings(
            grid=GridSpec(
                sample_fps=sampling.sample_fps or suggests.sample_fps,
                max_gap_s=sampling.max_gap_s,
            ),
            picture=PictureSpec(
                size_px=spec.size_px,
                short_side_px=sampling.short_side_px or spec.short_side_px,
                max_pixels=sampling.max_pixels,
            ),
            window=WindowSpec(
                frames=spec.architecture.frames,
                hop=sampling.hop or spec.hop,
                big_input=spec.architecture.big_input,
            ),
            events=EventSpec.model_validate(suggested | overrides),
        )
    except ValidationError as error:
        raise ConfigError(f"these settings don't go with {spec.name}: {describe(error)}") from None
    unknown = sorted(set(settings.events.background) - set(spec.labels))
    if unknown:
        raise ConfigError(
            f"events.background names {unknown[0]!r}, which is no label of {spec.name}; "
            "see: actionstream model info"
        )
    return settings


def origin_of(model: Card | Recognizer, settings: Settings) -> Origin:
    """What every event of a run has in common."""
    return Origin(
        model_name=model.spec.name,
        model_digest=model.digest,
        settings_digest=settings.digest(),
        labels=model.spec.labels,
    )
