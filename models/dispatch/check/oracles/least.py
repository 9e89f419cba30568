"""Least costs of many resources of one kind at their prices."""

from collections.abc import Callable
from typing import Any

import numpy as np

from models.dispatch.check.devices import Device
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.loads import least_curtailable, least_interruptible
from models.dispatch.check.oracles.many import MANY
from models.dispatch.check.oracles.plants import least_generator, least_pv, least_shiftable
from models.dispatch.check.oracles.prices import Prices, PriceTable
from models.dispatch.check.oracles.stores import Least, least_stay, least_storage, least_thermal
from models.dispatch.check.screens.common import Batch, BoolArray, IndexArray
from models.dispatch.check.screens.storage import is_hydro
from models.intervals import FloatArray
from models.resources import ResourceKind

_ORACLES: dict[ResourceKind, Any] = {
    ResourceKind.STORAGE: least_storage,
    ResourceKind.CURTAILABLE_LOAD: least_curtailable,
    ResourceKind.INTERRUPTIBLE_LOAD: least_interruptible,
    ResourceKind.SHIFTABLE_LOAD: least_shiftable,
    ResourceKind.THERMAL_LOAD: least_thermal,
    ResourceKind.GENERATOR: least_generator,
    ResourceKind.PV: least_pv,
}


def least_cost_of(device: Device, prices: Prices, horizon: Horizon) -> Least:
    """Least cost of one resource at given prices."""
    if device.kind is not ResourceKind.EV_SESSION:
        return _ORACLES[device.kind](device.row, prices, horizon)  # type: ignore[no-any-return]
    parts = [least_stay(stay, prices, horizon) for stay in device.stays]
    return Least(sum(part.cost for part in parts), all(part.exact for part in parts))


def least_costs(
    kind: ResourceKind,
    batch: Batch,
    prices: PriceTable,
    devices: Callable[[IndexArray], list[Device]],
    *,
    many: bool,
) -> tuple[FloatArray, BoolArray]:
    """Least cost of n resources of one kind, (n,), and whether each is exact; ``devices`` makes those of some rows.

    ``many``: by the compiled oracles, except for the odd ones and pumped hydro; they must be worth the compiler's time.
    """
    if many:
        cost, exact = MANY[kind](batch, prices)
        by_itself = batch.odd | is_hydro(batch) if kind is ResourceKind.STORAGE else batch.odd
        odd = np.flatnonzero(by_itself)
        if odd.size:
            found = [
                least_cost_of(one, prices.row(int(k)), batch.horizon) for one, k in zip(devices(odd), odd, strict=True)
            ]
            cost[odd], exact[odd] = [each.cost for each in found], [each.exact for each in found]
        return cost, exact
    return least_costs_one_by_one(devices(np.arange(len(prices.late_per_kwh))), prices, batch.horizon)


def least_costs_one_by_one(devices: list[Device], prices: PriceTable, horizon: Horizon) -> tuple[FloatArray, BoolArray]:
    """Least cost of every resource, (n,), and whether each is exact."""
    found = [least_cost_of(device, prices.row(index), horizon) for index, device in enumerate(devices)]
    return np.array([each.cost for each in found]), np.array([each.exact for each in found], dtype=np.bool_)
