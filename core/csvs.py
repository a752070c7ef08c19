"""CSV that people open in spreadsheets: no cell of a stranger becomes a formula there."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

FORMULA_SIGNS = tuple("=+-@\t\r\n\0＝＋－＠")


def inert(value: Any) -> Any:
    """Keep a spreadsheet from taking a text for a formula; numbers stay numbers."""
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA_SIGNS):
        return f"'{value}"
    return value


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV (RFC 4180), every cell inert."""
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(header)
    for row in rows:
        writer.writerow([inert(cell) for cell in row])
    return sink.getvalue()
