"""Charge points: who is there, what they and their central systems speak, what it costs; and to call one."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api import models
from wattbridge.operation.api.pages import (
    MOST_REPORTS,
    MOST_ROWS,
    WHO,
    Page,
    Query,
    answered,
    asked,
    limit,
    note_details,
    rows,
    state,
)
from wattbridge.operation.api.refusals import Refusal, malformed

STATES = ("connected", "stale", "offline", "unknown")
PLACE = r"^.*/-?[0-9]{1,40}$"  # a charge point and a number
MOST_KEYS = 1000  # of idempotency, that are remembered
LONGEST_KEY = 200  # characters


class Chargers(Protocol):
    def list_sessions(self, after: str, most: int) -> list[dict[str, Any]]: ...

    def show_session(self, identity: str) -> dict[str, Any]: ...

    def close_session(self, identity: str) -> dict[str, Any]: ...

    def move(self, identity: str) -> dict[str, Any]: ...

    async def list_chargers(
        self, after: str, most: int, state: str = "", q: str = ""
    ) -> list[dict[str, Any]]: ...

    async def show_charger(self, identity: str) -> dict[str, Any]: ...

    async def test_callback(self, identity: str) -> dict[str, Any]: ...

    async def call(self, identity: str, action: str, payload: dict[str, Any]) -> dict[str, Any]: ...

    def told_of_call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """What the audit log says of a call: nothing that is secret."""
        ...

    async def allow(self, identity: str) -> dict[str, Any]: ...

    async def forget(self, identity: str) -> dict[str, Any]: ...

    async def list_reports(self, after: str, most: int) -> list[dict[str, Any]]: ...

    async def show_report(self, identity: str) -> dict[str, Any]: ...


def paging(most: int = MOST_ROWS, cursor: str = "") -> tuple[Query, ...]:
    """The parameters of a list that comes page by page; *cursor* is the pattern of what the last one gave."""
    pattern = {"pattern": cursor} if cursor else {}
    return (
        Query("limit", "how many at most", {"type": "integer", "minimum": 1, "maximum": most}),
        Query("cursor", "what the page before gave", {"type": "string", **pattern}),
    )


def pages(gateway: Chargers) -> list[Page]:
    done_before = _Once()

    async def sessions(request: web.Request) -> web.Response:
        most = limit(request)
        found = gateway.list_sessions(request.query.get("cursor", ""), most)
        return rows("sessions", found, found[-1]["charger"] if len(found) == most else None)

    async def session(request: web.Request) -> web.Response:
        return answered(gateway.show_session(request.match_info["charger"]))

    async def close_session(request: web.Request) -> web.Response:
        return answered(gateway.close_session(request.match_info["charger"]))

    async def move(request: web.Request) -> web.Response:
        return answered(gateway.move(request.match_info["charger"]))

    async def chargers(request: web.Request) -> web.Response:
        most = limit(request)
        found = await gateway.list_chargers(
            request.query.get("cursor", ""), most, state(request, *STATES), request.query.get("q", "")
        )
        return rows("chargers", found, found[-1]["charger"] if len(found) == most else None)

    async def charger(request: web.Request) -> web.Response:
        return answered(await gateway.show_charger(request.match_info["charger"]))

    async def test_callback(request: web.Request) -> web.Response:
        return answered(await gateway.test_callback(request.match_info["charger"]))

    async def call(request: web.Request) -> web.Response:
        wanted = await asked(request, models.OperatorCall)
        identity, action, payload = request.match_info["charger"], wanted.action, wanted.payload
        note_details(request, gateway.told_of_call(action, payload))
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > LONGEST_KEY:
            raise malformed(f"Idempotency-Key: has {len(key)} characters, expected at most {LONGEST_KEY}")
        if not key:
            return answered(await gateway.call(identity, action, payload))
        what = json.dumps([identity, action, payload], sort_keys=True)
        future, first = done_before.of((request[WHO].name, key), what)
        if first:
            await _run_into(future, gateway.call(identity, action, payload))
        return answered(await asyncio.shield(future))

    async def allow(request: web.Request) -> web.Response:
        return answered(await gateway.allow(request.match_info["charger"]))

    async def forget(request: web.Request) -> web.Response:
        return answered(await gateway.forget(request.match_info["charger"]))

    async def reports(request: web.Request) -> web.Response:
        most = limit(request, MOST_REPORTS)
        found = await gateway.list_reports(request.query.get("cursor", ""), most)
        return rows("reports", found, found[-1]["charger"] if len(found) == most else None)

    async def report(request: web.Request) -> web.Response:
        return answered(await gateway.show_report(request.match_info["charger"]))

    one = "/chargers/{charger}"
    return [
        Page(
            *("GET", "/sessions", "read", sessions, "the charge points that are there, by identity"),
            query=paging(),
            gives=models.Sessions,
        ),
        Page(
            *("GET", "/sessions/{charger}", "read", session, "one of them"),
            gives=models.Session,
            refuses=(404,),
        ),
        Page(
            *("DELETE", "/sessions/{charger}", "operate", close_session, "close it; it may come back"),
            gives=models.Session,
            refuses=(404,),
        ),
        Page(
            *("GET", "/chargers", "read", chargers, "the charge points that are known, or want to be"),
            query=(
                Query("state", "only those", {"type": "string", "enum": list(STATES)}),
                Query(
                    "q", "only those with this in their identity, version, vendor, model, route or upstream"
                ),
                *paging(),
            ),
            gives=models.Chargers,
        ),
        Page("GET", one, "read", charger, "everything about one", gives=models.ShownCharger, refuses=(404,)),
        Page(
            *("DELETE", one, "operate", forget, "forget one that is gone for good"),
            gives=models.Forgotten,
            refuses=(404, 409),
        ),
        Page(
            *("POST", f"{one}/kick", "operate", close_session, "close its connections; it may come back"),
            gives=models.Session,
            refuses=(404,),
        ),
        Page(
            *("POST", f"{one}/callback-test", "operate", test_callback, "try whether it can be called"),
            gives=models.CallbackTest,
            refuses=(404, 409),
        ),
        Page(
            *("POST", f"{one}/calls", "operate", call, "call it, as its central system would"),
            headers=(
                Query(
                    *("Idempotency-Key", "with the same key it is called once"),
                    {"type": "string", "maxLength": LONGEST_KEY},
                ),
            ),
            takes=models.OperatorCall,
            gives=models.CallAnswer,
            refuses=(404, 409, 422),
        ),
        Page(
            *("POST", f"{one}/allow", "operate", allow, "what would list it in the configuration"),
            gives=models.Allow,
            refuses=(400, 409),
        ),
        Page(
            *("POST", f"{one}/move", "operate", move, "send its session where its route now leads"),
            gives=models.Moved,
            refuses=(404,),
        ),
        Page(
            *("GET", "/reports", "read", reports, "what is lost, changed and answered on the way"),
            query=paging(MOST_REPORTS),
            gives=models.Reports,
        ),
        Page(
            *("GET", "/reports/{charger}", "read", report, "the same of one charge point"),
            gives=models.Report,
            refuses=(404,),
        ),
    ]


Key = tuple[str, str]  # the name of a token, and what its owner calls one request


class _Once:
    """What was asked for under a key is done once; who asks again with the same key gets the same answer."""

    def __init__(self) -> None:
        self._done: OrderedDict[Key, tuple[bytes, asyncio.Future[dict[str, Any]]]] = OrderedDict()

    def of(self, key: Key, what: str) -> tuple[asyncio.Future[dict[str, Any]], bool]:
        """The answer, and whether whoever asks is the first and has to bring it. Raises Refusal."""
        digest = hashlib.sha256(what.encode(errors="replace")).digest()
        known = self._done.get(key)
        if known is not None:
            if known[0] != digest:
                raise Refusal(409, "refused", "this Idempotency-Key was used for another request")
            if not known[1].cancelled():
                return known[1], False
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._done[key] = digest, future
        while len(self._done) > MOST_KEYS:
            self._done.popitem(last=False)
        return future, True


async def _run_into(future: asyncio.Future[dict[str, Any]], answer: Any) -> None:
    try:
        future.set_result(await answer)
    except BaseException as problem:
        if isinstance(problem, Exception):
            future.set_exception(problem)
            future.exception()  # whoever waits gets it; when nobody does, it is not complained of
        else:
            future.cancel()
            raise
