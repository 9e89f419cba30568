"""The sums of a market day's baseline table (R, T), read once, in place.

Whoever a resource belongs to is written beside the table's rows first, so that the table is read from top to bottom: a
million resources over two days are a gigabyte, and nothing here is as quick as the memory.  Pieces have a fixed number
of rows and are added in order, so that the sums do not depend on who was quicker.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Block, Mapper
from models.intervals import FloatArray

PIECE_ROWS = 1 << 14


class Owners(NamedTuple):
    """Whose resource it is, (R,) each: fields as in ``Members``; −1 in ``zone`` where there is no row of it."""

    zone: IndexArray
    price_class: IndexArray
    tariff: IndexArray
    reliability: FloatArray

    @classmethod
    def of(cls, blocks: Sequence[Block], resources: int) -> "Owners":
        """As the first row of every resource has it: a charger has a row per stay."""
        nobody = np.full(resources, -1, dtype=np.int64)
        owners = cls(nobody, nobody.copy(), nobody.copy(), np.zeros(resources))
        for block in reversed(blocks):
            members = block.members
            _enter(owners, members.resource, block.zone, members.price_class, members.tariff, members.reliability)
        return owners


@dataclass(frozen=True)
class TableSums:
    """``zone_kw``: (Z, T).  ``class_kw``: (C, T) times reliability.  ``tariff_kw``: (K, T)."""

    zone_kw: FloatArray
    class_kw: FloatArray
    tariff_kw: FloatArray


def table_sums(
    table_kw: FloatArray, owners: Owners, counts: tuple[int, int, int], mapped: Mapper, rows: int = PIECE_ROWS
) -> TableSums:
    """Sums of a table (R, T) over each of Z zones, C price classes and K tariffs; ``counts``: how many there are.

    Every resource counts once.  ``mapped``: who adds the pieces, of ``rows`` rows of the table each.
    """
    table_kw = np.ascontiguousarray(table_kw, dtype=np.float64)

    def add(first: int) -> TableSums:
        sums = TableSums(*(np.zeros((count, table_kw.shape[1])) for count in counts))
        last = min(first + rows, len(table_kw))
        _add(table_kw, owners, first, last, sums.zone_kw, sums.class_kw, sums.tariff_kw)
        return sums

    whole = TableSums(*(np.zeros((count, table_kw.shape[1])) for count in counts))
    for piece in mapped(add, range(0, len(table_kw), rows)):
        for name, values in vars(piece).items():
            getattr(whole, name)[:] += values
    return whole


@jit
def _enter(
    owners: Owners,
    resource: IndexArray,
    zone: IndexArray,
    price_class: IndexArray,
    tariff: IndexArray,
    reliability: FloatArray,
) -> None:
    """Write rows into their resources' places, the last first: of several the first stays."""
    for i in range(resource.size - 1, -1, -1):
        r = resource[i]
        owners.zone[r] = zone[i]
        owners.price_class[r] = price_class[i]
        owners.tariff[r] = tariff[i]
        owners.reliability[r] = reliability[i]


@jit
def _add(
    table_kw: FloatArray,
    owners: Owners,
    first: int,
    last: int,
    zone_kw: FloatArray,
    class_kw: FloatArray,
    tariff_kw: FloatArray,
) -> None:
    for r in range(first, last):
        if owners.zone[r] < 0:
            continue
        power, rho = table_kw[r], owners.reliability[r]
        by_zone, by_class = zone_kw[owners.zone[r]], class_kw[owners.price_class[r]]
        by_tariff = tariff_kw[owners.tariff[r]]
        for t in range(power.size):
            by_zone[t] += power[t]
        for t in range(power.size):
            by_class[t] += rho * power[t]
        for t in range(power.size):
            by_tariff[t] += power[t]
