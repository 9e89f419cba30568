"""One table of a folder, as CSV or Parquet: read into typed rows with every fault named, and written back exactly.

Times are RFC 3339 with offset in CSV and ``timestamp[us, UTC]`` in Parquet.  An empty CSV field and a Parquet null
both mean "not given".  Column types come from the row type's own JSON Schema, so that there is one list of columns
only.
"""

import contextlib
import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from models.errors import InputFault, PortfolioError

Format = Literal["csv", "parquet"]
Plain = Literal["number", "integer", "boolean", "string", "time"]

_RFC3339 = re.compile(r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})$")
_NUMBER = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$")
_ARROW_TYPES: dict[Plain, pa.DataType] = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
}
_RULES: dict[Plain, str] = {
    "number": "must be a finite number",
    "integer": "must be a whole number",
    "boolean": "must be true or false",
    "string": "must be text",
    "time": "must be an RFC 3339 time with offset, such as 2025-07-16T13:00:00+08:00",
}


@dataclass(frozen=True)
class TableSpec:
    """What a table is called, what its rows are, and which columns of the row type it does not have."""

    name: str
    row_type: type[BaseModel]
    left_out: frozenset[str] = frozenset()

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of one row, generated from the row type."""
        schema = self.row_type.model_json_schema()
        for name in self.left_out:
            schema["properties"].pop(name, None)
        schema["required"] = [name for name in schema.get("required", ()) if name not in self.left_out]
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": self.name}

    @cached_property
    def columns(self) -> dict[str, Plain]:
        """Name and plain type of every column the table may have."""
        return {name: self._plain(what) for name, what in self.schema["properties"].items()}

    @cached_property
    def required(self) -> frozenset[str]:
        """Columns that must be there, and filled in every row."""
        return frozenset(self.schema["required"])

    def _plain(self, what: Mapping[str, Any]) -> Plain:
        for option in (what, *what.get("anyOf", ())):
            if option.get("format") == "date-time":
                return "time"
            if option.get("type") in ("number", "integer", "boolean"):
                return option["type"]  # type: ignore[no-any-return]
        return "string"


@dataclass
class TableRows:
    """Rows of a table that could be read, each with its 1-based number, and the faults of the others."""

    file: str
    rows: list[tuple[int, Any]] = field(default_factory=list)
    faults: list[InputFault] = field(default_factory=list)

    def fault(self, row: int | None, column: str, value: Any, rule: str) -> None:
        """Note one broken rule."""
        self.faults.append(InputFault(self.file, column, value, rule, row))


def read_table(path: Path, spec: TableSpec) -> TableRows:
    """All rows of a table; nothing is raised, every fault is noted with file, row, column, value and rule."""
    found = TableRows(path.name)
    raw = _read_csv(path, spec, found) if path.suffix == ".csv" else _read_parquet(path, spec, found)
    if raw is None:
        return found
    for name in sorted(spec.required - raw.keys()):
        found.fault(None, name, None, "column is required")
    if found.faults and not raw:
        return found
    count = len(next(iter(raw.values()))) if raw else 0
    missing = spec.required - raw.keys()
    for index in range(count):
        values: dict[str, Any] = {}
        fine = not missing
        for name, column in raw.items():
            value = column[index]
            if isinstance(value, _Unreadable):
                found.fault(index + 1, name, value.text, value.rule)
                fine = False
            elif value is not None:
                values[name] = value
            elif name in spec.required:
                found.fault(index + 1, name, None, "is required")
                fine = False
        if fine:
            _validate(found, spec, index + 1, values)
    return found


def _validate(found: TableRows, spec: TableSpec, row: int, values: dict[str, Any]) -> None:
    try:
        found.rows.append((row, spec.row_type.model_validate(values)))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            rule = detail["msg"].removeprefix("Value error, ")
            column = str(detail["loc"][0]) if detail["loc"] else rule.partition(":")[0]
            if not detail["loc"]:
                rule = rule.partition(": ")[2].rpartition(" (got ")[0] or rule
            found.fault(row, column, values.get(column), rule)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    text: Any
    rule: str


def _parse(text: str, plain: Plain) -> Any:
    """A value from CSV text, None if empty, ``_Unreadable`` if it is not of the column's type."""
    text = text.strip()
    value: Any = _Unreadable(text, _RULES[plain])
    if not text:
        value = None
    elif plain == "string":
        value = text
    elif plain == "number" and _NUMBER.match(text):
        value = float(text)
    elif plain == "integer" and _NUMBER.match(text) and math.isfinite(float(text)) and float(text).is_integer():
        value = int(float(text))
    elif plain == "boolean" and text.lower() in ("true", "false", "1", "0"):
        value = text.lower() in ("true", "1")
    elif plain == "time" and _RFC3339.match(text):
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(text.upper()).astimezone(UTC)
    return value


