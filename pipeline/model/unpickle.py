"""A pickle, read by a reader of our own: nothing in it is run, and nothing in it grows.

In: a file at the start of a pickle of protocol 2, as ``torch.save`` writes them. Out: dicts, lists,
tuples, numbers, text and tensors; ``INERT`` for anything else that a checkpoint may hold.

Torch's own reader isn't asked. It makes arrays as large as a file of 400 bytes says, lets a view
make its storage longer, and a dict's key of nested tuples ends the process. Here a pickle costs at
most ``STEPS`` and what the file itself holds. Cost: 0.5 us a step, about 25 steps a tensor.
"""

from collections.abc import Callable, Sequence
from struct import unpack
from typing import BinaryIO, ClassVar

from torch import Tensor

from pipeline.model.allowed import INERT, named, ordered, put_together
from pipeline.model.storages import Storage, Storages

STEPS = 2_000_000  # up to 100 bytes and 2 us each; a checkpoint of 20,000 tensors takes 500,000
TENSORS = 100_000  # and rows of numbers; up to 1 kB and 40 us each, beside the numbers
TEXT_BYTES = 1 << 20  # the longest text that is kept; in memory it may be 4 times as long
NAME_BYTES = 200  # the longest name of a class or function
NUMBERED = 50_000  # keys that are numbers: which of them collide is known, unlike for text
NUMBER_BITS = 60  # of such a key; larger ones may all have the same hash

PROTOCOL = b"\x80"
LAST_PROTOCOL = 3  # whose steps this reader knows
NEWEST_PROTOCOL = 5


class Foreign(ValueError):
    """It doesn't begin as a pickle does."""


class Uncheckable(ValueError):
    """A pickle of a later protocol, or one with steps that ``torch.save`` doesn't write."""


class TooLarge(ValueError):
    """It would take more memory or time than a checkpoint needs."""


