"""Plans and baselines as bytes: exact float64, compressed, in parts that fit into any database."""

import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from adapters.store.schema import from_us, to_us
from models.errors import StoreError
from models.intervals import FloatArray, IntervalGrid

PART_BYTES = 32 * 1024 * 1024


def pack_edges(grid: IntervalGrid) -> bytes:
    """The T+1 edges of a grid as little-endian int64 microseconds."""
    return np.array([to_us(edge) for edge in grid.edges], dtype="<i8").tobytes()


def unpack_edges(body: bytes) -> IntervalGrid:
    """The grid of ``pack_edges``."""
    return IntervalGrid(tuple(from_us(int(edge)) for edge in np.frombuffer(body, dtype="<i8")))


def pack_ids(resource_ids: Sequence[str]) -> bytes:
    """Ids hold no white space, so lines will do."""
    return zlib.compress("\n".join(resource_ids).encode(), 1)


def unpack_ids(body: bytes) -> tuple[str, ...]:
    """The ids of ``pack_ids``."""
    text = zlib.decompress(body).decode()
    return tuple(text.split("\n")) if text else ()


def pack_array(values: FloatArray) -> Iterator[bytes]:
    """An array (R, T) in parts of whole rows."""
    rows = max(1, PART_BYTES // max(1, values.shape[1] * 8))
    for low in range(0, max(1, values.shape[0]), rows):
        yield zlib.compress(np.ascontiguousarray(values[low : low + rows], dtype="<f8").tobytes(), 1)


def unpack_array(parts: Mapping[int, bytes], shape: tuple[int, int]) -> FloatArray:
    """The array of ``pack_array``; ``StoreError`` if a part is missing."""
    body = b"".join(zlib.decompress(parts[part]) for part in sorted(parts))
    if len(body) != shape[0] * shape[1] * 8 or sorted(parts) != list(range(len(parts))):
        raise StoreError(f"a stored array is incomplete: {len(body)} bytes for shape {shape}")
    return np.frombuffer(body, dtype="<f8").reshape(shape).astype(np.float64)
