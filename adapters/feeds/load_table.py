"""The raw rows of a load file: which columns they are in, their labels, their numbers.  No repair of values here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow.lib import ArrowException

from adapters.feeds.load_options import Label, LoadOptions
from adapters.feeds.load_repairs import Repair
from adapters.feeds.load_times import SHOWN_FAULTS, parse_labels
from models.errors import InputError, InputFault
from models.intervals import FloatArray

TIME_WORDS = frozenset({"timestamp", "datetime", "time", "utc", "ts", "date", "start", "end", "hour"})
LOAD_WORDS = ("load", "demand", "mw", "kw", "power")
NOT_LOADS = ("price", "temp", "wind", "solar", "generation", "capacity", "forecast", "humidity")


@dataclass(frozen=True)
class LoadTable:
    """Rows in order of appearance: labels as they stand (aware, or naive in ``zone``), values in the file's unit."""

    place: str
    time_column: str
    load_column: str
    labels: pd.DatetimeIndex
    label: Label
    zone: ZoneInfo
    values: FloatArray
    suspect: NDArray[np.bool_]
    row: NDArray[np.int64]
    frame: pd.DataFrame
    repairs: tuple[Repair, ...] = ()


def zone_named(place: str, name: str) -> ZoneInfo:
    """The IANA zone; ``InputError`` if there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        rule = "must be an IANA zone such as Asia/Shanghai or America/New_York"
        raise InputError([InputFault(place, "time_zone", name, rule)]) from error


def read_frame(path: Path) -> pd.DataFrame:
    """All columns of a CSV (as text) or Parquet file; a named index becomes a column."""
    if not path.is_file():
        raise InputError([InputFault(str(path), "path", str(path), "no such file")])
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
            return frame.reset_index() if frame.index.name is not None else frame
        return _read_csv(path)
    except (ValueError, OSError, ArrowException, pd.errors.ParserError) as error:
        rule = f"must be a readable CSV or Parquet file: {error}"
        raise InputError([InputFault(path.name, "file", path.name, rule)]) from error


def _read_csv(path: Path) -> pd.DataFrame:
    raw = path.read_bytes()
    try:
        text_encoding = "utf-8-sig"
        head = raw.decode(text_encoding)
    except UnicodeDecodeError:
        text_encoding = "gb18030"  # what Chinese spreadsheets write
        head = raw.decode(text_encoding)
    first_line = head.splitlines()[0] if head.strip() else ""
    separator = max(",;\t", key=first_line.count)
    return pd.read_csv(
        path, sep=separator, dtype=str, keep_default_na=False, encoding=text_encoding, skipinitialspace=True
    )


def _choose(place: str, asked: str | None, candidates: Sequence[str], columns: Sequence[str], option: str) -> str:
    listed = ", ".join(columns)
    if asked is not None:
        if asked not in columns:
            raise InputError([InputFault(place, option, asked, f"no such column; there are: {listed}")])
        return asked
    if len(candidates) != 1:
        found = f"several would do ({', '.join(candidates)})" if candidates else "none is recognisable"
        rule = f"name the column by option {option}: {found}; there are: {listed}"
        raise InputError([InputFault(place, option, None, rule)])
    return candidates[0]


def words(name: str) -> set[str]:
    """The words of a column's name, in lower case."""
    return set(name.lower().replace(" ", "_").replace("-", "_").split("_"))


def choose_time(place: str, frame: pd.DataFrame, asked: str | None) -> str:
    """The time column: as asked, else the only one of a time type, else the one whose name speaks most clearly."""
    columns = [str(name) for name in frame.columns]
    typed = [
        name for name in columns if isinstance(frame[name].dtype, pd.DatetimeTZDtype) or frame[name].dtype.kind == "M"
    ]
    named = [name for name in columns if TIME_WORDS & words(name)]
    return _choose(place, asked, typed or named[:1], columns, "time_column")


def choose_load(place: str, frame: pd.DataFrame, asked: str | None, others: set[str]) -> str:
    """The load column: as asked, else the only number column, else the only one that is named like a load."""
    columns = [str(name) for name in frame.columns if name not in others]
    numbers = [name for name in columns if _looks_numeric(frame[name])]
    named = [
        name
        for name in numbers
        if any(word in name.lower() for word in LOAD_WORDS) and not any(word in name.lower() for word in NOT_LOADS)
    ]
    return _choose(place, asked, numbers if len(numbers) == 1 else named, columns, "load_column")


