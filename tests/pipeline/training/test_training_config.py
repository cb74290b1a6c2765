"""A config that can't work is refused with the consequence, and told from another one."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.training.config import differences, load_training, parse_training

LEAST: dict[str, Any] = {"data": {"root": "clips"}, "clips": 10_000}


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"clips": None}, "want one of clips and epochs, which say how long to train"),
        ({"epochs": 3}, "want one of clips and epochs"),
        ({"schedule": {"warmup_clips": 10_000}}, "the learning rate never reaches its peak"),
        ({"precision": "fp8"}, "precision: "),
        ({"optimizer": {"lr": 0}}, "optimizer.lr: "),
        ({"optimiser": {}}, "optimiser: no such setting"),
        ({"size_px": 33}, "size_px: "),
        ({"from": {}}, "from.weights: "),
    ],
)
def test_what_cannot_work_is_refused_on_one_line(said: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match="recipe: ") as caught:
        parse_training(LEAST | said, where="recipe")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_read_and_its_mistakes_have_a_place(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {root: clips}\nepochs: 2\nfrom: {weights: default, classifier: new}\n")
    config = load_training(path)
    assert config.start is not None
    assert (config.start.weights, config.epochs) == ("default", 2)
    for text, complaint in (("a: [", "line"), ("- 1", "want keys such as"), ("", "Field required")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=complaint):
            load_training(path)
    with pytest.raises(ConfigError, match="can't read the config: No such file"):
        load_training(tmp_path / "nowhere.yaml")


def test_differences_are_those_that_decide_what_is_learned() -> None:
    before = parse_training(LEAST, where="x").model_dump(mode="json")
    now = parse_training(
        LEAST
        | {
            "optimizer": {"lr": 0.5},
            "from": {"weights": "default"},
            "threads": 2,
            "data": {"root": "clips", "cache": "elsewhere"},
        },
        where="x",
    ).model_dump(mode="json")
    found = differences(before, now)
    assert "optimizer.lr: 0.05, now 0.5" in found
    assert any(line.startswith("start") for line in found)
    assert not any("threads" in line or "cache" in line for line in found)
    assert differences(now, now) == []
