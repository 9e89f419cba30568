"""The pictures, as plain plotly figures (dicts): what the report shows, one function per picture."""

from datetime import timedelta
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from models.settlement.performance import BAND
from vpp.report.canvas import (
    BAND_SHADE,
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    Figure,
    axis_of,
    layout_of,
    line_of,
    time_axis,
    utc,
    windows_of,
)
from vpp.report.result_folder import DayResult, EventResult
from vpp.report.words import KIND_NAMES, Speaker, Unit, plain


def city(result: DayResult, speaker: Speaker) -> Figure:
    """City load with and without the events, forecast and limit; event windows shaded."""
    frame, events = result.city, result.summary.events
    unit = Unit.fit(float(frame["load_without_kw"].max()))
    starts = frame["interval_start"]
    without = plain("无事件（真实对照）", "without events (true counterfactual)")
    lines = [
        line_of(
            speaker, starts, frame["load_without_kw"], unit, without, line={"color": INK, "width": 1.6, "dash": "dash"}
        ),
        line_of(
            speaker,
            starts,
            frame["load_with_kw"],
            unit,
            plain("实际", "with events"),
            line={"color": BLUE, "width": 2.6},
        ),
    ]
    if frame["forecast_kw"].notna().any():
        style = {"color": PURPLE, "width": 1.6, "dash": "dot"}
        lines.append(line_of(speaker, starts, frame["forecast_kw"], unit, plain("预测", "forecast"), line=style))
    limit = frame["limit_kw"].where(frame["limit_kw"] < 1e300)
    if limit.notna().any():
        style = {"color": RED, "width": 1.6, "dash": "dashdot"}
        lines.append(line_of(speaker, starts, limit, unit, plain("限值", "limit"), line=style))
    named = [
        {
            "text": escape(event.event_id),
            "x": utc(event.start + (event.end - event.start) / 2),
            "y": 0.02,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "textangle": -90,
            "font": {"size": 11, "color": "#8a5a00"},
        }
        for event in events
    ]
    layout = layout_of(
        speaker,
        460,
        xaxis=time_axis(speaker, starts),
        yaxis=axis_of(unit.name),
        shapes=windows_of(events),
        annotations=named,
    )
    return {"data": lines, "layout": layout}


def delivery(result: DayResult, event: EventResult, speaker: Speaker) -> Figure:
    """One event: order with its 90 to 110 % band, delivery by baseline and true delivery."""
    frame = result.delivery[result.delivery["event_id"] == event.event_id].sort_values("interval_start")
    if len(frame):
        step = frame["interval_start"].diff().min() if len(frame) > 1 else event.end - event.start
        last = frame.iloc[[-1]].assign(interval_start=frame["interval_start"].iloc[-1] + step)
        frame = pd.concat([frame, last])  # a step line needs the end of its last interval
    starts = frame["interval_start"]
    unit = Unit.fit(float(frame["ordered_kw"].max()) if len(frame) else 0.0)
    low = line_of(speaker, starts, BAND[0] * frame["ordered_kw"], unit, "90 %", line={"width": 0}, showlegend=False)
    high = line_of(
        *(speaker, starts, BAND[1] * frame["ordered_kw"], unit, plain("90–110 % 区间", "90–110 % band")),
        line={"width": 0},
        fill="tonexty",
        fillcolor=BAND_SHADE,
    )
    truth = line_of(
        *(speaker, starts, frame["true_delivered_kw"], unit, plain("真实交付", "truly delivered")),
        line={"color": ORANGE, "width": 2, "dash": "dot"},
    )
    got = line_of(
        *(speaker, starts, frame["delivered_kw"], unit, plain("交付（对基线）", "delivered (against baseline)")),
        line={"color": BLUE, "width": 2.6},
    )
    asked = line_of(
        *(speaker, starts, frame["ordered_kw"], unit, plain("指令", "ordered")),
        line={"color": INK, "width": 1.6, "dash": "dash"},
    )
    data = [low, high, asked, got] + ([truth] if frame["true_delivered_kw"].notna().any() else [])
    for trace in (low, high):
        trace["hoverinfo"] = "skip"
        trace.pop("hovertemplate")
    axis = time_axis(speaker, starts, 1) if len(frame) else axis_of()
    shown = frame[["ordered_kw", "delivered_kw", "true_delivered_kw"]].to_numpy(dtype=float) / unit.kw
    known = shown[np.isfinite(shown)]
    low_kw, high_kw = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    ends = [min(0.8 * high_kw, low_kw - 0.04 * high_kw), 1.2 * high_kw]
    title = f"{unit.name}<br><sub>{plain('纵轴不从零开始', 'axis not from zero')}</sub>"
    layout = layout_of(speaker, 360, xaxis=axis, yaxis=axis_of(title, range=ends))
    return {"data": data, "layout": layout}


