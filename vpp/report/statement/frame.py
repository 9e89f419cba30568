"""The sheet that all three reports are written on: head, banner, signatures, and the foot of every printed page.

One file without any request, as its content security policy demands; languages side by side, with a switch.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib.resources import files

from models.events import NOTICE_ZH
from models.settlement.issued import IssuedStatement
from vpp.report.statement.cells import badge, code, facts
from vpp.report.statement.rule_words import verification
from vpp.report.words import Speaker, both

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; font-src data:"
DIRECTIONS = {"shave": ("削峰", "shave"), "fill": ("填谷", "fill")}
_STAGE_ZH = {**NOTICE_ZH, "real_time": "实时"}
_SAFE = re.compile(r"[0-9A-Za-z一-鿿 .:_·@/|-]")
_LONGEST = 60


@dataclass(frozen=True)
class Sheet:
    """``title``: both languages; ``about``: whom it is for; ``signers``: who signs; ``landscape``: wide tables.

    ``stamp``: what must stand on every page besides, such as SIMULATED.
    """

    issued: IssuedStatement
    title: tuple[str, str]
    about: str
    signers: Sequence[tuple[str, str]]
    landscape: bool
    stamp: str = ""

    @property
    def speaker(self) -> Speaker:
        """Times in the market's zone."""
        return Speaker(self.issued.inputs.zone, self.stamp)

    def moment(self, at: datetime) -> str:
        """Day and time of the market's zone."""
        return f"{at.astimezone(self.issued.inputs.zone):%Y-%m-%d %H:%M:%S}"

    def window(self) -> str:
        """From when to when, with the day and the zone."""
        grid, zone = self.issued.inputs.grid, self.issued.inputs.zone
        start, end = (moment.astimezone(zone) for moment in (grid.start, grid.end))
        last = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
        return f"{start:%Y-%m-%d %H:%M}–{last} ({start:%Z}, {zone})"


def document(page: Sheet, sections: Iterator[str]) -> Iterator[str]:
    """The whole file in pieces; ``sections`` are asked for one by one."""
    here = files("vpp.report")
    style = here.joinpath("report.css").read_text(encoding="utf-8")
    own = here.joinpath("statement", "statement.css").read_text(encoding="utf-8")
    script = here.joinpath("statement", "statement.js").read_text(encoding="utf-8")
    title = escape(f"{page.title[0]} {page.title[1]} · {page.about} · {page.issued.statement.event_id}")
    yield (
        '<!doctype html>\n<html lang="zh" data-language="both"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{style}{own}{_printed_feet(page)}</style></head><body>{_header(page)}<main>"
    )
    yield from sections
    yield f"{_signatures(page)}</main>{_footer(page)}<script>{script}</script></body></html>\n"


def _header(page: Sheet) -> str:
    statement, inputs = page.issued.statement, page.issued.inputs
    badges = [badge("idle", f"第 {statement.version} 版", f"version {statement.version}")]
    if statement.corrects is not None:
        badges.insert(0, badge("bad", "更正版", "corrected version"))
    if page.stamp:
        badges.insert(0, f'<span class="badge simulated">{escape(page.stamp)}</span>')
    buttons = "".join(
        f'<button type="button" data-set="{value}" aria-pressed="{str(value == "both").lower()}">{name}</button>'
        for value, name in (("both", "双语 both"), ("zh", "中文"), ("en", "English"))
    )
    stage, direction = inputs.stage.value, DIRECTIONS[inputs.direction.value]
    pairs = [
        (both("事件", "Event"), code(statement.event_id)),
        (both("时间", "Window"), escape(page.window())),
        (
            both("类型", "Kind"),
            f"{both(direction[0], direction[1])} · {both(_STAGE_ZH[stage], stage.replace('_', '-'))}",
        ),
        (both("规则", "Rule"), code(page.issued.rule.name)),
        (both("出具时间", "Made at"), escape(page.moment(page.issued.made_at))),
        (both("出具人", "Made by"), code(page.issued.made_by)),
    ]
    return (
        f'<header><div class="bar"><div class="badges">{"".join(badges)}</div><div class="switch" role="group" '
        f'aria-label="语言 Language">{buttons}</div></div><h1>{both(*page.title)}</h1>'
        f'<p class="about">{code(page.about) if page.about else ""}</p>{facts(pairs)}{_banner(page)}'
        f"{'' if page.issued.rule.verified else verification(page.issued.rule)}</header>"
    )


def _banner(page: Sheet) -> str:
    statement = page.issued.statement
    if statement.corrects is None:
        return ""
    zh = f"更正版：第 {statement.version} 版取代第 {statement.corrects} 版。原因："
    en = f"Corrected version: version {statement.version} takes the place of version {statement.corrects}. Reason:"
    return f'<p class="corrected">{both(zh, en)} <q>{escape(statement.reason)}</q></p>'


def _signatures(page: Sheet) -> str:
    lines = "".join(
        f'<div class="sign"><div class="line"></div><div>{both(zh, en)}</div>'
        f'<div class="date">{both("日期", "Date")}</div></div>'
        for zh, en in page.signers
    )
    return f'<section id="signatures"><h2>{both("签字", "Signatures")}</h2><div class="signs">{lines}</div></section>'


def _footer(page: Sheet) -> str:
    statement = page.issued.statement
    text = both(
        "金额由所示电量与价格相乘，四舍六入五成双到分；合计为各行之和。单个文件，不访问网络。",
        "Money is shown energy times shown price, rounded half to even to the cent; totals are the sums of the lines. "
        "One file; it asks no other host for anything.",
    )
    return (
        f"<footer><p>{text}</p><p>{code(statement.event_id)} · {both('版本', 'version')} {statement.version} · "
        f'SHA-256 <code class="hash">{page.issued.sha256}</code></p></footer>'
    )


def _printed_feet(page: Sheet) -> str:
    """Page margins with version, fingerprint and page number; a name cannot end the string, or the style."""
    statement = page.issued.statement
    parts = [_short(statement.event_id), _short(page.about), f"第 {statement.version} 版 version {statement.version}"]
    left = css_text(" · ".join(part for part in (*parts, page.stamp) if part))
    mark = css_text(f"SHA-256 {page.issued.sha256}")
    return (
        f"@media print{{@page{{size:A4 {'landscape' if page.landscape else 'portrait'};"
        f'@bottom-left{{content:"{left}\\a {mark}"}}@bottom-right{{content:counter(page) " / " counter(pages)}}}}}}'
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def css_text(text: str) -> str:
    """Text inside a CSS string: everything but letters, digits and a few signs by its number."""
    return "".join(one if _SAFE.fullmatch(one) else f"\\{ord(one):x} " for one in text)