def _known_columns(names: Sequence[str], spec: TableSpec, found: TableRows) -> None:
    for name in dict.fromkeys(names):
        if name not in spec.columns:
            found.fault(None, name, name, f"unknown column; known are {', '.join(spec.columns)}")
        elif list(names).count(name) > 1:
            found.fault(None, name, name, "column occurs more than once")


def _read_csv(path: Path, spec: TableSpec, found: TableRows) -> dict[str, list[Any]] | None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        found.fault(None, "", str(error), "must be a CSV table in UTF-8")
        return None
    if not lines:
        found.fault(None, "", "", "must have a header line")
        return None
    header = [name.strip() for name in lines[0]]
    _known_columns(header, spec, found)
    columns: dict[str, list[Any]] = {name: [] for name in header if name in spec.columns}
    where = {name: header.index(name) for name in columns}
    for row, line in enumerate(lines[1:], start=1):
        if len(line) != len(header):
            found.fault(row, "", len(line), f"must have {len(header)} fields, as the header")
            line = (line + [""] * len(header))[: len(header)]  # noqa: PLW2901 - repaired so that the rest is checked too
        for name, values in columns.items():
            values.append(_parse(line[where[name]], spec.columns[name]))
    return columns


def _arrow_fits(kind: pa.DataType, plain: Plain) -> bool:
    if pa.types.is_null(kind):
        return True
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if plain == "time":
        return bool(pa.types.is_timestamp(kind) and kind.unit == "us" and kind.tz in ("UTC", "+00:00", "Etc/UTC"))
    if plain == "boolean":
        return bool(pa.types.is_boolean(kind))
    if plain == "string":
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _read_parquet(path: Path, spec: TableSpec, found: TableRows) -> dict[str, list[Any]] | None:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        found.fault(None, "", str(error), "must be a Parquet table")
        return None
    _known_columns(table.column_names, spec, found)
    columns: dict[str, list[Any]] = {}
    for name in dict.fromkeys(table.column_names):
        plain = spec.columns.get(name)
        if plain is None or table.column_names.count(name) > 1:
            continue
        kind = table.schema.field(name).type
        if not _arrow_fits(kind, plain):
            wanted = "timestamp[us, UTC]" if plain == "time" else plain
            found.fault(None, name, str(kind), f"column type must be {wanted}")
            continue
        values = table.column(name).to_pylist()
        columns[name] = [_whole(value) for value in values] if plain == "integer" else values
    return columns


def _whole(value: Any) -> Any:
    """An integer column may come as floats: 3.0 is 3, 3.5 is unreadable."""
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else _Unreadable(value, _RULES["integer"])
    return value


def write_table(path: Path, columns: Mapping[str, tuple[Plain, Iterable[Any]]]) -> None:
    """Write columns (name → plain type and values, None = not given) as CSV or Parquet, by the suffix of ``path``.

    Numbers are written so that they read back exactly.
    """
    if path.suffix == ".csv":
        texts = [[_text(value) for value in values] for _, values in columns.values()]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*texts, strict=True))
        return
    arrays = {
        name: values
        if isinstance(values, pa.Array | pa.ChunkedArray)
        else pa.array(_plain_values(values), type=_ARROW_TYPES[plain])
        for name, (plain, values) in columns.items()
    }
    pq.write_table(pa.table(arrays), path)


def _plain_values(values: Iterable[Any]) -> Any:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values
    return list(values)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return repr(float(value))
    return str(value)


def find_table(folder: Path, name: str, faults: list[InputFault]) -> Path | None:
    """Path of a table in a folder, None if absent; both formats at once is a fault."""
    paths = [folder / f"{name}{suffix}" for suffix in (".csv", ".parquet")]
    there = [path for path in paths if path.is_file()]
    if len(there) > 1:
        faults.append(InputFault(name, "", [path.name for path in there], "must be there as CSV or Parquet, not both"))
    return there[0] if there else None


def require_folder(folder: Path) -> None:
    """``PortfolioError`` if there is no such folder."""
    if not folder.is_dir():
        raise PortfolioError([InputFault(str(folder), "", str(folder), "must be a folder")])