def kinds(result: DayResult, speaker: Speaker) -> Figure:
    """Small multiples: metered power of each kind against its baseline."""
    present = [kind for kind in KIND_NAMES if kind in set(result.kinds["kind"])]
    present += sorted(set(result.kinds["kind"]) - set(present))
    rows = -(-len(present) // 2)
    data: list[dict[str, Any]] = []
    layout = layout_of(speaker, 120 + 190 * max(rows, 1))
    layout["shapes"], titles = [], []
    gap_y = 66 / (190 * max(rows, 1))
    for index, kind in enumerate(present):
        row, column = divmod(index, 2)
        name = "" if index == 0 else str(index + 1)
        frame = result.kinds[result.kinds["kind"] == kind].sort_values("interval_start")
        starts = frame["interval_start"]
        unit = Unit.fit(float(frame[["power_kw", "baseline_kw"]].abs().to_numpy().max()))
        on = {"xaxis": f"x{name}", "yaxis": f"y{name}", "showlegend": index == 0}
        shown = (
            ("baseline_kw", plain("基线 b", "baseline b"), {"color": INK, "width": 1.3, "dash": "dash"}),
            ("power_kw", plain("实测", "metered"), {"color": BLUE, "width": 2}),
        )
        for column_name, label, style in shown:
            trace = line_of(speaker, starts, frame[column_name], unit, label, line=style, legendgroup=column_name, **on)
            data.append(trace)
        height = (1 - gap_y * (rows - 1)) / rows
        top = 1 - row * (height + gap_y)
        bottom = max(top - height, 0.0)
        side = [0.0, 0.46] if column == 0 else [0.54, 1.0]
        layout[f"xaxis{name}"] = time_axis(speaker, starts, 6, dates=False, domain=side, anchor=f"y{name}")
        layout[f"yaxis{name}"] = axis_of(unit.name, domain=[bottom, top], anchor=f"x{name}", nticks=5)
        layout["shapes"] += windows_of(result.summary.events, f"x{name}", f"y{name} domain")
        known = KIND_NAMES.get(kind)
        text = plain(known.zh, known.en) if known else escape(kind)
        titles.append(
            {
                "text": f"<b>{text}</b>",
                "xref": f"x{name} domain",
                "yref": f"y{name} domain",
                "x": 0,
                "y": 1.02,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 12},
            }
        )
    layout["legend"] = {"orientation": "h", "x": 0, "y": 1 + 30 / layout["height"], "yanchor": "bottom"}
    layout["margin"] = {**layout["margin"], "t": 72}
    layout["annotations"] = [*titles, *layout["annotations"]]
    return {"data": data, "layout": layout}


def aggregators(result: DayResult, speaker: Speaker) -> Figure:
    """Delivered over accepted for each aggregator and event hour, with the band."""
    frame = result.aggregators[result.aggregators["accepted_kw"] > 1e-9].copy()
    symbols = ["circle", "diamond", "square", "triangle-up", "cross", "star"]
    colours = [BLUE, ORANGE, GREEN, PURPLE, SKY, RED]
    names = {row.aggregator_id: plain(str(row.name_zh), str(row.name_en)) for row in frame.itertuples()}
    data: list[dict[str, Any]] = []
    for index, (hour, part) in enumerate(frame.groupby("hour_start")):
        start = pd.Timestamp(str(hour)).to_pydatetime()
        ratio = part["delivered_kw"] / part["accepted_kw"]
        label = speaker.clock(start) + "–" + speaker.clock(start + timedelta(hours=1))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [round(100 * float(value), 2) for value in ratio],
                "y": [names[name] for name in part["aggregator_id"]],
                "name": label,
                "marker": {
                    "size": 12,
                    "symbol": symbols[index % len(symbols)],
                    "color": colours[index % len(colours)],
                    "line": {"color": "#fff", "width": 1},
                },
                "hovertemplate": f"{label}<br>" + "%{y}: %{x:.1f} %<extra></extra>",
            }
        )
    band = {
        "type": "rect",
        "yref": "paper",
        "x0": 100 * BAND[0],
        "x1": 100 * BAND[1],
        "y0": 0,
        "y1": 1,
        "fillcolor": BAND_SHADE,
        "line": {"width": 0},
        "layer": "below",
    }
    full = {**band, "type": "line", "x0": 100, "x1": 100, "line": {"color": INK, "width": 1, "dash": "dash"}}
    known = [value for trace in data for value in trace["x"]] + [85.0, 115.0]
    ends = [min(known) - 2, max(known) + 2]
    layout = layout_of(
        speaker,
        150 + 36 * max(len(names), 1),
        xaxis=axis_of(plain("交付 / 承诺", "delivered / accepted") + ", %", range=ends),
        yaxis=axis_of(autorange="reversed", type="category"),
        shapes=[band, full],
    )
    layout["margin"] = {**layout["margin"], "b": 88}
    layout["annotations"][-1]["yshift"] = -82
    return {"data": data, "layout": layout}


