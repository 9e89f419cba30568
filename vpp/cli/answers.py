"""How commands answer: one JSON document with ``--json``, else text and tables for people."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]


def answer(data: Any, as_json: bool, text: str = "") -> None:
    """Say it to a program or to a person."""
    typer.echo(json.dumps(data, default=str, ensure_ascii=False) if as_json else text)


def answer_rows(rows: Sequence[Mapping[str, Any]], as_json: bool, nothing: str) -> None:
    """A list: JSON, or a table with the keys of its first row as headings."""
    if as_json or not rows:
        answer(rows, as_json, nothing)
        return
    table = Table(box=None, header_style="bold")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else escape(str(value)) for value in row.values()))
    console = Console(highlight=False)
    # into a file or a pipe nothing is squeezed: whoever reads it there wants whole words
    (console if console.is_terminal else Console(highlight=False, width=250)).print(table)
