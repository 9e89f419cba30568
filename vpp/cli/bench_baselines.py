"""``vpp bench baselines``: how good baselines are where the truth is known, on real meters."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from models.errors import InputError, InputFault
from vpp.bench.baseline_meters import MeterSite
from vpp.bench.baselines import READERS, attack_rows, bars_rows, chosen_methods, lines, method_rows
from vpp.bench.result import give_result


def bench_baselines(
    data: Annotated[
        Path | None, typer.Option(envvar="VPP_DATA_DIR", help="Folder of the measured data; nothing of it is shipped.")
    ] = None,
    meters: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(READERS)}.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these methods of the table.")] = None,
    unscored: Annotated[
        bool, typer.Option("--unscored", help="Days ranked 11 to 30 instead, on which our own method was chosen.")
    ] = False,
    inflation: Annotated[bool, typer.Option(help="Also: how well load raised for the meter is found.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write the JSON here too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Baselines against real meters on placebo events: error, bias, coverage; and raised load, found or not."""
    if data is None or not data.is_dir():
        rule = "must be the folder of the measured data: --data, or the environment variable VPP_DATA_DIR"
        raise InputError([InputFault("bench", "data", str(data), rule)])
    wrong = [name for name in meters or () if name not in READERS]
    if wrong:
        rule = f"must be among {', '.join(READERS)}"
        raise InputError([InputFault("bench", "meters", name, rule) for name in wrong])
    methods, rows = chosen_methods(method), list[dict[str, Any]]()
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:

        def tracked(sites: Iterable[MeterSite], text: str) -> Iterable[MeterSite]:
            found = list(sites)
            if not console.is_terminal:
                console.print(f"{text}, {len(found)} meters ...", highlight=False, soft_wrap=True)
            return progress.track(found, description=text)

        for name in meters or READERS:
            sites = READERS[name](data)
            if name == "enernoc" and not unscored:
                rows += bars_rows(data, sites, tracked)
            rows += method_rows(name, sites, methods, tracked, unscored=unscored)
            if inflation and not unscored:
                rows += attack_rows(name, sites, tracked)
    give_result("baselines", rows, lines(rows), out=out, as_json=as_json)
