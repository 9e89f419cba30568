"""Facts and plain arrays as one piece of bytes under its SHA-256; nothing in it is executed when it is read."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.canonical import canonical_json
from models.dispatch.solve_clock import ReplayError

Array = NDArray[Any]
_TYPES = frozenset({"|u1", "|i1", "|b1", "<i4", "<i8", "<f8"})
_LEVEL = 1
"""Of compression: a solver's worker does it before it answers."""


def pack(magic: bytes, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """One piece: ``magic``, SHA-256, then compressed a JSON head and the arrays, which keep their order in memory."""
    kept = [[name, each.dtype.str, list(each.shape), _order(each)] for name, each in arrays.items()]
    text = canonical_json({**facts, "arrays": kept}).encode()
    whole = b"".join([len(text).to_bytes(4, "little"), text, *(each.tobytes(order="A") for each in arrays.values())])
    body = zlib.compress(whole, _LEVEL)
    return magic + hashlib.sha256(body).digest() + body


def unpack(magic: bytes, data: bytes, what: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """The facts and the arrays again; ``ReplayError`` naming ``what`` if a bit of them has changed."""
    start = len(magic) + 32
    body = data[start:]
    if data[: len(magic)] != magic or hashlib.sha256(body).digest() != data[len(magic) : start]:
        raise ReplayError(f"{what} is damaged, or was changed: its SHA-256 does not match")
    whole = zlib.decompress(body)
    size = 4 + int.from_bytes(whole[:4], "little")
    facts, place = json.loads(whole[4:size]), size
    arrays: dict[str, Array] = {}
    for name, dtype, shape, order in facts.pop("arrays"):
        if dtype not in _TYPES:
            raise ReplayError(f"{what} has an array of type {dtype}")
        count = int(np.prod(shape, dtype=np.int64))
        # a copy lies where numpy would put it: sums over arrays that lie askew may come out otherwise
        arrays[name] = np.frombuffer(whole, dtype, count, place).reshape(shape, order=order).copy(order="K")
        place += arrays[name].nbytes
    return facts, arrays


def _order(array: Array) -> str:
    """Sums over rows may come out otherwise where columns lie side by side."""
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
