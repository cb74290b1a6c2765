"""What a pickled checkpoint may name: a short list, and nothing on it is ever run.

A name becomes a type of numbers, one of the functions below that put tensors together from their
parts, or ``INERT``.
"""

import re
from collections.abc import Callable
from types import FunctionType
from typing import Final

import torch

from pipeline.model.storages import Storage

PARTS = 10  # no function that puts a tensor together takes more


class Unknown(ValueError):
    """A name that is not on the list, as ``os.system``."""


class Inert:
    """What every value becomes that is neither data nor a tensor. It can't do anything."""


INERT: Final = Inert()


def ordered() -> object:
    """An ``OrderedDict``: dicts are in order anyway."""
    return {}


def _tensor(
    storage: object, start: object, shape: object, strides: object, *more: object
) -> object:
    """``more``: wants gradients, hooks (both ignored), and whether it is conjugated or negated."""
    if not isinstance(storage, Storage) or any(more[2:]):
        return INERT
    return storage.tensor(start, shape, strides)


def _tensor_of_type(storage: object, *parts: object) -> object:
    """Of a type that has no storage class, as uint16; ``parts`` as above, its type at 5."""
    dtype = parts[5]
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        return INERT
    return _tensor(storage.seen_as(dtype), *parts[:5], *parts[6:])


def _parameter(tensor: object, *_: object) -> object:
    return tensor


def _with_attributes(make: object, _kind: object, parts: object, _attributes: object) -> object:
    return INERT if make is _with_attributes else put_together(make, parts)


MAKERS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": ordered,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
}

STORED = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexDouble": torch.complex128,
    "ComplexFloat": torch.complex64,
}

TYPES: dict[str, torch.dtype] = {
    "torch.storage.UntypedStorage": torch.uint8,
    **{f"torch.{name}Storage": dtype for name, dtype in STORED.items()},
    **{f"torch.cuda.{name}Storage": dtype for name, dtype in STORED.items()},
    **{f"torch.{name}": kind for name, kind in vars(torch).items() if type(kind) is torch.dtype},
}

HARMLESS = re.compile(
    r"""
    _codecs\.encode | argparse\.Namespace | builtins\.(bytearray|complex|set) | collections\.Counter
    | numpy\.(dtype|ndarray|bool_?|u?int(8|16|32|64)|float(16|32|64))
    | numpy\.dtypes\.\w+DType | numpy\.(core|_core)\.multiarray\.(scalar|_reconstruct)
    | torch\.(Size|Tensor|device|per_(tensor|channel)_\w+) | torch\.nn\.parameter\.Parameter
    | torch\.(cuda\.|sparse\.|cuda\.sparse\.)?[A-Z]\w+(Tensor|Storage)
    | torch\.storage\.TypedStorage | torch\.serialization\._get_layout
    | torch\._utils\._rebuild_(qtensor|sparse_tensor|meta_tensor_no_storage|nested_tensor
        |wrapper_subclass|device_tensor_from_numpy|device_tensor_from_cpu_tensor)
    """,
    re.VERBOSE | re.ASCII,
)
"""What training scripts put beside the weights: ``INERT``, whatever it is said to be made of."""


def named(name: str) -> object:
    """What stands for a class or function with this full name.

    Raises:
        Unknown: it isn't on the list.
    """
    if name in MAKERS:
        return MAKERS[name]
    if name in TYPES:
        return TYPES[name]
    if HARMLESS.fullmatch(name):
        return INERT
    raise Unknown(name)


def put_together(make: object, parts: object) -> object:
    """Call one of the functions above.

    Raises:
        TypeError: it is none, or the parts are not those that it takes.
    """
    if make is INERT:
        return INERT
    if not isinstance(make, FunctionType) or not isinstance(parts, tuple) or len(parts) > PARTS:
        raise TypeError
    made: object = make(*parts)
    return made