def _looks_numeric(column: "pd.Series[str]") -> bool:
    if column.dtype.kind in "fiu":
        return True
    if column.dtype.kind in "bM":
        return False
    sample = column.astype(str).str.strip()
    sample = sample[sample != ""].head(200)
    return len(sample) > 0 and bool(pd.to_numeric(sample, errors="coerce").notna().mean() > 0.5)


def as_numbers(place: str, name: str, column: "pd.Series[str]") -> FloatArray:
    """Numbers of a column; empty and NaN are holes; anything else that is no number is an error naming its row."""
    if column.dtype.kind in "fiu":
        numbers = column.to_numpy(dtype=np.float64, copy=True)
        bad = np.isinf(numbers)
    else:
        text = column.astype(str).str.strip()
        hole = text.str.lower().isin(("", "nan", "null", "none", "<na>")).to_numpy()
        numbers = pd.to_numeric(text.where(~hole), errors="coerce").to_numpy(dtype=np.float64, copy=True)
        bad = (np.isnan(numbers) & ~hole) | np.isinf(numbers)
    rows = np.flatnonzero(bad)
    if len(rows):
        rule = "must be a finite number with a decimal point and no thousands separator, or empty"
        faults = [InputFault(place, name, column.iloc[row], rule, int(row) + 1) for row in rows[:SHOWN_FAULTS]]
        raise InputError(faults)
    return numbers


def as_flags(place: str, name: str, column: "pd.Series[str]") -> NDArray[np.bool_]:
    """True and false of a column, by type or as text."""
    if column.dtype.kind == "b":
        return column.to_numpy(dtype=np.bool_)
    text = column.astype(str).str.strip().str.lower()
    unknown = np.flatnonzero(~text.isin(("true", "false", "1", "0", "1.0", "0.0", "")).to_numpy())
    if len(unknown):
        row = int(unknown[0])
        raise InputError([InputFault(place, name, column.iloc[row], "must be true or false", row + 1)])
    return np.asarray(text.isin(("true", "1", "1.0")))


def as_labels(place: str, name: str, column: "pd.Series[str]", time_format: str | None) -> pd.DatetimeIndex:
    """Time labels of a column, aware (UTC) or naive."""
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
        holes = np.flatnonzero(column.isna().to_numpy())
        if len(holes):
            raise InputError([InputFault(place, name, None, "must be a time", int(holes[0]) + 1)])
        labels = pd.DatetimeIndex(column)
        return labels if labels.tz is None else labels.tz_convert("UTC")
    return parse_labels(place, name, column, time_format)


def read_table(path: Path, options: LoadOptions, also: tuple[str, ...] = ()) -> LoadTable:
    """The rows of one curve; ``also`` names columns that are neither time nor load."""
    time_zone, column_zone = options["time_zone"], options.get("column_zone")
    only = options.get("only") or {}
    frame = read_frame(path)
    place = path.name
    if frame.empty:
        raise InputError([InputFault(place, "rows", 0, "the file has no rows")])
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    frame["__row__"] = np.arange(1, len(frame) + 1)
    known = [name for name in frame.columns if name != "__row__"]
    for name, wanted in only.items():
        frame = frame[frame[_choose(place, name, (), known, "only")].astype(str) == wanted]
    if frame.empty:
        raise InputError([InputFault(place, "only", dict(only), "no row has these values")])
    visible = frame[known]
    time_name = choose_time(place, visible, options.get("time_column"))
    suspect_name = options.get("suspect_column") or ("suspect" if "suspect" in known else None)
    others = {time_name, *also, *only, *({suspect_name} if suspect_name else ())}
    load_name = choose_load(place, visible, options.get("load_column"), others)
    labels = as_labels(place, time_name, frame[time_name], options.get("time_format"))
    if labels.tz is None and column_zone is None and "utc" in words(time_name):
        column_zone = "UTC"
    zone_named(place, time_zone)
    flags = np.zeros(len(frame), dtype=bool)
    if suspect_name:
        _choose(place, suspect_name, (), known, "suspect_column")
        flags = as_flags(place, suspect_name, frame[suspect_name])
    return LoadTable(
        place=place,
        time_column=time_name,
        load_column=load_name,
        labels=labels,
        label=options.get("label") or ("end" if "end" in words(time_name) else "start"),
        zone=zone_named(place, column_zone or time_zone),
        values=as_numbers(place, load_name, frame[load_name]),
        suspect=flags,
        row=frame["__row__"].to_numpy(dtype=np.int64),
        frame=frame,
    )
