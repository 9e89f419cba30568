"""The table of rules: the packaged one, or a text of the same shape; a broken one is refused with all its faults."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from models.errors import InputError, InputFault
from models.settlement.rules.schema import Rule

FILE = "rules.toml"


@dataclass(frozen=True)
class RuleTable:
    """All rules, by (id, version)."""

    rules: Mapping[tuple[str, int], Rule]

    def get(self, rule_id: str, version: int) -> Rule:
        """One version; ``InputError`` if there is none."""
        found = self.rules.get((rule_id, version))
        if found is None:
            known = ", ".join(sorted(rule.name for rule in self.rules.values()))
            raise InputError([InputFault("settlement rules", "rule_id", f"{rule_id}@{version}", f"must be of {known}")])
        return found

    def on(self, rule_id: str, day: date) -> Rule:
        """The version in force on a market day: of those valid by then the one with the latest start."""
        found = [rule for (name, _), rule in self.rules.items() if name == rule_id and rule.valid_from <= day]
        if not found:
            rule = f"must be a rule in force on {day}"
            raise InputError([InputFault("settlement rules", "rule_id", rule_id, rule)])
        return max(found, key=lambda rule: (rule.valid_from, rule.version))


def read_rules(text: str, place: str) -> RuleTable:
    """A table from TOML text: an array ``rules``; ``place`` is how faults call the file."""
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise InputError([InputFault(place, "", text[:40], f"must be TOML: {error}")]) from error
    rows = content.get("rules")
    if not isinstance(rows, list) or not rows or set(content) != {"rules"}:
        raise InputError([InputFault(place, "rules", sorted(content), "must be an array of tables, and nothing else")])
    faults: list[InputFault] = []
    rules: dict[tuple[str, int], Rule] = {}
    for number, row in enumerate(rows, start=1):
        try:
            rule = Rule.model_validate(row)
        except ValidationError as error:
            faults += _faults(place, number, row, error)
            continue
        key = (rule.rule_id, rule.version)
        if key in rules:
            faults.append(InputFault(place, "rule_id", rule.name, f"rule {rule.name} must stand once", number))
        rules[key] = rule
    if faults:
        raise InputError(faults)
    return RuleTable(rules)


def _faults(place: str, number: int, row: Any, error: ValidationError) -> list[InputFault]:
    name = row.get("rule_id", "without id") if isinstance(row, dict) else "without id"
    found = []
    for detail in error.errors(include_url=False):
        said = detail["msg"].removeprefix("Value error, ")
        path = [str(part) for part in detail["loc"]]
        value = detail["input"]
        if detail["type"] == "value_error":  # ours: the field stands before the colon, the value in brackets
            inner, _, said = said.partition(": ")
            said, _, got = said.rpartition(" (got ")
            path, value = [*path, inner], got.removesuffix(")")
        found.append(InputFault(place, ".".join(path), value, f"rule {name}: {said}", number))
    return found


@cache
def packaged_rules() -> RuleTable:
    """The table that is installed with the code."""
    return read_rules(files(__package__).joinpath(FILE).read_text(encoding="utf-8"), FILE)
