"""One file that carries everything: nothing is lost on the way, and nothing can be changed."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from pipeline.bundle import DEFAULT_PATH, MAX_HEADER, MAX_TENSORS, Card, card_of
from pipeline.config import ModelConfig
from pipeline.errors import CheckpointMismatch, CheckpointRefused, ModelError
from pipeline.model import ModelSpec, Recognizer, Suggests, load, load_from, save_bundle
from pipeline.model.bundle import write_bundle
from pipeline.records import Window
from pipeline.settings import EventSpec
from pipeline.settle import card_from

Make = Callable[..., Recognizer]
SAID = {
    "size_px": 48,
    "mean": (0.5, 0.25, 0.125),
    "std": (0.3,),
    "score": "sigmoid",
    "suggests": Suggests(
        sample_fps="30000/1001", hop=2, short_side_px=64, events=EventSpec(enter=0.9)
    ),
    "provenance": {"training": "none", "licence": "é"},
}


def rewrite(path: Path, change: Callable[[dict, bytearray], object]) -> None:
    """Change a safetensors file's header or tensors."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, tensors = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    change(header, tensors)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(tensors))


def test_a_bundle_keeps_spec_digest_and_scores(
    tmp_path: Path, make_recognizer: Make, make_window: Callable[..., Window]
) -> None:
    made = make_recognizer(spec=SAID, big_input="low")
    path = tmp_path / "without a suffix"
    save_bundle(made, path)
    loaded = load(path, device="cpu")
    assert loaded.spec == made.spec
    assert loaded.digest == made.digest
    window = make_window(made.spec)
    before, after = made.scores([window])[0], loaded.scores([window])[0]
    assert np.array_equal(before.scores_K, after.scores_K)
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_bundle_is_can_be_known_without_loading_it(
    tmp_path: Path, make_recognizer: Make
) -> None:
    save_bundle(make_recognizer(spec=SAID), tmp_path / "made.safetensors")
    for path in (tmp_path / "made.safetensors", DEFAULT_PATH):
        loaded = load(path, device="cpu")
        assert card_of(path) == Card(spec=loaded.spec, digest=loaded.digest)


def test_what_a_model_is_is_the_same_whether_its_file_tells_or_it_must_be_loaded(
    tmp_path: Path, make_recognizer: Make
) -> None:
    torch.save(make_recognizer().network.state_dict(), tmp_path / "x-bLVNet-TAM-7-a2-b2-f2x2.pth")
    made = load(tmp_path / "x-bLVNet-TAM-7-a2-b2-f2x2.pth", device="cpu")
    save_bundle(made, tmp_path / "x.safetensors")
    (tmp_path / "labels.txt").write_text("\n".join(f"other {n}" for n in made.spec.labels))
    bundle = ModelConfig(path=str(tmp_path / "x.safetensors"))
    renamed = ModelConfig(path=bundle.path, labels=str(tmp_path / "labels.txt"))
    published = ModelConfig(path=str(tmp_path / "x-bLVNet-TAM-7-a2-b2-f2x2.pth"))
    assert card_from(bundle) == card_from(published) == Card(spec=made.spec, digest=made.digest)
    assert card_from(renamed).digest == load_from(renamed).digest != made.digest


def test_a_converted_checkpoint_keeps_its_digest(tmp_path: Path, make_recognizer: Make) -> None:
    state = make_recognizer().network.state_dict()
    torch.save({"state_dict": state}, tmp_path / "x-bLVNet-TAM-7-a2-b2-f2x2.pth")
    original = load(tmp_path / "x-bLVNet-TAM-7-a2-b2-f2x2.pth", device="cpu")
    save_bundle(original, tmp_path / "y.safetensors")
    assert load(tmp_path / "y.safetensors", device="cpu").digest == original.digest


def test_the_digest_is_of_what_decides_scores(make_recognizer: Make) -> None:
    usual = make_recognizer().digest
    renamed = {"name": "other", "provenance": {"a": "b"}, "suggests": Suggests(hop=2)}
    assert make_recognizer(spec=renamed).digest == usual
    others = [
        make_recognizer(seed=2),
        make_recognizer(spec={"mean": (0.5,)}),
        make_recognizer(spec={"score": "sigmoid"}),
        make_recognizer(spec={"labels": tuple("abcde")}),
        make_recognizer(size_px=64),
        make_recognizer(frames=6),
        make_recognizer(big_input="low"),
    ]
    assert len({usual, *(other.digest for other in others)}) == 1 + len(others)


def test_labels_may_be_given_anew(tmp_path: Path, make_recognizer: Make) -> None:
    made = make_recognizer()
    save_bundle(made, tmp_path / "x.safetensors")
    relabelled = load(tmp_path / "x.safetensors", device="cpu", labels=list("abcde"))
    assert relabelled.spec.labels == tuple("abcde")
    assert relabelled.digest != made.digest
    with pytest.raises(ModelError, match="5 classes, but 1 labels"):
        load(tmp_path / "x.safetensors", device="cpu", labels=["a"])


