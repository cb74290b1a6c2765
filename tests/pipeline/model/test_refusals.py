"""Files that are no checkpoint: each is refused with one line, and none of them runs."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import CheckpointMismatch, CheckpointRefused, ModelError
from pipeline.model import Recognizer, VideoNetwork, load, save_bundle
from tests.golden import recipe

Make = Callable[..., VideoNetwork]
GOLDEN = Path(recipe.__file__).parent


def refusal(path: Path, kind: type[ModelError] = CheckpointRefused, **arguments: object) -> str:
    with pytest.raises(kind) as info:
        load(path, device="cpu", **({"frames": 4} | arguments))
    text = str(info.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, marker: Path, by: Callable[[str], object] = os.system) -> None:
        self._marker, self._by = marker, by

    def __reduce__(self) -> tuple[object, ...]:
        return self._by, (f"touch {self._marker}",)


class EvilCode(Evil):
    def __reduce__(self) -> tuple[object, ...]:
        return eval, (f"open({str(self._marker)!r}, 'w').close()",)


@pytest.mark.parametrize("evil", [Evil, EvilCode])
@pytest.mark.parametrize("how", ["zip", "legacy", "bare", "beside", "protocol 4"])
def test_code_in_a_pickle_is_never_run(
    tmp_path: Path, make_network: Make, evil: type[Evil], how: str
) -> None:
    marker, path = tmp_path / "marker", tmp_path / "x.pth.tar"
    content: object = evil(marker)
    if how == "beside":
        content = {"state_dict": make_network().state_dict(), "args": content}
    if how in ("bare", "protocol 4"):
        path.write_bytes(pickle.dumps(content, protocol=4 if how == "protocol 4" else 2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how != "legacy")
    text = refusal(path)
    assert not marker.exists()
    if how != "protocol 4":
        assert "wants to run code" in text
    torch_would = torch.load if how in ("zip", "legacy", "beside") else None
    if torch_would is not None:  # the trap is a real one
        torch_would(path, weights_only=False)
        assert marker.exists()


@pytest.mark.parametrize("name", ["posix system", "os system", "torch.hub load"])
def test_the_refusal_names_what_would_have_run(tmp_path: Path, name: str) -> None:
    module, attribute = name.split()
    path = tmp_path / "x.pth"
    path.write_bytes(f"\x80\x02c{module}\n{attribute}\nX\x01\x00\x00\x00a\x85R.".encode("latin1"))
    assert f"{module}.{attribute}" in refusal(path)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("share", [0.0005, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_checkpoint_cut_short_is_refused(
    tmp_path: Path, make_network: Make, share: float, new: bool
) -> None:
    path = tmp_path / "x.pth.tar"
    torch.save(
        {"state_dict": make_network().state_dict()}, path, _use_new_zipfile_serialization=new
    )
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "damaged" in refusal(path)


def test_the_format_before_zip_loads(tmp_path: Path, make_network: Make) -> None:
    path = tmp_path / "x.pth.tar"
    state = make_network().state_dict()
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    loaded = load(path, device="cpu", frames=4).network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_scalars_of_numpy_1_are_harmless(tmp_path: Path, make_network: Make) -> None:
    path = tmp_path / "x.pth.tar"
    content = {"state_dict": make_network().state_dict(), "best": np.float64(3)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert b"cnumpy._core.multiarray\nscalar\n" in data
    path.write_bytes(data.replace(b"cnumpy._core.", b"cnumpy.core."))
    assert load(path, device="cpu", frames=4).spec.architecture.frames == 4


@pytest.mark.parametrize("suffix", [".pth.tar", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"\n\n  <html>", "web page"),
        (b"\x80", ""),
        (b"not a checkpoint\n" * 40, "damaged"),
        (np.random.default_rng(1).bytes(5000), ""),
        (np.random.default_rng(2).bytes(9), ""),
        (b"PK\x03\x04" + bytes(60), ""),
        (pickle.dumps([1, 2, 3], protocol=2), ""),
        (struct.pack("<Q", 2**62) + b"{" + bytes(50), "damaged"),
        (struct.pack("<Q", 90_000_000) + b"{" + bytes(50), "damaged"),
        (struct.pack("<Q", 4) + b"{]{]" + bytes(50), "damaged"),
        (struct.pack("<Q", 2) + b"{}", "header"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, content: bytes, complaint: str, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    assert complaint in refusal(path)


def test_what_is_no_file_at_all_is_an_error(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "gone.pth", ModelError)
    assert "directory" in refusal(tmp_path, ModelError)


def test_archives_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.pth.tar", "w") as tar:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    refusal(tmp_path / "x.pth.tar")
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    refusal(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "content",
    [
        {},
        [1],
        torch.zeros(3),
        {"state_dict": {}},
        {"state_dict": [1]},
        {"state_dict": {"baseline_model.conv1.weight": 3}},
        {"state_dict": {3: torch.zeros(3)}},
        {"baseline_model.conv1.weight": torch.zeros(3).to_sparse()},
        {"baseline_model.conv1.weight": torch.zeros(3, dtype=torch.complex64)},
        {"baseline_model.conv1.weight": torch.zeros(1).expand(10**12)},
        {"epoch": 3},
    ],
)
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    assert "state dict" in refusal(tmp_path / "x.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    tmp_path: Path, make_network: Make, value: float
) -> None:
    state = make_network().state_dict()
    state["baseline_model.layer3.fusion.0.bn2.running_var"][3] = value
    torch.save(state, tmp_path / "x.pth")
    assert "layer3.fusion.0.bn2.running_var holds values" in refusal(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("case", "looks"),
    [
        ("tam-resnet-50-f8", "314 of another shape: bn1.bias [1] instead of [64]"),
        ("blvnet-tam-50-f4x2-small", "an image network (bLResNet)"),
        (None, "something else (its first tensor is 'encoder.0')"),
    ],
)
def test_files_that_hold_no_video_network_are_named(
    tmp_path: Path, case: str | None, looks: str
) -> None:
    names = ["encoder.0", "encoder.1"]
    if case:
        names = list(json.loads((GOLDEN / f"{case}.json").read_text())["state_dict"])
    if case and case.startswith("blvnet"):  # as its ImageNet relative is released
        bare = [name.removeprefix("baseline_model.") for name in names]
        names = [name for name in bare if "tam." not in name and "new_fc" not in name]
    torch.save({"module." + name: torch.zeros(1) for name in names}, tmp_path / "x.pth.tar")
    assert looks in refusal(tmp_path / "x.pth.tar", CheckpointMismatch)


@pytest.mark.parametrize("share", [0.00001, 0.001, 0.5, 0.99])
def test_a_bundle_cut_short_is_refused(
    tmp_path: Path, make_recognizer: Callable[..., Recognizer], share: float
) -> None:
    path = tmp_path / "x.safetensors"
    save_bundle(make_recognizer(), path)
    data = path.read_bytes()
    path.write_bytes(data[: 8 + int(share * len(data))])
    assert "damaged" in refusal(path)


def test_a_bundle_whose_first_byte_is_that_of_a_web_page_loads(
    tmp_path: Path, make_recognizer: Callable[..., Recognizer]
) -> None:
    path = tmp_path / "x.safetensors"
    save_bundle(make_recognizer(), path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    longer = size + (ord("<") - size) % 256  # a header may end in blanks
    header = data[8 : 8 + size].ljust(longer)
    path.write_bytes(struct.pack("<Q", longer) + header + data[8 + size :])
    assert path.read_bytes().startswith(b"<")
    assert load(path, device="cpu").spec.architecture.frames == 4


def test_a_safetensors_file_of_somebody_else_says_how_to_convert(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "x.safetensors")
    assert "actionstream model convert" in refusal(tmp_path / "x.safetensors")


def zipped(path: Path, pickled: bytes, zeros_mib: int = 0) -> Path:
    """A checkpoint whose one storage is zeros, compressed as torch.save never does."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        with archive.open("archive/data/0", "w") as file:
            for _ in range(zeros_mib):
                file.write(bytes(1 << 20))
    return path