def rebound(result: DayResult, speaker: Speaker) -> Figure:
    """Σ(p - b) by hour in the six hours after each event."""
    events = [event for event in result.summary.events if event.rebound_kw_by_hour]
    values = [value for event in events for value in event.rebound_kw_by_hour] or list(
        result.summary.rebound_kw_by_hour
    )
    unit = Unit.fit(max((abs(value) for value in values), default=0.0))
    series = [(event.event_id, event.rebound_kw_by_hour) for event in events]
    series = series or [(plain("全部事件", "all events"), result.summary.rebound_kw_by_hour)]
    data = [
        {
            "type": "bar",
            "x": [f"+{hour}–{hour + 1} h" for hour in range(len(kw))],
            "y": [round(value / unit.kw, 4) for value in kw],
            "text": [f"{value / unit.kw:.2f}" for value in kw],
            "textposition": "outside",
            "cliponaxis": False,
            "name": escape(name),
            "marker": {
                "color": [BLUE, ORANGE, GREEN, PURPLE][index % 4],
                "pattern": {"shape": ["", "/", ".", "x"][index % 4]},
            },
            "hovertemplate": "%{x}: %{y:.2f} " + unit.name + f"<extra>{escape(name)}</extra>",
        }
        for index, (name, kw) in enumerate(series)
    ]
    title = plain("实测 − 基线", "metered − baseline") + f", {unit.name}"
    return {
        "data": data,
        "layout": layout_of(
            speaker, 320, barmode="group", xaxis=axis_of(type="category"), yaxis=axis_of(title), showlegend=True
        ),
    }


def shares(result: DayResult, speaker: Speaker) -> Figure:
    """Per event: what price alone did already, what the event was ordered, delivered, and truly delivered."""
    events = result.summary.events
    largest = max((abs(event.ordered_kw) for event in events), default=0.0)
    unit = Unit.fit(largest)
    parts = (
        (plain("价格已带动", "already by price"), GREY, "/", [event.already_helping_by_price_kw for event in events]),
        (plain("指令", "ordered"), INK, "", [event.ordered_kw for event in events]),
        (plain("交付（对基线）", "delivered (against baseline)"), BLUE, "", [event.delivered_kw for event in events]),
        (plain("真实交付", "truly delivered"), ORANGE, ".", [event.true_delivered_kw for event in events]),
    )
    data = [
        {
            "type": "bar",
            "x": [escape(event.event_id) for event in events],
            "y": [None if value is None else round(value / unit.kw, 4) for value in values],
            "text": ["" if value is None else f"{value / unit.kw:.2f}" for value in values],
            "textposition": "outside",
            "cliponaxis": False,
            "name": name,
            "marker": {"color": colour, "pattern": {"shape": pattern}},
            "hovertemplate": "%{x}: %{y:.2f} " + unit.name + f"<extra>{name}</extra>",
        }
        for name, colour, pattern, values in parts
        if any(value is not None for value in values)
    ]
    layout = layout_of(speaker, 340, barmode="group", xaxis=axis_of(type="category"), yaxis=axis_of(unit.name))
    return {"data": data, "layout": layout}


def devices(result: DayResult, speaker: Speaker) -> Figure:
    """How many devices could be dispatched, and how many were silent or refused."""
    frame = result.devices
    starts = frame["interval_start"]
    unit = Unit(plain("台", "devices"), 1.0)
    parts = (
        ("dispatchable", plain("可调度", "dispatchable"), BLUE, "solid"),
        ("online", plain("在线", "online"), GREEN, "dot"),
        ("silent", plain("失联", "silent"), RED, "dash"),
        ("refusing", plain("拒绝", "refusing"), ORANGE, "dashdot"),
    )
    data = [
        line_of(speaker, starts, frame[column], unit, name, line={"color": colour, "width": 2, "dash": dash})
        for column, name, colour, dash in parts
    ]
    layout = layout_of(
        speaker,
        320,
        xaxis=time_axis(speaker, starts),
        yaxis=axis_of(unit.name, rangemode="tozero"),
        shapes=windows_of(result.summary.events),
    )
    return {"data": data, "layout": layout}
