"""How commands show what a running gateway tells, for people or as JSON: lists, page by page, and single
things.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from wattbridge.cli.asking import DONE, Admin, Failed
from wattbridge.cli.tables import write_table
from wattbridge.ocpp.printable import printable, printable_json

PAGE = 1000  # rows that are asked for at a time

Row = dict[str, Any]


def show_list(
    admin: str,
    token_file: str,
    name: str,
    query: Mapping[str, str | None],
    write: Callable[[Sequence[Row], TextIO], None],
    page_size: int | None = None,
    *,
    told: Callable[[Row], Row] | None = None,
    most: int,
    as_json: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """The list *name* of the API, at most so many rows: as JSON, or as *write* writes it for people.

    *told* gives what may be seen of a row. Returns 0, or what a question to a gateway can come to.
    """
    try:
        rows, more = pages(Admin(admin, token_file, err), name, query, most, page_size)
    except Failed as failed:
        return failed.code
    if told is not None:
        rows = [told(row) for row in rows]
    if as_json:
        write_json(rows, out)
    else:
        write(rows, out)
    if more:
        err.write(f"there is more: --limit {most} was reached\n")
    return DONE


def pages(
    gateway: Admin, name: str, query: Mapping[str, str | None], most: float, page_size: int | None = None
) -> tuple[list[Row], bool]:
    """The rows of a list of the API, page by page, at most so many; and whether there are more."""
    asked = {key: value for key, value in query.items() if value}
    rows: list[Row] = []
    while True:
        page = gateway.get("GET", name, asked | {"limit": str(page_size or PAGE)})
        rows += page[name]
        if len(rows) > most:
            return rows[: int(most)], True
        if "cursor" not in page:
            return rows, False
        asked["cursor"] = page["cursor"]


def write_rows(
    head: Sequence[str],
    cells: Callable[[Row], Sequence[str]],
    nothing: str,
    rows: Sequence[Row],
    out: TextIO,
) -> None:
    """A table, or the words for there being nothing in it."""
    if rows:
        write_table(head, map(cells, rows), out)
    else:
        out.write(f"{nothing}\n")


def write_json(report: Any, out: TextIO) -> None:
    out.write(printable_json(json.dumps(report, indent=2, ensure_ascii=False)) + "\n")


def write_facts(facts: Row, out: TextIO) -> None:
    """A line for each fact there is."""
    told = {name: value for name, value in facts.items() if value not in (None, "")}
    width = max(map(len, told))
    for name, value in told.items():
        shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
        out.write(f"{name.replace('_', ' ').ljust(width)}  {printable(str(shown))}\n")
