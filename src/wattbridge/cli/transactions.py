"""``wattbridge transactions``: the transactions of a running gateway, with their numbers on either side."""

from __future__ import annotations

from functools import partial
from typing import Any, TextIO

from wattbridge.cli.asking import DONE, Admin, Failed, path_of
from wattbridge.cli.listing import show_list, write_facts, write_json, write_rows

HEAD = ("charger", "number", "at the central system", "connector", "idTag", "started", "state")


def list_transactions(
    admin: str,
    token_file: str,
    *,
    charger: str | None,
    state: str | None,
    most: int,
    reveal: bool,
    as_json: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """What is known of transactions; idTags whole only with *reveal*.

    Returns 0, or what a question to a gateway can come to.
    """
    query = {"charger": charger, "state": state}
    write = partial(write_rows, HEAD, _cells, "no transactions")
    told = partial(_redacted, reveal=reveal)
    return show_list(
        admin,
        token_file,
        "transactions",
        query,
        write,
        told=told,
        most=most,
        as_json=as_json,
        out=out,
        err=err,
    )


def show(
    admin: str,
    token_file: str,
    charger: str,
    number: int,
    *,
    reveal: bool,
    as_json: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """One transaction. Returns 0, 1 when there is none, or what a question to a gateway can come to."""
    try:
        row = Admin(admin, token_file, err).get("GET", path_of("transactions", charger, number))
    except Failed as failed:
        return failed.code
    row = _redacted(row, reveal=reveal)
    if as_json:
        write_json(row, out)
    else:
        write_facts(row, out)
    return DONE


def set_number(
    admin: str, token_file: str, charger: str, number: int, remote_id: int, *, out: TextIO, err: TextIO
) -> int:
    """Say which number a transaction has at its central system. Returns as ``show`` does."""
    try:
        path = path_of("transactions", charger, number)
        row = Admin(admin, token_file, err).get("PUT", path, body={"remote_id": remote_id})
    except Failed as failed:
        return failed.code
    out.write(f"ok: {charger} {row['number']} is {row['remote_id']} at its central system\n")
    return DONE


def _redacted(row: dict[str, Any], *, reveal: bool) -> dict[str, Any]:
    """Whoever knows an idTag can charge with it; two signs of it tell it from others."""
    return row if reveal or not row["id_tag"] else {**row, "id_tag": f"{row['id_tag'][:2]}…"}


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    remote_id = "" if row["remote_id"] is None else str(row["remote_id"])
    number = f"{row['number']} (ours)" if row["provisional"] else str(row["number"])
    return (
        row["charger"], number, remote_id, row["connector_id"], row["id_tag"], row["started"], row["state"]
    )  # fmt: skip
