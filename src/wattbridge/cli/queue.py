"""``wattbridge queue``: the messages that a running gateway keeps for central systems that were away."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from wattbridge.cli.asking import DONE, REFUSED, WRONG, Admin, Failed, path_of
from wattbridge.cli.tables import ago, write_table
from wattbridge.counting import counted

PAGE = 1000  # rows that are asked for at a time

HEAD = ("charger", "position", "action", "state", "kept", "refusals", "problem")


def list_waiting(
    admin: str,
    token_file: str,
    *,
    charger: str | None,
    state: str | None,
    most: int,
    as_json: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """What waits, in its order; at most so many. Returns 0, or what a question to a gateway can come to."""
    try:
        gateway = Admin(admin, token_file, err)
        rows, more = pages(gateway, "queue", {"charger": charger, "state": state}, most)
    except Failed as failed:
        return failed.code
    if as_json:
        write_json(rows, out)
    else:
        write_rows(HEAD, map(_cells, rows), "nothing waits", out)
    if more:
        tell_of_more(most, err)
    return DONE


def show(
    admin: str, token_file: str, charger: str, position: int, *, as_json: bool, out: TextIO, err: TextIO
) -> int:
    """One message whole. Returns 0, 1 when there is none, or what a question to a gateway can come to."""
    try:
        row = Admin(admin, token_file, err).get("GET", path_of("queue", charger, position))
    except Failed as failed:
        return failed.code
    if as_json:
        write_json(row, out)
        return DONE
    payload = row.pop("payload")
    write_facts(row | {"kept": f"{row['kept']}, {ago(row.pop('kept_seconds'))} ago"}, out)
    out.write(json.dumps(payload, indent=2, ensure_ascii=False) + "\n")
    return DONE


def retry(admin: str, token_file: str, charger: str, position: int, *, out: TextIO, err: TextIO) -> int:
    """Have one message sent at once. Returns as ``show`` does."""
    try:
        Admin(admin, token_file, err).get("POST", path_of("queue", charger, position, "retry"))
    except Failed as failed:
        return failed.code
    out.write(f"ok: {charger} {position} is sent again\n")
    return DONE


def drop(
    admin: str,
    token_file: str,
    charger: str,
    position: int | None,
    *,
    older: float | None,
    sure: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """Have messages never sent: that at *position*, or all that are kept for *older* seconds.

    Each is written whole before it is dropped, one JSON object a line, so that it can be kept by hand.
    Returns 0, 1 when one of them is not there, 2 unless *sure*, or what a question to a gateway can come to.
    """
    code = DONE
    try:
        gateway = Admin(admin, token_file, err)
        if position is not None:
            wanted = [position]
        else:
            rows, _ = pages(gateway, "queue", {"charger": charger}, math.inf)
            wanted = [row["position"] for row in rows if row["kept_seconds"] >= (older or 0.0)]
        dropped = 0
        for each in wanted:
            path = path_of("queue", charger, each)
            answer = gateway.ask("GET", path)
            if answer.status == 200:
                out.write(json.dumps(answer.content, ensure_ascii=False) + "\n")
                out.flush()  # before it is gone elsewhere
                if sure:
                    answer = gateway.ask("DELETE", path)
            if answer.status == 200:
                dropped += 1
            else:
                err.write(f"wattbridge: {answer.title}\n")
                code = REFUSED
    except Failed as failed:
        return failed.code
    if not sure and dropped:
        err.write(f"nothing is dropped; with --yes {counted(dropped, 'message')} would be, and never sent\n")
        return WRONG
    err.write(f"{counted(dropped, 'message')} dropped\n")
    return code


def pages(
    gateway: Admin, name: str, query: dict[str, str | None], most: float, page_size: int | None = None
) -> tuple[list[dict[str, Any]], bool]:
    """The rows of a list of the API, page by page, at most so many; and whether there are more."""
    asked = {key: value for key, value in query.items() if value}
    rows: list[dict[str, Any]] = []
    while True:
        page = gateway.get("GET", name, asked | {"limit": str(page_size or PAGE)})
        rows += page[name]
        if len(rows) > most:
            return rows[: int(most)], True
        if "cursor" not in page:
            return rows, False
        asked["cursor"] = page["cursor"]


def write_rows(head: Sequence[str], rows: Iterable[Sequence[str]], nothing: str, out: TextIO) -> None:
    """A table, or the words for there being nothing in it."""
    listed = list(rows)
    if listed:
        write_table(head, listed, out)
    else:
        out.write(f"{nothing}\n")


def tell_of_more(most: int, err: TextIO) -> None:
    err.write(f"there is more: --limit {most} was reached\n")


def write_json(report: Any, out: TextIO) -> None:
    out.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def write_facts(facts: dict[str, Any], out: TextIO) -> None:
    """A line for each fact there is."""
    told = {name: value for name, value in facts.items() if value not in (None, "")}
    width = max(map(len, told))
    for name, value in told.items():
        shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
        out.write(f"{name.replace('_', ' ').ljust(width)}  {shown}\n")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["charger"],
        str(row["position"]),
        row["action"],
        row["state"],
        ago(row["kept_seconds"]),
        str(row["refusals"]),
        row["problem"] or (f"only {row['upstream']} may get it" if row.get("upstream") else ""),
    )
