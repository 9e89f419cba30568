"""Dice without memory: a number that depends on seed, device, purpose and index, and on nothing else.

Whoever throws first, how often and in which order changes nothing, so a day run again with other commands meets the
same weather, the same arrivals and the same noise.  The mixing function is the finaliser of SplitMix64
(Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from models.intervals import FloatArray

Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ODD = np.uint64(0xD1342543DE82EF95)


def keys_of(names: Iterable[str], seed: int) -> Keys:
    """One 64-bit key per name, (n,)."""
    digests = [hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest() for name in names]
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def _purpose(name: str) -> np.uint64:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


_PURPOSES: dict[str, np.uint64] = {}


def _mix(value: Keys) -> Keys:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)), dtype=np.uint64)


def uniform(keys: Keys, purpose: str, index: int | NDArray[np.int64] = 0) -> FloatArray:
    """Evenly spread in (0, 1), shape of ``keys`` broadcast with ``index``."""
    salt = _PURPOSES.get(purpose)
    if salt is None:
        salt = _PURPOSES[purpose] = _purpose(purpose)
    steps = np.asarray(index, dtype=np.int64).reshape(-1).astype(np.uint64)
    bits = _mix(_mix(keys ^ salt) + steps * _ODD + _GOLDEN)
    return np.asarray(((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


_REMEMBERED: dict[tuple[int, int, str, int], FloatArray] = {}
_MOST_REMEMBERED = 256


def normal(keys: Keys, purpose: str, index: int = 0) -> FloatArray:
    """Standard normal, (n,), not to be written to: the throws of a day are asked for at every step and remembered."""
    place = (hash(keys.tobytes()), len(keys), purpose, index)
    found = _REMEMBERED.get(place)
    if found is None:
        if len(_REMEMBERED) >= _MOST_REMEMBERED:
            _REMEMBERED.clear()
        found = np.asarray(ndtri(uniform(keys, purpose, index)))
        found.flags.writeable = False
        _REMEMBERED[place] = found
    return found


def between(keys: Keys, purpose: str, low: float, high: float, index: int = 0) -> FloatArray:
    """Evenly spread in (low, high), (n,)."""
    return low + (high - low) * uniform(keys, purpose, index)


def smooth(keys: Keys, purpose: str, second: float, period_s: float) -> FloatArray:
    """Noise that wanders: standard normal at multiples of ``period_s``, linear between, (n,)."""
    place = second / period_s
    node = int(np.floor(place))
    share = place - node
    return normal(keys, purpose, node) * (1 - share) + normal(keys, purpose, node + 1) * share


def off_by(keys: Keys, purpose: str, *, sign: int = 0) -> FloatArray:
    """A factor 10 to 20 % away from 1, either way or the way of ``sign``, (n,): how far registered data lie off."""
    size = between(keys, purpose, 0.10, 0.20)
    way = np.where(uniform(keys, purpose, 1) < 0.5, -1.0, 1.0) if sign == 0 else float(np.sign(sign))
    return 1 + way * size
