"""What an area of the admin API is made of: pages; and how a handler reads a request and answers it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from wattbridge.operation.api.refusals import malformed

LARGEST_REQUEST = 64 * 1024  # bytes
MOST_ROWS = 1000  # in one answer
MOST_REPORTS = 100  # likewise; a report is as long as a hundred rows
LONGEST_NUMBER = 40  # digits; OCPP sets no bound to a transactionId

Role = Literal["read", "operate", "admin"]
ROLES: tuple[Role, ...] = ("read", "operate", "admin")  # each may do what those before it may
Asked = TypeVar("Asked", bound=BaseModel)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Who:
    """Whoever asks: the name of the token, and what may be done with it. ``csrf`` is that of a session."""

    name: str
    role: Role
    csrf: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """One parameter behind the question mark, or a header. ``schema`` is that of OpenAPI."""

    name: str
    what: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One method of one path below ``/api/v1``: who may ask, who answers, and what it is for.

    A page without a role is for everybody. What takes more than ``read``, and is no GET, is an
    action, and noted in the audit log; a handler may say what was asked for, by ``note_details``. ``takes``
    is the shape of the body, ``gives`` that of the answer; ``refuses`` are the statuses of its own problems.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str  # "/queue/{charger}/{position}"
    role: Role | None
    answer: Handler
    what_for: str
    query: tuple[Query, ...] = ()
    headers: tuple[Query, ...] = ()
    takes: type[BaseModel] | None = None
    gives: type[BaseModel] | None = None
    refuses: tuple[int, ...] = ()
    media_type: str = "application/json"  # of the answer
    takes_media_type: str = "application/json"


# What the port knows of a request: who asks, and what goes into the audit log.
WHO = web.RequestKey("who", Who)
DETAILS = web.RequestKey("details", object)


def may(who: Who, role: Role) -> bool:
    return ROLES.index(who.role) >= ROLES.index(role)


def note_details(request: web.Request, details: Any) -> None:
    """What the audit log says of this request: JSON, without secrets."""
    request[DETAILS] = details


# --- what is asked


def limit(request: web.Request, most: int = MOST_ROWS) -> int:
    """``?limit=``: how many rows at most. Raises Refusal."""
    wanted = request.query.get("limit", str(most))
    if not wanted.isascii() or not wanted.isdecimal() or not 0 < int(wanted[:9]) <= most:
        raise malformed(f"limit: found {wanted[:60]!r}, expected 1 to {most}")
    return int(wanted)


def place_after(request: web.Request, *, any_size: bool = False) -> tuple[str, int] | None:
    """``?cursor=``: the last row of the page before, an identity, which may have a slash in it, and a number.

    Raises Refusal.
    """
    cursor = request.query.get("cursor")
    if cursor is None:
        return None
    identity, _, number = cursor.rpartition("/")
    return identity, a_number(number, "cursor", any_size=any_size)


def state(request: web.Request, *states: str) -> str:
    """``?state=``, one of *states*, or an empty text. Raises Refusal."""
    wanted = request.query.get("state", "")
    if wanted not in ("", *states):
        raise malformed(f"state: found {wanted[:60]!r}, expected {' or '.join(states)}")
    return wanted


def place(request: web.Request, name: str, *, any_size: bool = False) -> tuple[str, int]:
    """Charge point and number of the path. Raises Refusal."""
    return request.match_info["charger"], a_number(request.match_info[name], name, any_size=any_size)


def a_number(text: str, name: str, *, any_size: bool = False) -> int:
    """Raises Refusal when *text*, which was said for *name*, is none, or none that a store has.

    *any_size* is for the numbers of transactions, to which OCPP sets no bound.
    """
    if not re.fullmatch(rf"-?[0-9]{{1,{LONGEST_NUMBER}}}", text):
        raise malformed(f"{name}: found {text[:60]!r}, expected a number")
    number = int(text)
    if not any_size and abs(number) >= 1 << 63:
        raise malformed(f"{name}: found {text}, which is larger than any number here")
    return number


async def asked(request: web.Request, kind: type[Asked]) -> Asked:
    """The body, which has to be of this *kind*. Raises Refusal, which names the first field that is not."""
    try:
        return kind.model_validate_json(await request.read(), strict=True)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise malformed(f"{where}: {first['msg']}" if where else f"the body: {first['msg']}") from None


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
