"""A made-up day result for tests: plausible curves, no solver, nobody's real data."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from models.intervals import IntervalGrid
from vpp.report.result_folder import (
    DayResult,
    EventResult,
    Labels,
    PlanQuality,
    Registrations,
    Source,
    Summary,
    Text,
)

ZONE = ZoneInfo("Asia/Shanghai")
DAY = date(2025, 7, 16)
KINDS = {
    # kind: usual kW by hour (amplitude, middle), share of the order that it carries
    "storage": (0.0, 0.0, 0.34),
    "thermal_load": (9_000.0, 26_000.0, 0.26),
    "ev_session": (2_500.0, 9_000.0, 0.16),
    "curtailable_load": (1_500.0, 21_000.0, 0.12),
    "interruptible_load": (300.0, 6_000.0, 0.05),
    "generator": (0.0, 0.0, 0.04),
    "shiftable_load": (800.0, 3_000.0, 0.02),
    "pv": (-1_500.0, -1_200.0, 0.01),
}
AGGREGATORS = {
    "public-buildings": ("公共建筑", "Public buildings", 0.26),
    "charging-swapping": ("充换电", "Charging and swapping", 0.16),
    "storage-stations": ("储能电站", "Storage stations", 0.28),
    "telecom": ("通信基站", "Telecom base stations", 0.06),
    "public-lighting": ("公共照明", "Public lighting", 0.01),
    "industry": ("非连续性工业", "Non-continuous industry", 0.18),
    "residential-ac": ("居民空调", "Residential air-conditioning", 0.05),
}


def day_result(*, simulated: bool = True, weak_hour: bool = False, replayed: bool = False) -> DayResult:
    """300 devices, two events; with ``weak_hour`` the first hour of the evening event falls short."""
    random = np.random.default_rng(20250716)
    step = timedelta(minutes=5)
    grid = IntervalGrid.market_day(DAY, ZONE, step, until=datetime(2025, 7, 17, 5, tzinfo=ZONE))
    starts = pd.DatetimeIndex(grid.starts).as_unit("us")
    hour = grid.offsets_h[:-1]
    scale = 0.01
    noon, evening = np.exp(-(((hour - 13.2) / 3.4) ** 2)), np.exp(-(((hour - 21.4) / 2.3) ** 2))
    load = 1e6 * scale * (14.6 + 7.0 * noon + 7.05 * evening + 0.4 * np.sin(hour / 3))
    load = load + random.normal(0, 250, len(hour))
    windows = {
        "chengdu-noon": (datetime(2025, 7, 16, 13, tzinfo=ZONE), datetime(2025, 7, 16, 14, tzinfo=ZONE)),
        "chengdu-evening": (datetime(2025, 7, 16, 21, tzinfo=ZONE), datetime(2025, 7, 16, 23, tzinfo=ZONE)),
    }
    ordered_kw = 11_065.0
    reduction = np.zeros(len(grid))
    delivery, aggregators, events = [], [], []
    for event_id, (start, end) in windows.items():
        inside = grid.inside(start, end)
        ratio = 1.0 + random.normal(0, 0.02, len(grid))
        ratio[inside & (hour < 21.3) & (hour > 20)] *= 0.9
        if weak_hour:
            ratio[inside & (hour >= 21) & (hour < 22)] *= 0.82
        got = np.where(inside, ordered_kw * ratio, 0.0)
        reduction += got
        after = (hour >= (end - grid.start).total_seconds() / 3600) & ~inside
        reduction -= np.where(
            after, 0.38 * ordered_kw * np.exp(-(hour - (end - grid.start).total_seconds() / 3600) / 1.6), 0
        )
        delivery.append(
            pd.DataFrame(
                {
                    "event_id": event_id,
                    "interval_start": starts[inside],
                    "ordered_kw": ordered_kw,
                    "delivered_kw": got[inside],
                    "true_delivered_kw": got[inside] * 0.97 + random.normal(0, 80, inside.sum()),
                }
            )
        )
        hours = [start + timedelta(hours=k) for k in range(int((end - start) / timedelta(hours=1)))]
        by_hour = [float(got[grid.inside(begin, begin + timedelta(hours=1))].mean() / ordered_kw) for begin in hours]
        for begin, ratio_h in zip(hours, by_hour, strict=True):
            for name, (zh, en, share) in AGGREGATORS.items():
                lit = 0.0 if name == "public-lighting" and begin.hour < 19 else 1.0
                took = ordered_kw * share * lit
                aggregators.append(
                    (
                        event_id,
                        name,
                        zh,
                        en,
                        begin.astimezone(UTC),
                        took,
                        took * (ratio_h + random.normal(0, 0.04)),
                    )
                )
        events.append(
            EventResult(
                event_id=event_id,
                start=start,
                end=end,
                five_percent_kw=11_065.0,
                callable_kw=12_400.0 if event_id == "chengdu-noon" else 11_900.0,
                ordered_kw=ordered_kw,
                delivered_kw=float(got[inside].mean()),
                true_delivered_kw=float(got[inside].mean() * 0.97),
                ratio_by_hour=tuple(by_hour),
                already_helping_by_price_kw=1_240.0,
                rebound_kw_by_hour=(3_100.0, 1_650.0, 900.0, 480.0, 250.0, 120.0),
                missing_readings=17,
            )
        )
    kinds = []
    for kind, (amplitude, middle, share) in KINDS.items():
        without = middle + amplitude * np.sin((hour - 8) / 24 * 2 * np.pi)
        if kind == "storage":
            without = 6_000 * (np.exp(-(((hour - 4) / 2) ** 2)) - np.exp(-(((hour - 20) / 1.5) ** 2)))
        kinds.append(
            pd.DataFrame(
                {
                    "interval_start": starts,
                    "kind": kind,
                    "power_kw": without - reduction * share + random.normal(0, 60, len(grid)),
                    "baseline_kw": without,
                    "true_without_kw": without * 0.985,
                }
            )
        )
    with_events = load - reduction
    silent = np.where((hour > 21.4) & (hour < 23), 42, 12)
    journal = pd.DataFrame(
        [
            (
                starts[0],
                "public-buildings",
                "注册 60 个资源，接受 58，拒绝 2",
                "registered 60 resources: 58 yes, 2 no",
            ),
            (starts[60], "vpp", "日前计划 optimal，间隙 0.002 %", "day-ahead plan optimal, gap 0.002 %"),
            (starts[140], "operator", "申报事件 chengdu-noon", "declared event chengdu-noon"),
            (starts[144], "approver", "批准事件 chengdu-noon", "approved event chengdu-noon"),
            (starts[258], "telecom", "10 % 的设备失联", "10 % of the devices fall silent"),
            (starts[260], "vpp", "从其他资源补足 1.1 MW", "re-bought 1.1 MW from other resources"),
            (starts[276], "vpp", "事件 chengdu-evening 结束", "event chengdu-evening ended"),
        ],
        columns=["at", "who", "what_zh", "what_en"],
    )
    in_day = hour < 24
    summary = Summary(
        scenario="test-day",
        scenario_title_zh="成都 2025-07-16 双峰日（测试数据）",
        scenario_title_en="Chengdu 2025-07-16, a day of two peaks (test data)",
        market_day=DAY,
        time_zone="Asia/Shanghai",
        simulated=simulated,
        labels=Labels(
            replayed=replayed,
            reconstruction=not replayed,
            demand_response_was_called=replayed,
            assumptions=(
                Text(zh="平段电价为假设值 0.65 元/kWh", en="The flat price, 0.65 CNY/kWh, is an assumption"),
                Text(zh="2030 年资源组合为假设", en="The 2030 portfolio is an assumption"),
            ),
        ),
        resources=300,
        scale=scale,
        aggregators=len(AGGREGATORS),
        events=tuple(events),
        peak_before_kw=float(load[in_day].max()),
        peak_after_kw=float(with_events[in_day].max()),
        forecast_peak_kw=221_300.0,
        already_helping_by_price_kw=1_240.0,
        rebound_kw_by_hour=(3_100.0, 1_650.0, 900.0, 480.0, 250.0, 120.0),
        plan=PlanQuality(
            status="optimal",
            gap=2.1e-5,
            source="reference",
            objective_cny=1_234_567.8,
            lower_bound_cny=1_234_560.2,
            wall_s=6.4,
            plan_hash="a" * 64,
            baseline_hash="b" * 64,
            penalties={"overload": 100.0, "shortfall": 50.0, "commitment": 20.0, "excess": 5.0},
        ),
        registrations=Registrations(accepted=298, refused=2),
        readings=104_220,
        setpoints=41_310,
        acknowledged=39_870,
        sources=(
            Source(
                what=Text(zh="晚高峰 22.13 GW（21:26）", en="Evening peak 22.13 GW (21:26)"),
                value="22.13 GW",
                basis="published",
                source="press report of 16 July 2025 <unchecked>",
            ),
            Source(
                what=Text(zh="平段电价", en="Flat price"),
                value="0.65 CNY/kWh",
                basis="assumption",
                source="none",
            ),
        ),
        reproduce="vpp demo --resources 300 --portfolio 2030",
        versions={"vpp-dispatch": "0.1.0", "highspy": "1.15.0"},
        wall_s=88.2,
    )
    city = pd.DataFrame(
        {
            "interval_start": starts,
            "load_without_kw": load,
            "load_with_kw": with_events,
            "forecast_kw": pd.Series(load).rolling(24, center=True, min_periods=1).mean() * 1.004,
            "limit_kw": 226_000.0,
        }
    )
    devices = pd.DataFrame(
        {
            "interval_start": starts,
            "online": 300 - silent,
            "silent": silent,
            "refusing": 9,
            "dispatchable": 291 - silent,
        }
    )
    columns = ["event_id", "aggregator_id", "name_zh", "name_en", "hour_start", "accepted_kw", "delivered_kw"]
    return DayResult(
        summary,
        city,
        pd.concat(delivery, ignore_index=True),
        pd.concat(kinds, ignore_index=True),
        pd.DataFrame(aggregators, columns=columns),
        devices,
        journal,
    )
