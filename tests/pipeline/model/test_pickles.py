"""Pickles made to crash, to hang or to fill the memory, and honest ones that look much the same."""

import argparse
import copy
import io
import pickle
import resource
import struct
import sys
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.errors import CheckpointRefused
from pipeline.model import allowed, pickled
from pipeline.model.pickled import read_pickled, read_state

GROWTH_KIB = 400 << 10  # ru_maxrss counts KiB on Linux
END = b"s."


def text(words: str) -> bytes:
    return b"X" + struct.pack("<I", len(words)) + words.encode()


def long(number: int) -> bytes:
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def named(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def storage(key: str, count: int) -> bytes:
    words = text("storage") + named("torch.FloatStorage") + text(key) + text("cpu") + long(count)
    return b"(" + words + b"tQ"


def tensor(shape: bytes, strides: bytes, numbers: bytes = storage("0", 4)) -> bytes:
    rest = b"K\0" + shape + strides + b"\x89" + named("collections.OrderedDict") + b")R"
    return named("torch._utils._rebuild_tensor_v2") + b"(" + numbers + rest + b"tR"


BIG = long(1 << 34)
DTYPE = named("numpy.dtype") + text("V2000000000") + b"\x89\x88\x87R"
ARRAY = named("torch._utils._rebuild_device_tensor_from_numpy") + named("numpy.ndarray")
RECORD = named("torch._tensor._rebuild_from_type_v2")
SAME_HASH = b"".join(long(i * ((1 << 61) - 1)) + b"N" for i in range(1, 100_000))
ONES = b"(" + b"K\1" * 99 + b"t"
SAME_PLACE = b"".join(long(i << 43) + b"N" for i in range(1, 49_000))

HOSTILE = {
    "a key of nested tuples": b"}N" + b"\x85" * 300_000 + b"Ns.",
    "a key whose hash takes forever": b"}N" + b"\x85q\0h\0\x86" * 200 + b"Ns.",
    "items of a set whose hash takes forever": (
        named("__builtin__.set") + b"]N" + b"\x85q\0h\0\x86" * 200 + b"a\x85R."
    ),
    "a tuple in tuples": b"N" + b"\x85" * 300_000 + b".",
    "a list in lists": b"]" * 300_000 + b"a" * 299_999 + b".",
    "a list in itself": b"]q\0h\0a.",
    "bytes of any number": named("__builtin__.bytearray") + BIG + b"\x85R.",
    "a set of many bytes": (
        named("__builtin__.set") + named("__builtin__.bytearray") + BIG + b"\x85R\x85R."
    ),
    "an array of any size": ARRAY + BIG + b"\x85\x85R" + text("f4") + b"\x89\x87R.",
    "a type of any size": named("numpy.ndarray") + b"K\7\x85" + DTYPE + b"\x86R.",
    "a complex text": named("_codecs.encode") + text("a" * 99) + text("zip") + b"\x86R.",
    "a counter": named("collections.Counter") + text("a" * 9) + b"\x85R.",
    "pairs given again and again": (
        b"](" + b"K\1K\2\x86" * 5000 + b"e\x85q\0" + named("collections.OrderedDict") + b"q\1"
        + b"h\1h\0R" * 5000 + b"."
    ),
    "parts given again and again": (
        b"(" + b"N" * 300_000 + b"tq\0" + named("torch._utils._rebuild_parameter") + b"q\1"
        + b"h\1h\0R" * 100_000 + b"."
    ),
    "a function in itself": RECORD + b"q\0(" + b"h\0N" * 5000 + b"tR.",
    "a memory for millions": b"}r\xff\xff\xff\xff.",
    "many marks": b"(" * 5_000_000 + b".",
    "many dicts": b"}" * 5_000_000 + b".",
    "keys of one hash": b"}(" + SAME_HASH + b"u.",
    "keys of one place": b"}(" + SAME_PLACE + b"u.",
    "many numbers as keys": b"}(" + b"".join(long(i) + b"N" for i in range(100_000)) + b"u.",
    "text beyond the end": b"X\xff\xff\xff\xffabc.",
    "bytes beyond the end": b"B\xff\xff\xff\xffabc.",
    "a number of any length": b"\x8b\xff\xff\xff\x7fabc.",
    "a name without end": b"c" + b"a" * 1_000_000,
    "more numbers than the file has bytes": b"}" + text("a") + storage("0", 1 << 40) + END,
    "a number of numbers below zero": b"}" + text("a") + storage("0", -4) + END,
    "many rows of no numbers": b"(" + b"".join(storage(str(i), 0) for i in range(150_000)) + b"t.",
    "one row, asked for again and again": (
        b"(" + text("storage") + named("torch.IntStorage") + text("0") + text("cpu") + b"K\0tq\0Q"
        + b"h\0Q" * 300_000 + b"."
    ),
    "a view beyond its numbers": b"}" + text("a") + tensor(BIG + b"\x85", b"K\1\x85") + END,
    "a view by steps beyond": b"}" + text("a") + tensor(b"K\2\x85", BIG + b"\x85") + END,
    "a view backwards": b"}" + text("a") + tensor(b"K\2\x85", long(-1) + b"\x85") + END,
    "one number again and again": b"}" + text("a") + tensor(BIG + b"\x85", b"K\0\x85") + END,
    "a shape of too many": b"}" + text("a") + tensor(ONES, ONES) + END,
    "a step that no number holds": (
        b"}" + text("a") + tensor(b"K\1\x85", long(1 << 900) + b"\x85") + END
    ),
    "a shape that no number holds": (
        b"}" + text("a") + tensor(b"K\0" + BIG + BIG + b"\x87", b"K\1K\1K\1\x87") + END
    ),
    "rows of other than words": b"]Q.",
    "nothing": b".",
    "too few": b"\x87.",
    "a call of nothing": b"NN\x81.",
    "state of nothing": b"NNb.",
    "items without a list": b"(NNe.",
    "items without a mark": b"NNe.",
    "half an item": b"}(Nu.",
}  # fmt: skip


def archive(path: Path, content: bytes, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as written:
        for name, data in {"data.pkl": b"\x80\x02" + content, "data/0": bytes(16), **files}.items():
            written.writestr(f"a/{name}", data)
    return path


def row(path: Path, content: bytes) -> Path:
    """The format before zip."""
    head = b"".join(pickle.dumps(part, 2) for part in (pickled.MAGIC, pickled.VERSION, {}))
    tail = pickle.dumps(["0"], 2) + struct.pack("<q", 4) + bytes(16)
    path.write_bytes(head + b"\x80\x02" + content + tail)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointRefused) as info:
        read_state(path)
    assert "\n" not in str(info.value)
    assert str(info.value).startswith(str(path))
    return str(info.value)


@pytest.mark.parametrize("write", [archive, row])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_costs_little_and_is_refused(tmp_path, name, write) -> None:
    path = write(tmp_path / "x.pth", HOSTILE[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_KIB


@pytest.mark.parametrize("beside", ["an array of any size", "bytes of any number", "a counter"])
def test_what_lies_beside_the_weights_is_not_built(tmp_path: Path, beside: str) -> None:
    weights = text("state_dict") + b"}" + text("a") + tensor(b"K\4\x85", b"K\1\x85") + b"s"
    content = b"}(" + weights + text("b") + HOSTILE[beside][:-1] + b"u."
    assert list(read_state(archive(tmp_path / "x.pth", content))) == ["a"]
    assert read_pickled(tmp_path / "x.pth")["b"] is allowed.INERT


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "numpy.load", "torch.load"])
@pytest.mark.parametrize("write", [archive, row])
def test_a_name_that_is_not_on_the_list_is_told(tmp_path, name, write) -> None:
    assert f"({name})" in refusal(write(tmp_path / "x.pth", named(name) + b"."))


def test_a_name_that_steers_a_terminal_is_not_shown(tmp_path: Path) -> None:
    said = refusal(archive(tmp_path / "x.pth", b"cos\r\x1b[2J\nsystem\n."))
    assert "wants to run code when it is loaded; refused" in said
    torch.save({"a\n": torch.zeros(1), "module.a\n": torch.zeros(1)}, tmp_path / "y.pth")
    assert "holds both a\\n and" in refusal(tmp_path / "y.pth")


def test_a_second_directory_is_not_believed_by_anyone(tmp_path: Path) -> None:
    one = archive(tmp_path / "1.pth", named("os.system") + b".").read_bytes()
    good = io.BytesIO()
    torch.save({"a": torch.ones(2)}, good)
    path = tmp_path / "x.pth"
    path.write_bytes(good.getvalue() + one)
    assert "os.system" in refusal(path)
    path.write_bytes(one + good.getvalue())
    assert torch.equal(read_state(path)["a"], torch.ones(2))


def test_files_of_an_archive_that_lie_in_each_other_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    names = [f"data/{i}" for i in range(1000)]
    items = b"".join(text(n) + storage(n[5:], 1 << 18) for n in names)
    with zipfile.ZipFile(path, "w") as written:
        written.writestr("a/data.pkl", b"\x80\x02}(" + items + b"u.")
        written.writestr("a/data/0", bytes(1 << 20))
        for name in names[1:]:
            again = copy.copy(written.getinfo("a/data/0"))
            again.filename = f"a/{name}"
            written.filelist.append(again)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize(("place", "size"), [(22 - 12, 4), (22 - 16, 4), (22 - 20, 2)])
def test_a_directory_that_is_not_where_or_what_it_should_be(tmp_path, place, size) -> None:
    path = archive(tmp_path / "x.pth", b"}.")
    data = bytearray(path.read_bytes())
    data[-place : len(data) - place + size] = b"\xfe" * size
    path.write_bytes(data)
    refusal(path)


def test_a_directory_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    size = 1 << 32
    with path.open("wb") as file:  # a hole of 4 GiB, which takes no room on the disk
        file.write(b"PK\x03\x04")
        file.seek(size)
        end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 9, 9, size - 4, 4)
        file.write(end + struct.pack("<4sIQI", b"PK\6\7", 0, size, 1))
        file.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 9, 9, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "damaged" in refusal(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_KIB


def test_torchscript_is_told_from_tensors(tmp_path: Path) -> None:
    assert "TorchScript" in refusal(archive(tmp_path / "x.pt", b"}.", **{"constants.pkl": b""}))


@pytest.mark.parametrize("new", [True, False])
def test_files_changed_at_random_are_read_or_refused(tmp_path: Path, new: bool) -> None:
    path, buffer, rng = tmp_path / "x.pth", io.BytesIO(), np.random.default_rng(3)
    state = {"a": torch.ones(3, 4).T, "b": torch.ones(2, dtype=torch.uint16)}
    content = {"state_dict": OrderedDict(state), "best": np.float64(1), "n": [1, 2.5, None, "é"]}
    torch.save(content, buffer, _use_new_zipfile_serialization=new)
    for _ in range(1500):
        data = bytearray(buffer.getvalue())
        for place in rng.integers(0, len(data) if new else 600, size=rng.integers(1, 6)):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_state(path)
        except CheckpointRefused as error:
            assert "\n" not in str(error)


def same(ours: object, theirs: object) -> None:
    if isinstance(theirs, Tensor):
        assert isinstance(ours, Tensor)
        assert (ours.dtype, ours.shape, ours.stride()) == (
            theirs.dtype,
            theirs.shape,
            theirs.stride(),
        )
        assert torch.equal(ours, theirs)
    elif isinstance(theirs, dict) and not isinstance(theirs, Counter):
        assert isinstance(ours, dict)
        assert list(ours) == list(theirs)
        for mine, other in zip(ours.values(), theirs.values(), strict=True):
            same(mine, other)
    elif isinstance(theirs, (list, tuple)) and type(theirs) is not torch.Size:
        assert type(ours) is type(theirs)
        for mine, other in zip(cast("list[object]", ours), theirs, strict=True):
            same(mine, other)
    elif isinstance(theirs, (int, float, str, type(None))) and not isinstance(theirs, np.generic):
        assert ours == theirs
        assert type(ours) is type(theirs)
    else:
        assert ours is allowed.INERT


KINDS = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool)


