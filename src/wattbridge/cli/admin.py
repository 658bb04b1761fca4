"""``wattbridge admin``: tokens of the admin interface, and what was done with them."""

from __future__ import annotations

import json
import secrets
from functools import partial
from typing import Any, TextIO

from wattbridge.cli.asking import DONE, WRONG
from wattbridge.cli.listing import show_list, write_rows

SHORTEST = 16  # characters; what is shorter can be guessed
HEAD = ("time", "who", "from", "request", "status", "result")


def make_token(*, out: TextIO) -> int:
    """Print a new token, and its hash for the configuration."""
    token = secrets.token_urlsafe(32)
    out.write(f"token: {token}\nhash: {_hash(token)}\n")
    return DONE


def hash_token(text: str, *, out: TextIO, err: TextIO) -> int:
    """Print the hash of the token that *text* is. Returns 0, or 2 when it is none."""
    token = text.strip()
    problem = ""
    if not token.isascii() or not token.isprintable() or " " in token:
        problem = "the token has blanks, or other characters than those of ASCII"
    elif len(token) < SHORTEST:
        problem = f"the token has {len(token)} characters, expected at least {SHORTEST}: --new makes one"
    if problem:
        err.write(f"wattbridge: {problem}\n")
        return WRONG
    out.write(f"{_hash(token)}\n")
    return DONE


def list_audit(
    admin: str,
    token_file: str,
    *,
    who: str | None,
    most: int,
    as_json: bool,
    out: TextIO,
    err: TextIO,
) -> int:
    """Who did what, the latest first. Returns 0, or what a question to a gateway can come to."""
    write = partial(write_rows, HEAD, _cells, "nothing was done")
    return show_list(
        admin, token_file, "audit", {"who": who}, write, most=most, as_json=as_json, out=out, err=err
    )


def _hash(token: str) -> str:
    from wattbridge.operation.api.tokens import hash_token

    return hash_token(token)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    details = json.dumps(row["details"], ensure_ascii=False) if row["details"] is not None else ""
    request = f"{row['request']} {details}" if details else row["request"]
    return row["time"], row["who"], row["source"], request, str(row["status"]), row["result"]
