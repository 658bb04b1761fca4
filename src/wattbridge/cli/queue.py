"""``wattbridge queue``: the messages that a running gateway keeps for central systems that were away."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any, TextIO

from wattbridge.cli.asking import DONE, REFUSED, WRONG, Admin, Failed, path_of
from wattbridge.cli.listing import pages, show_list, write_facts, write_json, write_rows
from wattbridge.cli.tables import ago
from wattbridge.counting import counted
from wattbridge.ocpp.printable import printable_json

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
    query = {"charger": charger, "state": state}
    write = partial(write_rows, HEAD, _cells, "nothing waits")
    return show_list(admin, token_file, "queue", query, write, most=most, as_json=as_json, out=out, err=err)


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
    write_json(payload, out)
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
                out.write(printable_json(json.dumps(answer.content, ensure_ascii=False)) + "\n")
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