def test_a_folder_that_is_missing_is_named(tmp_path: Path, make_recognizer: Make) -> None:
    with pytest.raises(ModelError, match=f"there is no folder {tmp_path / 'gone'}; make it first"):
        save_bundle(make_recognizer(), tmp_path / "gone" / "x.safetensors")


@pytest.mark.parametrize("said", [{"frames": 8}, {"beta": 4}])
def test_what_a_bundle_says_can_not_be_contradicted(
    tmp_path: Path, make_recognizer: Make, said: dict[str, int]
) -> None:
    save_bundle(make_recognizer(), tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="was given, but the bundle says"):
        load(tmp_path / "x.safetensors", device="cpu", **said)


def spec_of(header: dict) -> dict:
    return json.loads(header["__metadata__"]["actionstream"])


def with_spec(change: Callable[[dict], object]) -> Callable[[dict, bytearray], None]:
    def of(header: dict, _: bytearray) -> None:
        spec = spec_of(header)
        change(spec)
        header["__metadata__"]["actionstream"] = json.dumps(spec)

    return of


@pytest.mark.parametrize(
    "change",
    [
        lambda header, tensors: tensors.__setitem__(1000, tensors[1000] ^ 1),
        lambda header, tensors: header["__metadata__"].pop("actionstream_digest"),
        with_spec(lambda spec: spec["labels"].reverse()),
        with_spec(lambda spec: spec.update(mean=[0.1, 0.2, 0.3])),
        with_spec(lambda spec: spec["architecture"].update(frames=6)),
    ],
)
def test_a_bundle_that_was_changed_is_refused(
    tmp_path: Path, make_recognizer: Make, change: Callable[[dict, bytearray], object]
) -> None:
    path = tmp_path / "x.safetensors"
    save_bundle(make_recognizer(), path)
    rewrite(path, change)
    with pytest.raises(CheckpointRefused, match="not those that its digest was made of"):
        load(path, device="cpu")
    assert card_of(path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda header, _: header["__metadata__"].update(actionstream="{"),
        lambda header, _: header["__metadata__"].update(actionstream="[]"),
        with_spec(lambda spec: spec["architecture"].update(frames=5)),
        with_spec(lambda spec: spec.update(size_px=33)),
        with_spec(lambda spec: spec.update(std=[0, 0, 0])),
        with_spec(lambda spec: spec.pop("labels")),
        with_spec(lambda spec: spec.update(new_in_a_later_version=1)),
    ],
)
def test_a_header_that_makes_no_sense_is_refused_in_one_line(
    tmp_path: Path, make_recognizer: Make, change: Callable[[dict, bytearray], object]
) -> None:
    path = tmp_path / "x.safetensors"
    save_bundle(make_recognizer(), path)
    rewrite(path, change)
    with pytest.raises(CheckpointRefused, match="its header is not valid") as info:
        load(path, device="cpu")
    assert "\n" not in str(info.value)
    assert card_of(path) is None


def test_a_bundle_whose_tensors_are_of_another_network_is_refused(
    tmp_path: Path, make_recognizer: Make
) -> None:
    made = make_recognizer()
    other = ModelSpec.model_validate(
        made.spec.model_dump()
        | {"architecture": made.spec.architecture.model_dump() | {"blocks": (3, 3, 2, 2)}}
    )
    write_bundle(tmp_path / "x.safetensors", made.network.state_dict(), other)
    with pytest.raises(CheckpointMismatch, match=r"missing: baseline_model\.layer1\.big\.1"):
        load(tmp_path / "x.safetensors", device="cpu")


def test_a_bundle_with_weights_that_are_no_numbers_is_refused(
    tmp_path: Path, make_recognizer: Make
) -> None:
    made = make_recognizer()
    with torch.no_grad():
        made.network.classifier.bias[0] = float("nan")
    save_bundle(made, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointRefused, match="not finite"):
        load(tmp_path / "x.safetensors", device="cpu")
    with pytest.raises(CheckpointRefused, match="not finite"):
        card_from(ModelConfig(path=str(tmp_path / "x.safetensors")))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.int32])