class Unpickler:
    """Reads the pickles of one file, which may hold several, one after another."""

    def __init__(self, file: BinaryIO, size: int, storages: Storages) -> None:
        """``size``: of the file, in bytes."""
        self._file, self._size, self._storages = file, size, storages
        self._stack: list[object] = []
        self._below: list[list[object]] = []  # the stacks before each mark
        self._memo: list[object] = []
        self._steps, self._tensors, self._numbered = STEPS, TENSORS, NUMBERED

    def load(self) -> object:
        """The next pickle's value.

        Raises:
            Foreign, Uncheckable, TooLarge: see there.
            Unknown: it names something that it may not.
            EOFError: cut short.
            LookupError, RuntimeError, TypeError, ValueError: damaged.
        """
        self._stack, self._below, self._memo = [], [], []
        self._begin()
        read, acts = self._file.read, self._ACTS
        while (code := read(1)) != b".":
            act = acts.get(code)
            if act is None:
                raise Uncheckable if code else EOFError
            self._steps -= 1
            if self._steps < 0:
                raise TooLarge
            act(self)
        return self._stack.pop()

    def _begin(self) -> None:
        head = self._file.read(1)
        if head and head != PROTOCOL:
            raise Foreign
        protocol = self._number(1)
        if protocol > NEWEST_PROTOCOL:
            raise Foreign
        if protocol > LAST_PROTOCOL:
            raise Uncheckable

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little")

    def _signed(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little", signed=True)

    def _text(self, size: int) -> object:
        if size > TEXT_BYTES:
            self._skip(size)
            return INERT
        try:
            return self._take(size).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return INERT  # bytes of Python 2, as its numpy scalars have them

    def _bytes(self, size: int) -> object:
        self._skip(size)
        return INERT

    def _skip(self, size: int) -> None:
        if self._file.tell() + size > self._size:
            raise EOFError
        self._file.seek(size, 1)

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _marked(self) -> list[object]:
        """What came since the last mark."""
        items, self._stack = self._stack, self._below.pop()
        return items

    def _remember(self, index: int) -> None:
        if index > STEPS:
            raise TooLarge
        missing = index + 1 - len(self._memo)
        self._memo.extend([INERT] * missing)  # a list, in which no index can collide with another
        self._memo[index] = self._stack[-1]

    def _tuple(self, count: int) -> None:
        items = self._stack[-count:]
        if len(items) < count:
            raise IndexError
        self._stack[-count:] = [tuple(items)]

    def _append(self, items: Sequence[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif target is not INERT:
            raise TypeError

    def _set(self, items: Sequence[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[self._key(key)] = value
        elif target is not INERT:
            raise TypeError

    def _set_one(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set((key, value))

    def _key(self, key: object) -> object:
        """Text or a number; hashing anything else may take as long as its author likes."""
        if type(key) is str:
            return key
        if type(key) is not int or key.bit_length() > NUMBER_BITS:
            return INERT
        self._numbered -= 1
        if self._numbered < 0:
            raise TooLarge
        return key

    def _global(self) -> None:
        lines = [self._file.readline(NAME_BYTES) for _ in range(2)]
        if not all(line.endswith(b"\n") for line in lines):
            raise EOFError
        module, name = (line[:-1].decode() for line in lines)
        if module == "__builtin__":  # protocol 2 says it as Python 2 did
            module = "builtins"
        self._push(named(f"{module}.{name}"))

    def _call(self) -> None:
        parts, what = self._stack.pop(), self._stack.pop()
        if what is ordered and isinstance(parts, tuple) and parts:
            made: object = self._pairs(parts[0])
        else:
            made = put_together(what, parts)
        self._push_numbers(made) if isinstance(made, Tensor) else self._push(made)

    def _push_numbers(self, value: Tensor | Storage) -> None:
        self._tensors -= 1
        if self._tensors < 0:
            raise TooLarge
        self._push(value)

    def _pairs(self, pairs: object) -> dict[object, object]:
        """An ``OrderedDict`` of Python 2, which gives it all its items at once."""
        if not isinstance(pairs, list):
            raise TypeError
        self._steps -= len(pairs)  # the same list may be given again and again
        if self._steps < 0:
            raise TooLarge
        return {self._key(key): value for key, value in pairs}

    def _build(self) -> None:
        """Attributes, as the versions of a state dict's modules: dropped."""
        self._stack.pop()
        if self._stack[-1] is not INERT and not isinstance(self._stack[-1], dict):
            raise TypeError

    def _stored(self) -> None:
        words = self._stack.pop()
        if not isinstance(words, tuple) or words[:1] != ("storage",):
            raise TypeError
        if words[1] is INERT:  # of quantized numbers
            self._push(INERT)
        else:
            self._push_numbers(self._storages.storage(*words[1:7]))

    _ACTS: ClassVar[dict[bytes, Callable[["Unpickler"], object]]] = {
        PROTOCOL: lambda self: self._take(1),
        b"N": lambda self: self._push(None),
        b"\x88": lambda self: self._push(True),
        b"\x89": lambda self: self._push(False),
        b"K": lambda self: self._push(self._number(1)),
        b"M": lambda self: self._push(self._number(2)),
        b"J": lambda self: self._push(self._signed(4)),
        b"\x8a": lambda self: self._push(self._signed(self._number(1))),
        b"G": lambda self: self._push(unpack(">d", self._take(8))[0]),
        b"X": lambda self: self._push(self._text(self._number(4))),
        b"U": lambda self: self._push(self._text(self._number(1))),
        b"T": lambda self: self._push(self._text(self._number(4))),
        b"C": lambda self: self._push(self._bytes(self._number(1))),
        b"B": lambda self: self._push(self._bytes(self._number(4))),
        b"]": lambda self: self._push([]),
        b"}": lambda self: self._push({}),
        b")": lambda self: self._push(()),
        b"(": _mark,
        b"t": lambda self: self._push(tuple(self._marked())),
        b"\x85": lambda self: self._tuple(1),
        b"\x86": lambda self: self._tuple(2),
        b"\x87": lambda self: self._tuple(3),
        b"a": lambda self: self._append((self._stack.pop(),)),
        b"e": lambda self: self._append(self._marked()),
        b"s": _set_one,
        b"u": lambda self: self._set(self._marked()),
        b"q": lambda self: self._remember(self._number(1)),
        b"r": lambda self: self._remember(self._number(4)),
        b"h": lambda self: self._push(self._memo[self._number(1)]),
        b"j": lambda self: self._push(self._memo[self._number(4)]),
        b"c": _global,
        b"R": _call,
        b"\x81": _call,  # of a class, the same here
        b"b": _build,
        b"Q": _stored,
    }
