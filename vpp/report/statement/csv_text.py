"""CSV as spreadsheets want it: UTF-8 with a byte order mark, comma, CRLF; in chunks of text.

A cell of text that begins like a formula gets an apostrophe before it, since spreadsheets would run it.  Names that
came in by the door begin with a letter or a digit, so that theirs never changes; numbers are no text.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

BOM = "\ufeff"
ROWS = 1000
"""So many rows make a chunk: some hundred kilobytes."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_chunks(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The mark and the head, then the rows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    buffer.write(BOM)
    writer.writerow(head)
    for number, row in enumerate(rows, start=1):
        writer.writerow(row)
        if number % ROWS == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()