def training() -> dict[str, object]:
    """What a training script may save: weights, an optimizer, and whatever it has at hand."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    row = torch.arange(24, dtype=torch.float32)
    attributed = torch.nn.Parameter(torch.ones(2))
    attributed.note = "kept nowhere"  # type: ignore[attr-defined]
    return {
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "views": [row, row[3:9], row.view(4, 6).T, row[:0], row[5], torch.zeros(0, 7)],
        "kinds": {str(kind): torch.ones(3).to(kind) for kind in KINDS},
        "parameters": [torch.nn.Parameter(torch.ones(2)), attributed],
        "args": argparse.Namespace(lr=0.1, gpus=[0, 1], name="é"),
        "scores": [np.float32(3), np.float64(0.1), np.zeros(3), Counter("abc"), {1, 2}, b"\xff"],
        "odd": [torch.Size([3]), torch.device("cpu"), bytearray(b"a"), 1j],
        "plain": [1, -1, 300, 1 << 40, -(1 << 70), 2.5, None, True, "é" * 300, (), (1,), [[]], {}],
    }


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("protocol", [2, 3])
def test_honest_files_are_read_as_torch_reads_them(tmp_path, new: bool, protocol: int) -> None:
    path, content = tmp_path / "x.pth", training()
    if new:  # the format before has no such type
        content["unsigned"] = torch.ones(4, dtype=torch.uint16)
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    same(read_pickled(path), torch.load(path, weights_only=False))


def test_a_file_written_by_way_of_memory_or_without_checksums_is_read(tmp_path: Path) -> None:
    path, buffer, content = tmp_path / "x.pth", io.BytesIO(), training()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(content, buffer)
    finally:
        torch.serialization.set_crc32_options(True)
    path.write_bytes(buffer.getvalue())
    same(read_pickled(path), torch.load(path, weights_only=False))


def test_numbers_of_a_big_endian_machine_are_turned_round(tmp_path: Path) -> None:
    assert sys.byteorder == "little"
    content = tensor(b"K\4\x85", b"K\1\x85") + b"."
    order = {"byteorder": b"big", "data/0": struct.pack(">4f", 1, 2, 3, 4)}
    read = read_pickled(archive(tmp_path / "x.pth", content, **order))
    assert torch.equal(cast("Tensor", read), torch.tensor([1.0, 2, 3, 4]))


def test_an_ordered_dict_of_python_2_is_read(tmp_path: Path) -> None:
    pairs = b"](](U\1aK\1e](U\1bK\2ee\x85R."
    path = archive(tmp_path / "x.pth", named("collections.OrderedDict") + pairs)
    assert read_pickled(path) == {"a": 1, "b": 2}


def test_an_archive_of_more_files_than_zip_has_numbers_for_is_read(tmp_path: Path) -> None:
    """With 65,536 files and more, ``torch.save`` writes the directory of zip64."""
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as written:
        written.writestr(
            "a/data.pkl", b"\x80\x02}" + text("a") + tensor(b"K\4\x85", b"K\1\x85") + END
        )
        for i in range(66_000):
            written.writestr(zipfile.ZipInfo(f"a/data/{i}"), bytes(16 * (i == 0)))
    assert torch.equal(read_state(path)["a"], torch.zeros(4))


def test_an_archive_that_zip_packed_again_is_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "x.pth")
    with (
        zipfile.ZipFile(tmp_path / "x.pth") as old,
        zipfile.ZipFile(tmp_path / "y.pth", "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert torch.equal(read_state(tmp_path / "y.pth")["a"], torch.ones(3))
