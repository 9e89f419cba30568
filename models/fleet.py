"""A fleet as columns: one struct of arrays per kind, so that a million resources need no million objects.

Rows (typed, one object each) are made on demand for those who think in devices: the reference model, the
checker, the service.  Missing optional values are NaN, NaT or the empty string inside the columns and None
in rows.
"""

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from models.resources import RESOURCE_TYPES, Pillar, ResourceBase, ResourceKind
from models.units import UtcTime

Column = NDArray[Any]


def _annotation_kind(annotation: Any) -> type:
    """The plain type behind an annotation (float behind ``NonNegativeKw | None``, datetime behind ``UtcTime``)."""
    for part in (annotation, *get_args(annotation)):
        if part in (float, int, str, bool):
            return cast(type, part)
        if part is UtcTime or getattr(part, "__name__", "") in ("AwareDatetime", "datetime"):
            return datetime
        for inner in get_args(part):
            if inner in (float, int, str, bool):
                return cast(type, inner)
            if getattr(inner, "__name__", "") in ("AwareDatetime", "datetime"):
                return datetime
    return str


def column_types(kind: ResourceKind) -> dict[str, type]:
    """Name and plain type (float, int, bool, str, datetime) of every column of a kind's table, ``kind`` left out."""
    fields = RESOURCE_TYPES[kind].model_fields
    return {name: _annotation_kind(info.annotation) for name, info in fields.items() if name != "kind"}


def _as_column(values: list[Any], plain: type) -> Column:
    if plain is float or plain is int:
        return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    if plain is bool:
        return np.array(values, dtype=np.bool_)
    if plain is datetime:
        # Naive UTC is what numpy can hold; NaT stands for "not given".
        stamps = [None if value is None else value.astimezone(UTC).replace(tzinfo=None) for value in values]
        return np.array(stamps, dtype="datetime64[us]")
    return np.array(["" if value is None else str(value) for value in values], dtype=object)


def _as_value(value: Any, plain: type) -> Any:
    if plain is float:
        return None if np.isnan(value) else float(value)
    if plain is int:
        return None if np.isnan(value) else int(value)
    if plain is bool:
        return bool(value)
    if plain is datetime:
        return None if np.isnat(value) else value.astype("datetime64[us]").item().replace(tzinfo=UTC)
    return value or None


def numbered(column: Column) -> tuple[NDArray[np.int64], list[Any]]:
    """A column (n,) of few different values as (number of every row's value (n,), the values as they first occur).

    Raises ``ValueError`` if a row has None or NaN: a column of names has the empty string there.
    """
    import pandas as pd  # noqa: PLC0415 - every process that knows a fleet imports this file: it need not wait a second

    numbers, values = pd.factorize(column)
    if numbers.size and numbers.min() < 0:
        raise ValueError(f"row {int(numbers.argmin())}: nothing where a name or the empty string must be")
    return numbers.astype(np.int64, copy=False), values.tolist()


@dataclass(frozen=True)
class ResourceTable:
    """All resources of one kind as equally long columns, named as in the portfolio table."""

    kind: ResourceKind
    columns: Mapping[str, Column]

    @classmethod
    def from_rows(cls, kind: ResourceKind, rows: Iterable[ResourceBase]) -> "ResourceTable":
        """Columns from typed rows."""
        kept = list(rows)
        types = column_types(kind)
        return cls(kind, {name: _as_column([getattr(row, name) for row in kept], types[name]) for name in types})

    def __len__(self) -> int:
        return len(self.columns["resource_id"])

    def rows(self) -> Iterator[Any]:
        """Typed rows, made on demand; values are trusted (they were validated at the door)."""
        types = column_types(self.kind)
        made = RESOURCE_TYPES[self.kind]
        for index in range(len(self)):
            values = {name: _as_value(self.columns[name][index], plain) for name, plain in types.items()}
            values["pillar"] = Pillar(values["pillar"])
            yield made.model_construct(**values)


@dataclass(frozen=True)
class Fleet:
    """Every resource of a problem, one table per kind that occurs."""

    tables: Mapping[ResourceKind, ResourceTable]

    @classmethod
    def from_rows(cls, rows: Iterable[ResourceBase]) -> "Fleet":
        """A fleet from typed rows of any kinds, in any order."""
        by_kind: dict[ResourceKind, list[ResourceBase]] = {}
        for row in rows:
            by_kind.setdefault(cast(Any, row).kind, []).append(row)
        return cls({kind: ResourceTable.from_rows(kind, by_kind[kind]) for kind in ResourceKind if kind in by_kind})

    def rows(self, kind: ResourceKind | None = None) -> Iterator[Any]:
        """Typed rows of one kind, or of all kinds in the order of ``ResourceKind``."""
        for each, table in self.tables.items():
            if kind is None or each is kind:
                yield from table.rows()

    @cached_property
    def resource_ids(self) -> tuple[str, ...]:
        """Every resource once (a charger with several sessions once), in byte order of the UTF-8 id."""
        return self._roll[0]

    def rows_of(self, kind: ResourceKind) -> NDArray[np.int64]:
        """Row in ``resource_ids`` of every row of a kind's table, (n,)."""
        return self._roll[1][kind]

    @cached_property
    def _roll(self) -> tuple[tuple[str, ...], dict[ResourceKind, NDArray[np.int64]]]:
        """``resource_ids`` and ``rows_of`` in one sort: it is quick where the tables have runs that are sorted."""
        names = [str(name) for table in self.tables.values() for name in table.columns["resource_id"].tolist()]
        # code points sort as their UTF-8 bytes do
        order = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
        ranked = [names[place] for place in order.tolist()]
        new = np.fromiter(map(operator.ne, ranked, itertools.chain([None], ranked)), dtype=np.bool_, count=len(ranked))
        rows = np.empty(len(names), dtype=np.int64)
        rows[order] = np.cumsum(new) - 1
        rows_of, first = {}, 0
        for kind, table in self.tables.items():
            rows_of[kind] = rows[first : first + len(table)]
            first += len(table)
        return tuple(itertools.compress(ranked, new)), rows_of

    def __len__(self) -> int:
        return sum(len(table) for table in self.tables.values())
