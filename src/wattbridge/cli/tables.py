"""Tables for people, as commands print them."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO

from wattbridge.ocpp.printable import printable

WIDEST = 60  # signs of a column
_LINE_BREAKS = re.compile(r"[\t\n\r\v\f]")
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def write_table(head: Sequence[str], rows: Iterable[Sequence[str]], out: TextIO) -> None:
    """Columns as wide as what is in them, two blanks apart.

    What is longer than anything that is meant for people is cut, but for the last column.
    """
    lines = [tuple(head), *(tuple(map(_cell, row, range(len(row), 0, -1))) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        out.write(f"{'  '.join(cells).rstrip()}\n")


def _cell(text: str, columns_left: int) -> str:
    shown = printable(" ".join(text.split())) or "-"
    return shown if columns_left == 1 or len(shown) <= WIDEST else f"{shown[: WIDEST - 1]}…"


def columns_of(out: TextIO) -> int:
    """How wide texts are: for reading, whatever the width of the screen; narrower where the terminal is."""
    return min(100, max(60, shutil.get_terminal_size().columns)) if out.isatty() else 100


def wrapped(text: str, indent: str, columns: int, *, hang: str = "  ") -> list[str]:
    """*text* in lines of so many columns, all behind *indent*, those after the first behind *hang* too."""
    return textwrap.wrap(
        printable(_LINE_BREAKS.sub(" ", text)),
        columns,
        initial_indent=indent,
        subsequent_indent=indent + hang,
        break_on_hyphens=False,
    )


def ago(seconds: float) -> str:
    """``"3d 4h"``, ``"12m 5s"``, ``"0s"``: how long, in its two largest units."""
    left = int(seconds)
    told: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or told:
            told.append(f"{count}{unit}" if count else "")
        if len(told) == 2:
            break
    return " ".join(part for part in told if part) or "0s"
