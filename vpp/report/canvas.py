"""What all pictures share: axes, lines, shades, colours; times in the market's zone, scale and *simulated* on each.

x is UTC; the tick labels and the hover text are local clock times, so that days of 23 and 25 hours are drawn
as long as they were.  Colours are Okabe and Ito's, which people with any colour vision can tell apart, and no
difference is told by colour alone: lines differ in dash, markers in shape, verdicts in words.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any

import pandas as pd

from vpp.report.result_folder import EventResult
from vpp.report.words import Speaker, Unit

Figure = dict[str, Any]

INK, GREY, FAINT = "#1f2a37", "#8a94a3", "#e6e9ee"
BLUE, SKY, GREEN, ORANGE, RED, PURPLE, YELLOW = (
    *("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#F0E442"),
)
EVENT_SHADE, BAND_SHADE = "rgba(230,159,0,0.13)", "rgba(0,158,115,0.16)"
FONT = "'Noto Sans CJK SC','Noto Sans SC','PingFang SC','Microsoft YaHei','Segoe UI',Helvetica,Arial,sans-serif"


def axis_of(title: str = "", **more: Any) -> dict[str, Any]:
    """An axis in the common face."""
    return {
        "title": {"text": title, "standoff": 10},
        "gridcolor": FAINT,
        "linecolor": GREY,
        "zerolinecolor": GREY,
        "zerolinewidth": 1,
        "ticks": "outside",
        "tickcolor": FAINT,
        "automargin": True,
        "fixedrange": False,
        **more,
    }


def layout_of(speaker: Speaker, height: int, **more: Any) -> dict[str, Any]:
    """The common face: no title (the page has it), the stamp below every plot."""
    stamp = {
        "text": escape(speaker.stamp),
        "xref": "paper",
        "yref": "paper",
        "x": 1,
        "y": 0,
        "yshift": -62,
        "xanchor": "right",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 11, "color": GREY},
    }
    return {
        "height": height,
        "margin": {"l": 64, "r": 20, "t": 42, "b": 68},
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(255,255,255,0)", "color": GREY, "activecolor": INK},
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 12}},
        **more,
        "annotations": [*more.get("annotations", ()), stamp],
    }


def utc(moment: datetime) -> str:
    """A moment as plotly takes it (UTC)."""
    return f"{pd.Timestamp(moment).tz_convert('UTC'):%Y-%m-%dT%H:%M:%S}"


def time_axis(
    speaker: Speaker, starts: "pd.Series[Any]", step_h: int = 3, *, dates: bool = True, **more: Any
) -> dict[str, Any]:
    """Ticks on local clock hours, with the date under midnight."""
    first, last = starts.iloc[0].to_pydatetime(), starts.iloc[-1].to_pydatetime()
    values: list[str] = []
    texts: list[str] = []
    moment = first
    while moment <= last + timedelta(minutes=30):
        local = moment.astimezone(speaker.zone)
        if local.minute == 0 and local.hour % step_h == 0:
            values.append(utc(moment))
            day = f"<br>{local:%m-%d}" if dates and (local.hour == 0 or not texts) else ""
            texts.append(f"{local:%H:%M}{day}")
        moment += timedelta(minutes=60 - local.minute if local.minute else 60)
    return axis_of(tickmode="array", tickvals=values, ticktext=texts, type="date", **more)


def line_of(
    speaker: Speaker, starts: "pd.Series[Any]", kw: "pd.Series[float]", unit: Unit, name: str, **more: Any
) -> dict[str, Any]:
    """A step line of a power: intervals keep their mean until they end."""
    clock = [speaker.stamp_of(moment) for moment in starts]
    style = {"shape": "hv", **more.pop("line", {})}
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [utc(moment) for moment in starts],
        "y": [round(value / unit.kw, 4) if math.isfinite(value) else None for value in map(float, kw)],
        "customdata": clock,
        "name": name,
        "line": style,
        "hovertemplate": "%{customdata}<br>%{y:,.2f} " + unit.name + f"<extra>{name}</extra>",
        **more,
    }


def windows_of(events: Sequence[EventResult], axis: str = "x", y: str = "paper") -> list[dict[str, Any]]:
    """Shades behind the event windows."""
    return [
        {
            "type": "rect",
            "xref": axis,
            "yref": y,
            "x0": utc(event.start),
            "x1": utc(event.end),
            "y0": 0,
            "y1": 1,
            "fillcolor": EVENT_SHADE,
            "line": {"width": 0},
            "layer": "below",
        }
        for event in events
    ]
