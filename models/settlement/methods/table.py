"""The packaged table of baseline methods, read once."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from pydantic import ValidationError

from models.errors import InputError, InputFault
from models.settlement.methods.spec import MethodSpec, MethodTable

TABLE = "baseline_methods.toml"


def read_table(text: str, place: str = TABLE) -> MethodTable:
    """The table in ``text``; ``InputError`` names every field that breaks a rule, by method."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError([InputFault(place, "", str(error), "must be TOML")]) from error
    try:
        table = MethodTable.model_validate(raw)
    except ValidationError as error:
        raise InputError(
            [
                InputFault(place, "/".join(map(str, fault["loc"])), fault["input"], fault["msg"], _row(fault["loc"]))
                for fault in error.errors()
            ]
        ) from error
    seen: set[tuple[str, int]] = set()
    for row, method in enumerate(table.method, 1):
        key = (method.id, method.version)
        if key in seen:
            raise InputError([InputFault(place, "version", key, "id and version must be unique", row)])
        seen.add(key)
    return table


def _row(location: tuple[int | str, ...]) -> int | None:
    return next((1 + part for part in location if isinstance(part, int)), None)


@cache
def packaged_table() -> MethodTable:
    """The table that this version comes with."""
    return read_table((files("models.settlement.methods") / TABLE).read_text(encoding="utf-8"))


def newest_methods() -> Mapping[str, MethodSpec]:
    """The newest version of every method, by id, in the order of the table."""
    newest: dict[str, MethodSpec] = {}
    for method in packaged_table().method:
        if method.id not in newest or newest[method.id].version < method.version:
            newest[method.id] = method
    return newest


def method_named(method_id: str, version: int | None = None) -> MethodSpec:
    """One method, the newest version if none is asked for; ``InputError`` if the table has none."""
    found = [each for each in packaged_table().method if each.id == method_id and version in {None, each.version}]
    if not found:
        named = method_id if version is None else f"{method_id} version {version}"
        known = ", ".join(newest_methods())
        raise InputError([InputFault(TABLE, "id", named, f"must be a method of the table: {known}")])
    return max(found, key=lambda each: each.version)
