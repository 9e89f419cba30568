"""Orders as devices took them: what a counterfactual is given, and what a proof is made of."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np


@dataclass(frozen=True, slots=True)
class GivenOrder:
    """An order as a device took it, or as a counterfactual shall give it."""

    resource_id: str
    power_kw: float | None
    valid_from: datetime
    valid_until: datetime


class GivenOrders:
    """Orders by the million, sixteen bytes each."""

    def __init__(self, resource_ids: Sequence[str]) -> None:
        self._resource_ids = resource_ids
        self._rows, self._power_kw, self._windows = array("i"), array("d"), array("i")
        self._window_of: dict[tuple[datetime, datetime], int] = {}

    def add(self, row: int, power_kw: float | None, valid_from: datetime, valid_until: datetime) -> None:
        self._rows.append(row)
        self._power_kw.append(np.nan if power_kw is None else power_kw)
        self._windows.append(self._window_of.setdefault((valid_from, valid_until), len(self._window_of)))

    def __iter__(self) -> Iterator[GivenOrder]:
        windows = list(self._window_of)
        for row, power_kw, window in zip(self._rows, self._power_kw, self._windows, strict=True):
            released = np.isnan(power_kw)
            yield GivenOrder(self._resource_ids[row], None if released else power_kw, *windows[window])
