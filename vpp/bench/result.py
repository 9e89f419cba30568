"""How a bench gives what it has found: one JSON object (a file, the terminal) or lines for people."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from vpp.bench.machine import described, machine


def give_result(
    benchmark: str, cases: Sequence[Mapping[str, Any]], lines: Iterable[str], *, out: Path | None, as_json: bool
) -> None:
    """Write the JSON into ``out`` if there is one, and print it; or the machine and ``lines``."""
    here = machine()
    text = json.dumps({"benchmark": benchmark, "machine": here, "cases": cases}, ensure_ascii=False)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    for line in [text] if as_json else [described(here), *lines]:
        typer.echo(line)
