"""YAML as attackers and tired people write it: one line, quickly, and nothing of it is quoted."""

import os
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.document import MAX_BYTES, read_document
from pipeline.errors import ConfigError
from pipeline.training.ablation.spec import load_ablation
from pipeline.training.config import load_training

GROWING = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12)
)
HALVES = [", ".join(f"{half}{n}: 1" for n in range(600)) for half in "xy"]
MERGED = f"a: &a {{{HALVES[0]}}}\nb: &b {{{HALVES[1]}}}\nc: {{<<: [*a, *b]}}"


def complaint(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    with pytest.raises(ConfigError) as info:
        read_document(path)
    said = str(info.value)
    assert said.isprintable()
    assert len(said) < 500
    return said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 5000, "nested too deeply"),
        ("a:\n  b: 2001-99-99", "line 2: not YAML: a date"),
        (f"a: {'9' * 5000}", "number"),
        ("a: !!int foo", "number"),
        ("a: !!timestamp foo", "a date"),
        ("a: !!python/object/apply:os.system ['touch marker']", "constructor"),
        ("health: {port: 1}\nhealth: {port: 2}", "line 2: not YAML: health is there twice"),
        ('a: "x\\0y"', "no text"),
        ('a: "x\\ud800y"', "no text"),
        ('"\\e[31m": 1', "no text"),
        ("a: !!binary G1szMW0=", "binary data"),
        (MERGED, "too many keys"),
        ("\n".join(f"k{n}: 1" for n in range(2000)), "too many keys"),
        (f"a: [&a 1{', *a' * 20_000}]", "too many aliases"),
        (f"a: [{'a,' * (MAX_BYTES // 2 - 10)}]", "line 1: not YAML: too many values"),
        ("".join(f"{n:x}:\n" for n in range(150_000)), "line 1: not YAML: too many keys"),
        ("#" * (MAX_BYTES + 1), "larger than 1 MiB"),
        (b"a: caf\xe9", "not a text file in UTF-8"),
    ],
)
def test_what_is_no_document_is_one_line(tmp_path: Path, text: str | bytes, why: str) -> None:
    assert why in complaint(tmp_path / "c.yaml", text)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("text", ["a: *hunter2", "a: !hunter2 x", "a: [hunter2", "hunter2 : : x"])
def test_what_is_odd_is_not_quoted(tmp_path: Path, text: str) -> None:
    assert "hunter2" not in complaint(tmp_path / "c.yaml", text)


def test_an_address_in_the_place_of_a_config_is_not_shown() -> None:
    path = Path("rtsp://u:hunter2@camera/1")
    for given in (path, path.absolute()):
        with pytest.raises(ConfigError, match="a config is a file, and this is an address") as info:
            read_document(given)
        assert "hunter2" not in str(info.value)


def test_anchors_that_merge_one_key_ten_times_over_do_not_grow(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(GROWING)
    try:  # PyYAML before 6.0.4 doubles keys, and is stopped; a later one keeps one of each
        document, _ = read_document(path)
    except ConfigError as error:
        assert "too many keys" in str(error)
    else:
        assert document == {f"a{n}": {"x": 1} for n in range(12)}


def test_merged_defaults_may_be_said_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: *a}\n")
    document, _ = read_document(path)
    assert document["b"] == {"x": 1, "y": 3}
    assert document["c"] == {"x": 1, "y": 2}


@pytest.mark.parametrize("load", [load_config, load_training, load_ablation])
def test_every_config_is_read_so(tmp_path: Path, load: object) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for odd in (Path("/dev/zero"), pipe, tmp_path):
        with pytest.raises(ConfigError, match=r"give a file|directory"):
            load(odd)
    path = tmp_path / "c.yaml"
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load(path)
    path.write_text("clips: 1\nclips: 2\n")
    with pytest.raises(ConfigError, match="twice"):
        load(path)