def test_a_bundle_of_other_numbers_than_ours_must_be_loaded_to_be_known(
    tmp_path: Path, make_recognizer: Make, dtype: torch.dtype
) -> None:
    made = make_recognizer()
    save_bundle(made, tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        metadata, state = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    first = next(iter(state))
    state[first] = torch.zeros_like(state[first], dtype=dtype)
    (tmp_path / "x.safetensors").write_bytes(save(state, metadata=metadata))
    assert card_of(tmp_path / "x.safetensors") is None


def test_a_bundle_that_can_not_be_written_leaves_nothing_behind(
    tmp_path: Path, make_recognizer: Make
) -> None:
    made = make_recognizer()
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    targets = [tmp_path / "gone" / "x", tmp_path / "file" / "x", tmp_path / "folder"]
    if os.geteuid():  # root may write anywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        targets.append(tmp_path / "closed" / "x")
    before = sorted(tmp_path.rglob("*"))
    for target in targets:
        with pytest.raises(ModelError, match="can't be written"):
            save_bundle(made, target)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bundle_is_replaced_whole(tmp_path: Path, make_recognizer: Make) -> None:
    path = tmp_path / "x.safetensors"
    save_bundle(make_recognizer(), path)
    save_bundle(make_recognizer(seed=2), path)
    assert load(path, device="cpu").digest == make_recognizer(seed=2).digest


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (("suggests", "sample_fps"), "1e99999999", "want a rate"),
        (("suggests", "sample_fps"), "1/0", "want a rate"),
        (("suggests", "hop"), -4, "hop"),
        (("architecture", "blocks"), [10**9] * 4, "blocks"),
        (("architecture", "taps"), 10**9 + 1, "taps"),
        (("architecture", "width"), 4 * 10**17, "width"),
        (("size_px",), 2 * 10**9, "size_px"),
        (("name",), "x" * 256, "name: String should have at most 255"),
        (("std",), [1e-320], "std must be at least"),
        (("labels",), ["\x1b[2Ja", "b", "c", "d", "e"], "can't be shown"),
        (("labels",), ["", "b", "c", "d", "e"], "can't be shown"),
    ],
)
def test_a_header_that_says_too_much_is_refused_at_once(
    tmp_path: Path,
    make_recognizer: Make,
    place: tuple[str, ...],
    value: object,
    why: str,
) -> None:
    path = tmp_path / "x.safetensors"
    save_bundle(make_recognizer(), path)

    def change(header: dict, _: bytearray) -> None:
        document = json.loads(header["__metadata__"]["actionstream"])
        inner = document
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value
        header["__metadata__"]["actionstream"] = json.dumps(document)

    rewrite(path, change)
    with pytest.raises(CheckpointRefused, match=why) as info:
        load(path, device="cpu")
    assert str(info.value).isprintable()


def test_a_url_is_no_model_and_its_password_is_not_shown() -> None:
    with pytest.raises(ModelError, match="this is a URL") as info:
        load("rtsp://u:hunter2@h/x", device="cpu")
    assert "hunter2" not in str(info.value)


def test_a_header_of_any_length_or_with_tensors_without_end_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(save({f"t{n}": torch.empty(0) for n in range(MAX_TENSORS + 1)}))
    assert card_of(path) is None
    with pytest.raises(CheckpointRefused, match=f"holds {MAX_TENSORS + 1} tensors"):
        load(path, device="cpu")
    path.write_bytes(struct.pack("<Q", MAX_HEADER + 1) + b"{" + b" " * MAX_HEADER)
    with pytest.raises(CheckpointRefused, match="its header would have"):
        load(path, device="cpu")


@pytest.mark.parametrize("says", [{"mean": (1e308,) * 3}, {}])
def test_scores_that_are_no_numbers_are_refused_before_a_window_comes(
    make_recognizer: Make, says: dict[str, object]
) -> None:
    recognizer = make_recognizer(spec=says)
    with torch.no_grad():
        for weights in recognizer.network.parameters():
            weights.fill_(1e38)
    with pytest.raises(ModelError, match="its scores are no numbers"):
        recognizer.warm()


def test_one_of_many_labels_that_is_there_twice_is_found_at_once(make_recognizer: Make) -> None:
    document = make_recognizer().spec.model_dump(mode="json")
    document["labels"] = [*(str(n) for n in range(200_000)), "199999"]
    document["architecture"]["classes"] = 200_001
    with pytest.raises(ValueError, match="'199999' is there twice"):
        ModelSpec.model_validate(document)


def test_a_clip_that_would_fill_the_memory_is_refused(make_recognizer: Make) -> None:
    document = make_recognizer().spec.model_dump(mode="json")
    document["architecture"]["frames"] = 64
    for size_px in (224, 1024):  # f32x2 as published, and as large as a clip may be
        ModelSpec.model_validate(document | {"size_px": size_px})
    with pytest.raises(ValueError, match="gigabytes for each clip"):
        ModelSpec.model_validate(document | {"size_px": 1026})


def test_a_name_that_steers_a_terminal_is_escaped(make_recognizer: Make) -> None:
    spec = make_recognizer().spec
    document = spec.model_dump() | {"name": "a\x1b[2J\n", "provenance": {"a\n": "\x1b"}}
    assert ModelSpec.model_validate(document).name == r"a\x1b[2J\n"


def test_a_bundle_does_not_take_the_place_of_a_device(
    tmp_path: Path, make_recognizer: Make
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ModelError, match="a pipe or a device"):
        save_bundle(make_recognizer(), pipe)
    assert pipe.is_fifo()
