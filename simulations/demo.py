"""The demo: the scenario's day with a fleet of any size (see ``simulations/scenarios``)."""

from datetime import timedelta

from models.events import EventOrder
from simulations.city_feed import scenario_feed
from simulations.day_result import DayFacts, text
from simulations.day_setup import FINE_HISTORY_DEVICES, DaySetup, Trouble
from simulations.scenarios import Scenario, load_scenario
from simulations.scenarios.generator import generate_fleet
from vpp.report.result_folder import Labels, Source, Text

SCENARIO = "chengdu-2025-07-16"


def demo_setup(
    resources: int = 300, portfolio: str = "2030", seed: int | None = None, scenario: Scenario | None = None
) -> DaySetup:
    """The Chengdu day of 16 July 2025, or another, with a generated fleet; ``InputError`` for an unknown portfolio."""
    scenario = scenario or load_scenario(SCENARIO)
    generated = generate_fleet(scenario, portfolio, resources, seed)
    scale = generated.scale
    windows = scenario.windows
    orders = tuple(
        EventOrder(event_id=name, start=start, end=end, reason="heat wave peak")
        for name, (start, end) in windows.items()
    )
    evening = max(start for start, _ in windows.values())
    described = scenario.file.portfolios[portfolio]
    return DaySetup(
        generated=generated,
        feed=scenario_feed(scenario, scale, seed),
        market_day=scenario.day,
        orders=orders,
        declare_at=scenario.local(17.5) - timedelta(days=1),
        city_kw=scenario.mean_load_kw,
        limit_kw=float(scenario.zone_limits_kw.sum() * scale),
        troubles=(Trouble(0.10, evening + timedelta(minutes=40), evening + timedelta(hours=4)),),
        facts=DayFacts(
            scenario=scenario.name,
            title_zh=f"{scenario.file.title_zh} · {described.title_zh}",
            title_en=f"{scenario.file.title_en} · {described.title_en}",
            labels=Labels(
                reconstruction=True,
                assumptions=(*_assumptions(scenario, portfolio), *_reduced(resources)),
            ),
            sources=_sources(scenario, portfolio),
            aggregator_names={
                entry.aggregator_id: (entry.name_zh, entry.name_en) for entry in scenario.file.aggregators
            },
            scale=scale,
            reproduce=f"vpp demo --resources {resources} --portfolio {portfolio}",
        ),
    )


def _assumptions(scenario: Scenario, portfolio: str) -> tuple[Text, ...]:
    flat = scenario.file.prices.flat_per_kwh.value
    factor = scenario.file.portfolios[portfolio].factor.value
    return (
        text(f"平段电价 {flat} 元/kWh 为假设", f"the flat price of {flat} CNY/kWh is an assumption"),
        text(f"资源组合为假设 (类别容量 x {factor:g})", f"the portfolio is an assumption (class mix x {factor:g})"),
        text("分区负荷占比与限额为假设", "the zones' shares and limits are assumptions"),
        text("负荷预测误差约 1% 为假设", "a load forecast error of about 1 % is an assumption"),
    )


def _reduced(resources: int) -> tuple[Text, ...]:
    """What a large fleet tells less of than a small one."""
    if resources <= FINE_HISTORY_DEVICES:
        return ()
    return (text("此前各日的读数为小时均值", "earlier days are told in hourly means (of small fleets: 15 minutes)"),)


def _sources(scenario: Scenario, portfolio: str) -> tuple[Source, ...]:
    load, prices = scenario.file.load, scenario.file.prices
    return (
        Source(
            what=text("午峰", "midday peak"),
            value=f"{load.midday_peak.gw} GW {load.midday_peak.time:%H:%M}",
            basis="published",
            source=load.midday_peak.source or "assumption",
        ),
        Source(
            what=text("晚峰", "evening peak"),
            value=f"{load.evening_peak.gw} GW {load.evening_peak.time:%H:%M}",
            basis="published",
            source=load.evening_peak.source or "assumption",
        ),
        Source(
            what=text("尖峰时段", "critical-peak hours"),
            value=str(prices.critical_hours.value),
            basis="published",
            source=prices.critical_hours.source or "assumption",
        ),
        Source(
            what=text("平段电价", "flat price"),
            value=f"{prices.flat_per_kwh.value} CNY/kWh",
            basis="assumption",
            source=prices.flat_per_kwh.source or "assumption",
        ),
        Source(
            what=text("资源组合", "portfolio"),
            value=f"{portfolio}: x {scenario.file.portfolios[portfolio].factor.value:g}",
            basis="assumption",
            source=scenario.file.portfolios[portfolio].factor.source or "assumption",
        ),
    )
