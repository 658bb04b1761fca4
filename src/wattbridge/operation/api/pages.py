"""What an area of the admin API is made of: pages; and how a handler reads a request and answers it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from aiohttp import web

from wattbridge.operation.api.refusals import Refusal, malformed

LARGEST_REQUEST = 64 * 1024  # bytes
MOST_ROWS = 1000  # in one answer
MOST_REPORTS = 100  # likewise; a report is as long as a hundred rows
LONGEST_NUMBER = 40  # digits; OCPP sets no bound to a transactionId

Role = Literal["read", "operate", "admin"]
ROLES: tuple[Role, ...] = ("read", "operate", "admin")  # each may do what those before it may
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Page:
    """One method of one path below ``/api/v1``: who may ask, who answers, and what it is for."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str  # "/queue/{charger}/{position}"
    role: Role
    answer: Handler
    what_for: str


# --- what is asked


def limit(request: web.Request, most: int = MOST_ROWS) -> int:
    """``?limit=``: how many rows at most. Raises Refusal."""
    wanted = request.query.get("limit", str(most))
    if not wanted.isascii() or not wanted.isdecimal() or not 0 < int(wanted[:9]) <= most:
        raise malformed(f"limit: found {wanted[:60]!r}, expected 1 to {most}")
    return int(wanted)


def place_after(request: web.Request) -> tuple[str, int] | None:
    """``?cursor=``: the last row of the page before, an identity, which may have a slash in it, and a number.

    Raises Refusal.
    """
    cursor = request.query.get("cursor")
    if cursor is None:
        return None
    identity, _, number = cursor.rpartition("/")
    return identity, a_number(number, "cursor")


def state(request: web.Request, *states: str) -> str:
    """``?state=``, one of *states*, or an empty text. Raises Refusal."""
    wanted = request.query.get("state", "")
    if wanted not in ("", *states):
        raise malformed(f"state: found {wanted[:60]!r}, expected {' or '.join(states)}")
    return wanted


def place(request: web.Request, name: str) -> tuple[str, int]:
    """Charge point and number of the path. Raises Refusal."""
    return request.match_info["charger"], a_number(request.match_info[name], name)


def a_number(text: str, name: str) -> int:
    """Raises Refusal when *text*, which was said for *name*, is none."""
    if not re.fullmatch(rf"-?[0-9]{{1,{LONGEST_NUMBER}}}", text):
        raise malformed(f"{name}: found {text[:60]!r}, expected a number")
    return int(text)


async def an_object(request: web.Request, example: dict[str, Any]) -> dict[str, Any]:
    """The body, which has to be an object like *example*. Raises Refusal."""
    try:
        asked = json.loads(await request.read())
    except ValueError as bad:
        raise malformed(f"the body is not JSON: {bad}") from None
    if not isinstance(asked, dict):
        raise malformed(f"expected an object, such as {json.dumps(example)}")
    return asked


def flag(request: web.Request, name: str) -> bool:
    """``?move=1``: whether it is set. Raises Refusal."""
    value = request.query.get(name, "0").lower()
    if value in ("1", "true", "yes", ""):
        return True
    if value in ("0", "false", "no"):
        return False
    raise malformed(f"{name}: found {value[:60]!r}, expected 1 or 0")


# --- what is answered


def rows(name: str, found: list[dict[str, Any]], cursor: str | None) -> web.Response:
    """One page of a list, and the cursor that gives the next, where there may be one."""
    return answered({name: found} if cursor is None else {name: found, "cursor": cursor})


def answered(answer: Any) -> web.Response:
    """*answer* as JSON, with 200."""
    try:
        body = orjson.dumps(answer)
    except TypeError:  # an integer beyond 64 bits, or half of a surrogate pair, both of which OCPP-J can say
        body = json.dumps(answer).encode()
    return web.Response(body=body, content_type="application/json")


__all__ = [
    "LARGEST_REQUEST",
    "MOST_REPORTS",
    "MOST_ROWS",
    "ROLES",
    "Handler",
    "Page",
    "Refusal",
    "Role",
    "a_number",
    "an_object",
    "answered",
    "flag",
    "limit",
    "malformed",
    "place",
    "place_after",
    "rows",
    "state",
]
