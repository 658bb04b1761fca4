"""``wattbridge upstreams``: the central systems of a running gateway, and whether they are in service."""

from __future__ import annotations

from functools import partial
from typing import Any, TextIO

from wattbridge.cli.asking import DONE, Admin, Failed, path_of
from wattbridge.cli.listing import write_json, write_rows

HEAD = ("upstream", "speaks", "state", "up", "open", "trying", "routes")

# What is so from now on.
MEANS = {
    "ready": "is in service: charge points are connected to it",
    "drain": "is being drained: what is connected goes on, nothing is connected anew",
    "maint": "is in maintenance: nothing goes there",
}


def list_upstreams(admin: str, token_file: str, *, as_json: bool, out: TextIO, err: TextIO) -> int:
    """Returns 0, or what a question to a gateway can come to."""
    try:
        rows = Admin(admin, token_file, err).get("GET", "upstreams")["upstreams"]
    except Failed as failed:
        return failed.code
    write = write_json if as_json else partial(write_rows, HEAD, _cells, "no central systems")
    write(rows, out)
    return DONE


def set_state(admin: str, token_file: str, upstream: str, state: str, *, out: TextIO, err: TextIO) -> int:
    """Take a central system out of service, or back. Returns 0, 1 when there is none of this name, or what a
    question to a gateway can come to."""
    try:
        path = path_of("upstreams", upstream, "state")
        row = Admin(admin, token_file, err).get("PUT", path, body={"state": state})
    except Failed as failed:
        return failed.code
    out.write(f"ok: {row['upstream']} {MEANS[row['state']]}\n")
    return DONE


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    sessions = row["sessions"]
    return (
        row["upstream"],
        row["protocol"],
        row["state"],
        {True: "yes", False: "no", None: ""}[row["up"]],
        str(sessions["open"]),
        str(sessions["connecting"] + sessions["backoff"]),
        ", ".join(row["routes"]),
    )
