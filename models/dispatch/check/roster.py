"""Who stands where: rows of the portfolio in the order of the plan, and what groups and prices look at, as codes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dispatch.check.screens.common import IndexArray
from models.dispatch.problem import DispatchProblem
from models.fleet import ResourceTable
from models.intervals import FloatArray
from models.resources import Pillar, ResourceKind

Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Roster:
    """R resources in byte order of their ids.

    ``rows``, ``places``: per kind, the rows of its table by place, and their places (rising; a charger's stays share
    one).  ``kind``, ``zone``, ``aggregator``, ``pillar``, ``tariff``: (R,) codes into ``kinds``, ``zones`` ...
    """

    tables: Mapping[ResourceKind, ResourceTable]
    rows: Mapping[ResourceKind, IndexArray]
    places: Mapping[ResourceKind, IndexArray]
    kind: Codes
    zone: Codes
    aggregator: Codes
    pillar: Codes
    tariff: Codes
    reliability: FloatArray
    zones: tuple[str, ...]
    aggregators: tuple[str, ...]
    tariffs: tuple[str, ...]

    kinds = tuple(ResourceKind)
    pillars = tuple(pillar.value for pillar in Pillar)

    @classmethod
    def of(cls, problem: DispatchProblem) -> "Roster":
        """The roster of a problem's fleet."""
        names = problem.fleet.resource_ids
        place_of = {name: place for place, name in enumerate(names)}
        tables = problem.fleet.tables
        aggregators = tuple(dict.fromkeys(str(a) for table in tables.values() for a in table.columns["aggregator_id"]))
        known = {
            "zone_id": problem.zones,
            "aggregator_id": aggregators,
            "pillar": cls.pillars,
            "tariff_id": tuple(problem.tariffs),
        }
        codes = {column: np.zeros(len(names), dtype=np.int32) for column in (*known, "kind")}
        reliability = np.ones(len(names))
        rows: dict[ResourceKind, IndexArray] = {}
        places: dict[ResourceKind, IndexArray] = {}
        for kind, table in tables.items():
            columns = table.columns
            place = _codes(columns["resource_id"], place_of)
            for column, values in known.items():
                code = _codes(columns[column], {name: k for k, name in enumerate(values)})
                # of a charger's rows the first says the tariff and the last the rest
                way = slice(None, None, -1) if column == "tariff_id" else slice(None)
                codes[column][place[way]] = code[way]
            codes["kind"][place] = cls.kinds.index(kind)
            reliability[place] = columns["reliability_fraction"]
            rows[kind] = np.argsort(place, kind="stable")
            places[kind] = place[rows[kind]]
        return cls(
            tables, rows, places, codes["kind"], codes["zone_id"], codes["aggregator_id"], codes["pillar"],
            codes["tariff_id"], reliability, problem.zones, aggregators, tuple(problem.tariffs),
        )  # fmt: skip

    def part(self, kind: ResourceKind, first: int, last: int) -> tuple[ResourceTable, IndexArray]:
        """Rows of a kind with places from ``first`` to before ``last``, and these places counted from ``first``."""
        low, high = np.searchsorted(self.places[kind], (first, last))
        return self._table(kind, self.rows[kind][low:high]), self.places[kind][low:high] - first

    def table_at(self, kind: ResourceKind, places: IndexArray) -> ResourceTable:
        """Rows of a kind whose resources stand at these places, as the portfolio has them."""
        low = np.searchsorted(self.places[kind], places, side="left")
        high = np.searchsorted(self.places[kind], places, side="right")
        picked = [self.rows[kind][a:b] for a, b in zip(low, high, strict=True)]
        return self._table(kind, np.concatenate(picked) if picked else np.empty(0, dtype=np.intp))

    def _table(self, kind: ResourceKind, rows: IndexArray) -> ResourceTable:
        return ResourceTable(kind, {name: values[rows] for name, values in self.tables[kind].columns.items()})


def _codes(names: Iterable[Any], code_of: Mapping[Any, int]) -> IndexArray:
    return np.fromiter(map(code_of.__getitem__, names), np.intp)