def test_what_becomes_much_larger_than_its_file_is_not_unpacked(tmp_path: Path) -> None:
    compressed = "its parts are compressed"
    assert compressed in refusal(zipped(tmp_path / "bomb.pth", b"\x80\x02}.", zeros_mib=64))
    filled = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\x00\x00\x00\x04\x85R."
    assert compressed in refusal(zipped(tmp_path / "bytes.pth", filled))
    (tmp_path / "old.pth").write_bytes(filled)
    assert "damaged" in refusal(tmp_path / "old.pth")


def test_tensors_that_share_memory_are_refused(tmp_path: Path) -> None:
    one = torch.zeros(1 << 16)
    torch.save({f"baseline_model.{n}": one for n in range(100)}, tmp_path / "x.pth")
    assert "share memory" in refusal(tmp_path / "x.pth")


@pytest.mark.parametrize("tell", [{}, {"labels": True}])
def test_a_pipe_or_a_device_is_refused_at_once(tmp_path: Path, tell: dict[str, bool]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ModelError, match="a pipe or a device"):
            load("default", device="cpu", labels=path) if tell else load(path, device="cpu")


def test_complex_numbers_are_no_weights(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, dtype=torch.complex64)}, tmp_path / "x.safetensors")
    assert "complex" in refusal(tmp_path / "x.safetensors")
