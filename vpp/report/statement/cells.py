"""Tables and badges of a statement: HTML in, HTML out; whoever puts text into a cell has escaped it."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape

from vpp.report.statement.numbers import HIGH, in_band, percent_of
from vpp.report.words import both

Row = Sequence[str]
SHORT = 14


def sheet(
    head: Sequence[tuple[str, str]],
    rows: Iterable[Row],
    *,
    foot: Row = (),
    texts: int = 1,
    tag: str = "",
) -> str:
    """A table whose first ``texts`` columns are words and all others numbers; ``tag`` marks its rows."""
    kinds = ["" if index < texts else "num" for index in range(len(head))]
    top = "".join(f'<th scope="col" class="{kind}">{both(*name)}</th>' for kind, name in zip(kinds, head, strict=True))
    mark = f' class="{tag}"' if tag else ""
    body = [f"<tr{mark}>{_cells('td', kinds, row)}</tr>" for row in rows]
    short = ' class="short"' if len(body) <= SHORT else ""  # printed in one piece, with its total
    last = f"<tfoot><tr>{_cells('td', kinds, foot)}</tr></tfoot>" if foot else ""
    rows_told = "".join(body)
    return (
        f'<div class="scroll"><table{short}><thead><tr>{top}</tr></thead><tbody>{rows_told}</tbody>{last}</table></div>'
    )


def _cells(element: str, kinds: Sequence[str], row: Row) -> str:
    return "".join(
        f'<{element} class="{kind}">{cell}</{element}>' if kind else f"<{element}>{cell}</{element}>"
        for kind, cell in zip(kinds, row, strict=True)
    )


def badge(kind: str, zh: str, en: str) -> str:
    """A word in a box."""
    return f'<span class="badge {kind}">{both(zh, en)}</span>'


def ratio_cell(ratio: Decimal | None) -> str:
    """A ratio with its verdict as sign and colour; what the sign means stands in the note of the table."""
    if ratio is None:
        return "–"
    good = in_band(ratio)
    sign = "✓" if good else "▲" if ratio > HIGH else "▼"
    return f'<span class="ratio {"good" if good else "bad"}">{percent_of(ratio)} <b>{sign}</b></span>'


SIGNS = (
    "✓ 在中标量的 90–110 % 内；▼ 低于 90 %；▲ 高于 110 %。",
    "✓ within 90–110 % of the award; ▼ below 90 %; ▲ above 110 %.",
)


def note(zh: str, en: str) -> str:
    """A small paragraph below a table."""
    return f'<p class="note">{both(zh, en)}</p>'


def code(text: str) -> str:
    """A name of the computer's, escaped; long ones may break anywhere."""
    return f"<code>{escape(text)}</code>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Name and value, one under the other."""
    return '<dl class="facts">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in pairs) + "</dl>"


def folded(zh: str, en: str, body: str) -> str:
    """What most readers need not see on the screen; opened for print."""
    return f"<details><summary>{both(zh, en)}</summary>{body}</details>"


def section(name: str, zh: str, en: str, body: str) -> str:
    """A part of the page with a heading."""
    return f'<section id="{name}"><h2>{both(zh, en)}</h2>{body}</section>'


ACROSS = 8
"""So many hours stand beside each other; a longer event has several tables."""


def across(windows: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], name: tuple[str, str]) -> str:
    """A table of figures by period, the periods beside each other; ``rows``: who, and its cells in HTML."""
    tables = []
    for low in range(0, len(windows), ACROSS):
        part = slice(low, low + ACROSS)
        top = "".join(f'<th scope="col" class="num">{window}</th>' for window in windows[part])
        body = "".join(
            f"<tr><td>{who}</td>{''.join(f'<td class=num>{cell}</td>' for cell in cells[part])}</tr>"
            for who, cells in rows
        )
        tables.append(
            f'<div class="scroll"><table class="across"><thead><tr><th scope="col">{both(*name)}</th>{top}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )
    return "".join(tables)
