"""The commands of the far side: ``vpp demo``, ``replay``, ``simulate`` (found by entry point)."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.feeds.load_options import LoadOptions, Unit
from models.errors import InputError, InputFault
from simulations.clock import SystemClock
from simulations.day import run_day
from simulations.day_driver import Progress as Progressed
from simulations.day_setup import DaySetup
from simulations.demo import demo_setup
from simulations.quiet_logs import quiet_logs
from simulations.replay import ReplayOrder, replay_setup
from vpp.report.result_folder import EventResult, Summary
from vpp.report.write import write_report

DEMO_FOLDER = Path("var/demo")
DEMO_RESOURCES = 20_000
"""A quarter of an hour on two cores; ``make demo`` asks for 300."""
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")]


def demo(
    resources: Annotated[
        int, typer.Option(min=90, max=200_000, help="How many devices to simulate: 300 take two minutes.")
    ] = DEMO_RESOURCES,
    portfolio: Annotated[str, typer.Option(help="2030 (assumption) or 2024 (about 400 MW).")] = "2030",
    seed: Annotated[int | None, typer.Option(help="Another throw of all dice.")] = None,
    out: Annotated[Path, typer.Option(help="Result folder.")] = DEMO_FOLDER,
    as_json: JsonFlag = False,
) -> None:
    """A whole day of a city: register, plan, order, dispatch over real MQTT, prove, report."""
    _run(demo_setup(resources, portfolio, seed), out, as_json)


def replay(
    load: Annotated[Path, typer.Option(help="Measured load, CSV or Parquet.")],
    day: Annotated[str, typer.Option("--date", help="Market day, YYYY-MM-DD.")],
    time_zone: Annotated[str, typer.Option(help="IANA zone of the market.")],
    out: Annotated[Path, typer.Option(help="Result folder.")],
    time_column: Annotated[str | None, typer.Option(help="Column of times (else guessed).")] = None,
    load_column: Annotated[str | None, typer.Option(help="Column of the load (else guessed).")] = None,
    unit: Annotated[str, typer.Option(help="W, kW, MW or GW.")] = "MW",
    label: Annotated[str | None, typer.Option(help="Times label the start or the end of intervals.")] = None,
    forecast: Annotated[Path | None, typer.Option(help="The operator's own forecast.")] = None,
    forecast_column: Annotated[str | None, typer.Option(help="Its column (else as the load's).")] = None,
    window: Annotated[str | None, typer.Option(help="HH:MM/HH:MM local; else the two highest hours.")] = None,
    resources: Annotated[int, typer.Option(min=90, max=2000, help="How many devices to simulate.")] = 300,
    portfolio: Annotated[str, typer.Option(help="2030 or 2024.")] = "2030",
    response_was_called: Annotated[
        bool, typer.Option(help="Demand response was really called that day: the load is after it.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """A measured day through the path that runs live."""
    options = LoadOptions(
        time_zone=_zone(time_zone),
        time_column=time_column,
        load_column=load_column,
        unit=_one_of("unit", unit, ("W", "kW", "MW", "GW")),  # type: ignore[typeddict-item]
    )
    if label is not None:
        options["label"] = _one_of("label", label, ("start", "end"))  # type: ignore[typeddict-item]
    forecast_options = LoadOptions(
        time_zone=time_zone, load_column=forecast_column or load_column, unit=options["unit"]
    )
    order = ReplayOrder(
        load=load,
        day=_day(day),
        options=options,
        forecast=forecast,
        forecast_options=forecast_options,
        window=_window(window),
        resources=resources,
        portfolio=portfolio,
        response_was_called=response_was_called,
        command="vpp " + " ".join(sys.argv[1:]),
    )
    _run(replay_setup(order), out, as_json)


def _run(setup: DaySetup, out: Path, as_json: bool) -> None:
    with _shown(out) as show:
        result = asyncio.run(run_day(setup, out, show))
        show("完成", "done", 1.0)
    page = write_report(out)
    if as_json:
        sys.stdout.write(result.summary.model_dump_json() + "\n")
    else:
        _tell(Console(), result.summary, page)


@contextmanager
def _shown(out: Path, before: str = "") -> Iterator[Progressed]:
    """A bar on the screen for a day that runs into ``out``; ``before`` stands in front of what is said."""
    with quiet_logs(out), _bar(Console(stderr=True)) as progress:
        task = progress.add_task("", total=1.0)

        def show(zh: str, en: str, share: float) -> None:
            progress.update(task, completed=share, description=f"{before}{zh}  {en}")

        yield show


def _bar(console: Console) -> Progress:
    return Progress(BarColumn(bar_width=30), TimeElapsedColumn(), TextColumn("{task.description}"), console=console)


def _tell(console: Console, summary: Summary, page: Path) -> None:
    zone = ZoneInfo(summary.time_zone)
    console.print(f"\n[bold]{summary.scenario_title_zh}[/bold]  {summary.scenario_title_en}")
    console.print(
        f"仿真 simulated · {summary.resources} 台设备 devices · 比例 scale 1:{1 / summary.scale:,.0f} · "
        f"下列 kW 均为该比例 all kW at that scale"
    )
    table = Table(title=r"事件 events \[kW]", box=SIMPLE, padding=(0, 1))
    columns = ("时段\nwindow", "5 %\ntarget", "可调\ncallable", "下令\nordered", "差额\nshort", "交付\ndelivered")
    for column in (*columns, "真实\ntrue"):
        table.add_column(column, justify="right", no_wrap=True)
    # the last to be cut off: it is what is judged
    table.add_column("逐时\nhours", justify="right", overflow="fold", min_width=5)
    for event in summary.events:
        short_kw = max(0.0, event.five_percent_kw - event.ordered_kw)
        table.add_row(
            f"{event.start.astimezone(zone):%H:%M}-{event.end.astimezone(zone):%H:%M}",
            f"{event.five_percent_kw:,.0f}",
            f"{event.callable_kw:,.0f}",
            f"{event.ordered_kw:,.0f}",
            f"{short_kw:,.0f}",
            f"{event.delivered_kw:,.0f}",
            "-" if event.true_delivered_kw is None else f"{event.true_delivered_kw:,.0f}",
            _ratios(event),
        )
    console.print(table)
    change = summary.peak_after_kw / summary.peak_before_kw - 1
    console.print(
        f"日峰 peak {summary.peak_before_kw:,.0f} → {summary.peak_after_kw:,.0f} kW "
        f"({change:+.2%}) · 注册 registered {summary.registrations.accepted}"
        f" (拒绝 refused {summary.registrations.refused}) · 读数 readings {summary.readings:,}"
        f" · 指令 setpoints {summary.setpoints:,} (确认 acknowledged {summary.acknowledged:,})"
    )
    if summary.measured_peak_kw is not None and summary.forecast_peak_kw is not None:
        console.print(
            f"预测峰 forecast peak {summary.forecast_peak_kw:,.0f} kW"
            f" · 实测峰 measured {summary.measured_peak_kw:,.0f} kW"
        )
    console.print(f"用时 wall {summary.wall_s:.0f} s · 报告 report [bold]{page}[/bold]")


def _ratios(event: EventResult) -> str:
    return " ".join(
        "-" if ratio is None else f"[{'green' if 0.9 <= ratio <= 1.1 else 'red'}]{ratio:.0%}[/]"
        for ratio in event.ratio_by_hour
    )


def _day(value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise InputError([InputFault("command line", "--date", value, "must be YYYY-MM-DD")]) from error


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        rule = "must be an IANA zone such as America/New_York"
        raise InputError([InputFault("command line", "--time-zone", value, rule)]) from error
    return value


def _one_of(option: str, value: str, known: tuple[Unit | str, ...]) -> str:
    if value not in known:
        rule = f"must be one of {', '.join(known)}"
        raise InputError([InputFault("command line", f"--{option}", value, rule)])
    return value


def _window(value: str | None) -> tuple[time, time] | None:
    if value is None:
        return None
    try:
        start, end = (datetime.strptime(part, "%H:%M").time() for part in value.split("/"))  # noqa: DTZ007
    except ValueError as error:
        rule = "must be local clock times HH:MM/HH:MM"
        raise InputError([InputFault("command line", "--window", value, rule)]) from error
    return start, end


def simulate(
    broker: Annotated[str | None, typer.Option(help="Address of the platform's broker, mqtt://host:port.")] = None,
    credentials: Annotated[Path | None, typer.Option(help="JSON file: aggregator_id to password.")] = None,
    resources: Annotated[int, typer.Option(min=90, help="How many devices.")] = 300,
    portfolio: Annotated[str, typer.Option(help="2030 or 2024.")] = "2030",
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so long; else run until stopped.")] = None,
    write_city: Annotated[
        Path | None, typer.Option(help="Write the fleet's city tables from today on, for vpp serve --system.")
    ] = None,
    days: Annotated[int, typer.Option(min=2, max=60, help="How many days the city tables cover.")] = 7,
    history: Annotated[
        bool, typer.Option(help="Send the days before as readings, so that loads have a baseline.")
    ] = True,
    telemetry_s: Annotated[float, typer.Option(min=1, max=3600, help="How often devices report.")] = 300.0,
    prefix: Annotated[str, typer.Option(help="First levels of every topic.")] = "vpp/v1",
    ca_file: Annotated[Path | None, typer.Option(help="Whom to trust, for mqtts://.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """A simulated fleet in real time, for any broker."""
    from simulations.live import LiveFleet, simulate_command  # noqa: PLC0415 - the other commands do not need it

    simulate_command(
        LiveFleet(resources, portfolio, SystemClock()),
        broker=broker,
        credentials=credentials,
        write_city_to=write_city,
        days=days,
        history=history,
        telemetry_s=telemetry_s,
        minutes=minutes,
        prefix=prefix,
        ca_file=ca_file,
        as_json=as_json,
    )
