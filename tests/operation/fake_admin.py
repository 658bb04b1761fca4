"""An admin port with nothing behind it: the console's other half, in the words of the admin API.

What it answers is made up, but of the right shape; what it was asked to do it remembers. Tests change what
there is as they go.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

from aiohttp import web

from wattbridge.operation.api import Site

TOKENS = {"token-of-admin": "admin", "token-of-operator": "operate", "token-of-reader": "read"}
CSRF = "one-for-the-page"
ROLE = web.RequestKey("role", str)

SOAP_CALL = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:o="urn://Ocpp/Cs/2015/10/" '
    'xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><o:chargeBoxIdentity>BER-0001</o:chargeBoxIdentity>'
    "<a:Action>/MeterValues</a:Action><a:MessageID>urn:uuid:17</a:MessageID></s:Header><s:Body>"
    "<o:meterValuesRequest><o:connectorId>1</o:connectorId><o:transactionId>4711</o:transactionId><o:meterValue>"
    "<o:timestamp>2026-11-27T11:30:06.250+01:00</o:timestamp><o:sampledValue><o:value>1250.0</o:value>"
    "<o:measurand>Energy.Active.Import.Register</o:measurand><o:unit>Wh</o:unit></o:sampledValue><o:sampledValue>"
    "<o:value>16.1</o:value><o:measurand>Current.Import</o:measurand><o:phase></o:phase></o:sampledValue>"
    "</o:meterValue><o:mood>fine</o:mood></o:meterValuesRequest></s:Body></s:Envelope>"
)
JSON_CALL = (
    '[2,"7d1c9a52-6f0e","MeterValues",{"connectorId":1,"transactionId":4711,"meterValue":[{"timestamp":'
    '"2026-11-27T10:30:06Z","sampledValue":[{"value":"1250.0","measurand":"Energy.Active.Import.Register","unit":'
    '"Wh"},{"value":"16.1","measurand":"Current.Import"}]}]}]'
)
SOAP_REPLY = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body>'
    '<o:meterValuesResponse xmlns:o="urn://Ocpp/Cs/2015/10/"/></s:Body></s:Envelope>'
)
JSON_REPLY = '[3,"7d1c9a52-6f0e",{}]'
RESET = '[2,"4f","Reset",{"type":"Soft"}]'

NOTES = [
    {
        "side": "charger",
        "message": "call",
        "what": "changed",
        "path": "MeterValues.meterValue[0].timestamp",
        "value": "2026-11-27T11:30:06.250+01:00",
        "became": "2026-11-27T10:30:06Z",
        "rule": "to-utc",
        "reason": "",
        "said": "a time with an offset was written in UTC",
    },
    {
        "side": "charger",
        "message": "call",
        "what": "lost",
        "path": "MeterValues.mood",
        "value": "fine",
        "became": "",
        "rule": "unknown-field",
        "reason": "found mood, expected no such field",
        "said": "OCPP has no such field here",
    },
]
REFUSED: list[dict[str, Any]] = [
    {
        "file": "gateway.yaml",
        "line": 14,
        "column": 5,
        "path": "routes.2.upstream",
        "message": "no upstream 'mian' (did you mean 'main'?)",
        "severity": "error",
    }
]


def at(seconds_ago: float) -> str:
    """A time of the API's: RFC 3339, UTC, milliseconds."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def a_row(number: int, **changed: Any) -> dict[str, Any]:
    """One message as it stands in a list."""
    return {
        "number": number,
        "time": at(0),
        "charger": "BER-0001",
        "action": "MeterValues",
        "direction": "to_csms",
        "charger_transport": "soap",
        "csms_transport": "json",
        "charger_version": "1.6",
        "csms_version": "1.6",
        "outcome": "ok",
        "reason": "",
        "ms": 7.4,
        "peer_ms": 6.9,
        "route": "acme",
        "upstream": "cloud",
        "profile": "keba",
        "losses": 1,
        "changes": 1,
    } | changed


def a_charger(identity: str, **changed: Any) -> dict[str, Any]:
    return {
        "charger": identity,
        "charger_dialect": "soap 1.6",
        "vendor": "ACME",
        "model": "CC-1",
        "firmware": "1.3.2",
        "profile": None,
        "route": "everybody",
        "upstream": "cloud",
        "csms_dialect": "json 1.6",
        "session": True,
        "state": "connected",
        "transport": "soap",
        "last_message": at(4),
        "heard": at(4),
        "losses": 0,
    } | changed


@dataclass
class FakeAdmin:
    """What the port answers: everything can be changed while it runs."""

    rows: list[dict[str, Any]] = field(default_factory=list)  # newest first
    chargers: list[dict[str, Any]] = field(default_factory=list)
    transactions: list[dict[str, Any]] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)
    overview: dict[str, Any] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # of charge points, over what the row has
    refuse_reload: bool = False
    refuse_upstream_state: bool = False
    callback: dict[str, Any] = field(default_factory=lambda: {"reachable": True, "text": "TCP in 3 ms"})
    done: list[tuple[str, str, Any]] = field(default_factory=list)  # (method, path, body)
    streams: list[asyncio.Queue[tuple[str, Any]]] = field(default_factory=list)

    # --- What happens

    def arrive(self, row: dict[str, Any], *, unseen: bool = False) -> None:
        """A message is exchanged; *unseen* by those who look on, for their line is too slow."""
        self.rows.insert(0, row)
        for each in self.streams:
            if not unseen:
                each.put_nowait(("message", row))

    def skip(self, missed: int) -> None:
        for each in self.streams:
            each.put_nowait(("gap", {"missed": missed}))

    def exchange(self, row: dict[str, Any]) -> dict[str, Any]:
        soap = {"transport": "soap", "version": "1.6", "call": SOAP_CALL, "reply": SOAP_REPLY}
        spoken = {"transport": "json", "version": "1.6", "call": JSON_CALL, "reply": JSON_REPLY}
        notes = [note for note in NOTES if row["action"] == "MeterValues"]
        if row["action"] == "Reset":
            spoken |= {"call": RESET, "reply": '[3,"4f",{"status":"Accepted"}]'}
            soap, notes = spoken | {}, []
        if row["outcome"] == "kept":
            spoken = {"transport": "json", "version": "1.6", "call": "", "reply": ""}
        return row | {
            "asked_by": "charge_point" if row["direction"] == "to_csms" else "central_system",
            "sides": {"charger": soap, "csms": spoken},
            "notes": notes if row["losses"] + row["changes"] else [],
            "timeline": [
                {"at_ms": 0.0, "what": "received from the charge point"},
                {"at_ms": 0.3, "what": "sent to the central system"},
                {"at_ms": row["ms"] - 0.2, "what": "answered by the central system"},
                {"at_ms": row["ms"], "what": "answered to the charge point"},
            ],
            "pairs": [
                {"message": "call", "charger": f"meterValue[0].{path}", "csms": f"meterValue[0].{path}"}
                for path in ("timestamp", "sampledValue[0].value", "sampledValue[0].unit")
            ],
        }

    # --- HTTP

    def pages(self) -> web.Application:
        pages = web.Application(middlewares=[self._guard])
        add = pages.router.add_route
        add("POST", "/api/v1/login", self._login)
        add("POST", "/api/v1/logout", self._logout)
        add("GET", "/api/v1/me", self._me)
        add("GET", "/api/v1/overview", self._overview)
        add("GET", "/api/v1/messages", self._messages)
        add("GET", "/api/v1/messages/stream", self._stream)
        add("GET", "/api/v1/messages/fields", self._fields)
        add("GET", "/api/v1/messages/{number}", self._message)
        add("GET", "/api/v1/chargers", self._chargers)
        add("GET", "/api/v1/chargers/{charger}", self._charger)
        add("POST", "/api/v1/chargers/{charger}/callback-test", self._callback_test)
        add("POST", "/api/v1/chargers/{charger}/calls", self._call)
        add("POST", "/api/v1/chargers/{charger}/allow", self._allow)
        add("POST", "/api/v1/chargers/{charger}/kick", self._let_go)
        add("DELETE", "/api/v1/chargers/{charger}", self._let_go)
        add("GET", "/api/v1/transactions", self._transactions)
        add("GET", "/api/v1/transactions/{charger}/{number}", self._transaction)
        add("GET", "/api/v1/problems", self._list("problems"))
        add("GET", "/api/v1/traces", self._list("traces"))
        add("POST", "/api/v1/traces", self._begin_trace)
        add("DELETE", "/api/v1/traces/{id}", self._drop_trace)
        add("GET", "/api/v1/listeners", self._listeners)
        add("GET", "/api/v1/upstreams", self._upstreams)
        add("PUT", "/api/v1/upstreams/{upstream}/state", self._upstream_state)
        add("GET", "/api/v1/routes", self._routes)
        add("POST", "/api/v1/routes/test", self._test_route)
        add("GET", "/api/v1/config", self._config)
        add("POST", "/api/v1/config/{what}", self._reload)
        add("GET", "/api/v1/loggers", self._loggers)
        add("PUT", "/api/v1/loggers/{name}", self._level)
        add("GET", "/api/v1/audit", self._audit)
        add("GET", "/{path:.*}", Site(files("wattbridge.operation") / "console").answer)
        return pages

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not request.path.startswith("/api/") or request.path == "/api/v1/login":
            return await handler(request)
        role = TOKENS.get(request.cookies.get("wattbridge_session", ""))
        if role is None:
            return problem(401, "auth", "the token is missing or wrong")
        if request.method != "GET":
            self.done.append((request.method, request.path, await request.text()))
            if request.headers.get("X-CSRF-Token") != CSRF:
                return problem(403, "auth", "X-CSRF-Token is missing or wrong")
            if role == "read" and request.path not in (
                "/api/v1/logout",
                "/api/v1/routes/test",
                "/api/v1/config/check",
            ):
                return problem(403, "auth", "needs the role operate")
        request[ROLE] = role
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return problem(404, "unsupported", "not known here")

    async def _login(self, request: web.Request) -> web.Response:
        token = (await request.json())["token"]
        if token not in TOKENS:
            return problem(401, "auth", "that is no token of this gateway")
        response = web.json_response({"role": TOKENS[token], "name": "console", "csrf": CSRF})
        response.set_cookie("wattbridge_session", token, httponly=True, samesite="Strict")
        return response

    async def _logout(self, _: web.Request) -> web.Response:
        response = web.json_response({})
        response.del_cookie("wattbridge_session")
        return response

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response({"role": request[ROLE], "name": "console", "csrf": CSRF})

    async def _overview(self, _: web.Request) -> web.Response:
        return web.json_response(self.overview)

    async def _messages(self, request: web.Request) -> web.Response:
        asked = request.query
        try:
            found = [
                row for row in self.rows if matches(row, asked.get("filter", ""), asked.get("charger", ""))
            ]
        except ValueError as bad:
            return problem(400, "malformed", str(bad))
        most = int(asked.get("limit", "100"))
        if "cursor" in asked:
            found = [row for row in found if row["number"] < int(asked["cursor"])]
        answer: dict[str, Any] = {"messages": found[:most]}
        if len(found) > most:
            answer["cursor"] = str(found[most - 1]["number"])
        return web.json_response(answer)

    async def _message(self, request: web.Request) -> web.Response:
        for row in self.rows:
            if str(row["number"]) == request.match_info["number"]:
                return web.json_response(self.exchange(row))
        return problem(404, "unsupported", f"message {request.match_info['number']} is not kept")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        asked = request.query.get("filter", "")
        try:
            matches(a_row(0), asked, "")
        except ValueError as bad:
            return problem(400, "malformed", str(bad))
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        await response.write(b": here\n\n")
        waiting: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.streams.append(waiting)
        try:
            while True:
                kind, data = await waiting.get()
                if kind == "message":
                    if not matches(data, asked, ""):
                        continue
                    await response.write(f"id: {data['number']}\n".encode())
                await response.write(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())
        except ConnectionError:  # whoever looked on has gone
            return response
        finally:
            self.streams.remove(waiting)

    async def _chargers(self, request: web.Request) -> web.Response:
        asked = request.query
        found = [
            row
            for row in self.chargers
            if asked.get("q", "").lower() in json.dumps(row).lower()
            and asked.get("state", row["state"]) == row["state"]
            and row["charger"] > asked.get("cursor", "")
        ]
        most = int(asked.get("limit", "1000"))
        answer: dict[str, Any] = {"chargers": found[:most]}
        if len(found) > most:
            answer["cursor"] = found[most - 1]["charger"]
        return web.json_response(answer)

    async def _charger(self, request: web.Request) -> web.Response:
        identity = request.match_info["charger"]
        for row in self.chargers:
            if row["charger"] == identity:
                return web.json_response(row | self.details.get(identity, {}))
        return problem(404, "unsupported", f"charge point {identity!r} is not known here")

    async def _callback_test(self, _: web.Request) -> web.Response:
        return web.json_response(self.callback)

    async def _call(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if asked["action"] == "Reset":
            description = "no answer within 30 s"
            return web.json_response(
                {"error": {"code": "GenericError", "description": description, "reason": "timeout"}}
            )
        return web.json_response({"reply": {"configurationKey": [], "unknownKey": []}})

    async def _let_go(self, request: web.Request) -> web.Response:
        return web.json_response({"charger": request.match_info["charger"]})

    async def _allow(self, request: web.Request) -> web.Response:
        return web.json_response({"lines": f"chargers:\n  {request.match_info['charger']}: {{}}\n"})

    async def _transactions(self, request: web.Request) -> web.Response:
        asked = request.query
        found = [
            row
            for row in self.transactions
            if asked.get("state", row["state"]) == row["state"]
            and asked.get("charger", row["charger"]) == row["charger"]
        ]
        return web.json_response({"transactions": found})

    async def _transaction(self, request: web.Request) -> web.Response:
        for row in self.transactions:
            if str(row["number"]) == request.match_info["number"]:
                return web.json_response(row)
        raise web.HTTPNotFound

    def _list(self, name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            return web.json_response({name: getattr(self, name)})

        return answer

    async def _begin_trace(self, request: web.Request) -> web.Response:
        asked = await request.json()
        made = {
            "id": str(len(self.traces) + 1),
            "name": asked["name"],
            "filter": asked["filter"],
            "state": "running",
            "began": at(0),
            "ends": at(-600),
            "records": 0,
            "bytes": 0,
            "limit_records": 10000,
            "limit_bytes": 16 << 20,
        }
        self.traces.insert(0, made)
        return web.json_response(made, status=201)

    async def _drop_trace(self, request: web.Request) -> web.Response:
        self.traces = [one for one in self.traces if one["id"] != request.match_info["id"]]
        return web.json_response({})

    async def _routes(self, _: web.Request) -> web.Response:
        turned_away = {"boot_status": "Rejected", "error": "SecurityError"}
        rows: list[dict[str, Any]] = [
            {"route": "berlin", "upstream": "cloud", "fallback": "spare", "sessions": 214},
            {"route": "turned-away", "upstream": None, "reject": turned_away, "sessions": 0},
            {"route": "everybody", "upstream": "cloud", "mirrors": ["audit"], "sessions": 198},
        ]
        return web.json_response({"routes": rows})

    async def _test_route(self, request: web.Request) -> web.Response:
        asked = await request.json()
        over = [{"name": "berlin", "why_not": f"charger: {asked['charger']!r} is not BER-*"}]
        return web.json_response(
            {
                "route": "everybody",
                "upstream": "cloud",
                "known_as": asked["charger"],
                "let_in": asked["charger"].startswith("BER"),
                "passed_over": over,
            }
        )

    async def _listeners(self, _: web.Request) -> web.Response:
        row = {
            "listener": "field",
            "bind": "0.0.0.0:8080",
            "protocol": "ocpp",
            "versions": ["1.6", "1.5", "1.2"],
            "paths": ["/ocpp/cs"],
            "tls": False,
            "soap": "http://0.0.0.0:8080/ocpp/cs",
            "websocket": "ws://0.0.0.0:8080/ocpp/{charger}",
            "connections": 137,
            "most_connections": 2000,
        }
        return web.json_response({"listeners": [row]})

    async def _upstreams(self, _: web.Request) -> web.Response:
        more = {"url": "wss://csms.example.com/ocpp/{charger}", "routes": ["everybody"]}
        return web.json_response({"upstreams": [one | more for one in self.overview["upstreams"]]})

    async def _upstream_state(self, request: web.Request) -> web.Response:
        name, state = request.match_info["upstream"], (await request.json())["state"]
        [row] = [one for one in self.overview["upstreams"] if one["upstream"] == name]
        if self.refuse_upstream_state:
            return problem(404, "unsupported", f"no central system is called {name!r}")
        row["state"] = state
        if state == "maint":
            row |= {"up": False, "sessions": {"open": 0, "connecting": 0, "backoff": 400}}
        return web.json_response(row)

    async def _fields(self, _: web.Request) -> web.Response:
        fields = {"charger": "the identity of the charge point: charger:BER-*", "loss": "yes or no"}
        return web.json_response({"filter": "", "fields": fields})

    async def _config(self, _: web.Request) -> web.Response:
        text = "version: 1\ngateway:\n  name: depot-north\n  drain: 30s\nadmin:\n  token: '***'\n"
        return web.json_response({"file": "gateway.yaml", "etag": "1", "text": text, "effective": {}})

    async def _reload(self, _: web.Request) -> web.Response:
        if self.refuse_reload:
            return problem(422, "malformed", "1 error in gateway.yaml", errors=REFUSED)
        return web.json_response({"changed": ["gateway.drain: 30s → 5s"], "warnings": [], "moved": 0})

    async def _loggers(self, _: web.Request) -> web.Response:
        return web.json_response({"loggers": [{"name": "wattbridge", "level": "info", "until": None}]})

    async def _level(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def _audit(self, _: web.Request) -> web.Response:
        row = {"number": 1, "time": at(60), "who": "console", "role": "admin", "source": "127.0.0.1"}
        row |= {
            "request": "POST /config/reload",
            "charger": None,
            "details": None,
            "status": 200,
            "result": "",
        }
        return web.json_response({"audit": [row]})


def matches(row: dict[str, Any], text: str, charger: str) -> bool:
    """As much of the filter language as the tests need. Raises ValueError."""
    if charger and row["charger"] != charger:
        return False
    for word in text.split():
        key, _, value = word.partition(":")
        pattern = re.compile(re.escape(value.strip('"')).replace(r"\*", ".*"))
        if key in ("charger", "action"):
            if not pattern.fullmatch(row[key]):
                return False
        elif key == "status":
            if value not in (row["outcome"], row["reason"]):
                return False
        elif key == "loss":
            if not row["losses"]:
                return False
        elif key not in ("since", "text"):
            raise ValueError(f"found {key!r}, expected charger, action, dir, leg, status, …")
    return True


def problem(status: int, reason: str, title: str, **more: Any) -> web.Response:
    body = {"status": status, "title": title, "reason": reason, **more}
    return web.json_response(body, status=status, content_type="application/problem+json")


@asynccontextmanager
async def serving(admin: FakeAdmin, port: int = 0) -> AsyncIterator[str]:
    """Serve *admin* on 127.0.0.1; gives its URL."""
    runner = web.AppRunner(admin.pages(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def a_busy_gateway(*, chargers: int = 40, messages: int = 60) -> FakeAdmin:
    """Something of everything: what the pages are looked at with."""
    admin = FakeAdmin()
    actions = ["MeterValues", "Heartbeat", "StatusNotification", "Authorize", "StartTransaction"]
    for number in range(1, messages + 1):
        row = a_row(number, time=at((messages - number) * 1.7), action=actions[number % 5])
        row |= {"losses": 0, "changes": number % 3, "ms": 1.5 + (number * 7919 % 60)}
        row["peer_ms"] = row["ms"] - 0.5
        if row["action"] == "MeterValues":
            row |= {"losses": 1, "changes": 1}
        row["charger"] = f"BER-{number % 12:04}"
        if number % 11 == 0:
            row |= {"outcome": "failed", "reason": "timeout", "ms": 30001.0, "peer_ms": 30000.0}
        elif number % 13 == 0:
            row |= {"outcome": "kept", "upstream": "cloud", "peer_ms": 0.0}
        elif number % 9 == 0:
            row |= {
                "direction": "to_charger",
                "action": "Reset",
                "charger_transport": "json",
                "changes": 0,
                "losses": 0,
            }
        admin.rows.insert(0, row)
    states = ["connected"] * 8 + ["stale", "offline"]
    for number in range(chargers):
        state = states[number % 10]
        admin.chargers.append(
            a_charger(
                f"BER-{number:04}",
                state=state,
                session=state != "offline",
                charger_dialect=("soap 1.5", "soap 1.6", "json 1.6")[number % 3],
                vendor=("ACME", "KEBA", "ABL")[number % 3],
                last_message=at(number * 13),
                losses=number % 4,
            )
        )
    admin.chargers.append(
        a_charger(
            "ZZZ-0099",
            state="unknown",
            session=False,
            charger_dialect=None,
            vendor=None,
            model=None,
            firmware=None,
        )
    )
    admin.details["BER-0001"] = {
        "callback": {
            "url": "http://10.20.4.17:8090/ocpp",
            "state": "fails",
            "last_error": "10.20.4.17:8090: no route to host",
        },
        "connectors": [
            {"connector_id": 0, "status": "Available", "error_code": "NoError", "when": at(900)},
            {"connector_id": 1, "status": "Charging", "error_code": "NoError", "when": at(420)},
            {"connector_id": 2, "status": "Faulted", "error_code": "GroundFailure", "when": at(60)},
        ],
        "open_transactions": [
            {
                "charger": "BER-0001",
                "number": 2000000017,
                "remote_id": None,
                "provisional": True,
                "connector_id": "1",
                "id_tag": "04E91C5A",
                "meter_start": "1000",
                "started": at(420),
                "state": "open",
            }
        ],
        "report": {
            "charger_dialect": "soap 1.5",
            "csms_dialect": "json 1.6",
            "as_is": False,
            "towards_csms": [
                {
                    "path": "SendLocalListResponse.hash",
                    "effect": "lost",
                    "said": "left out (a loss)",
                    "source": "WSDL 1.5; OCPP 1.6 has no hash",
                }
            ],
            "towards_charger": [
                {
                    "path": "BootNotificationResponse.status",
                    "effect": "changed",
                    "said": "Pending becomes Rejected: both say that the charge point is to ask again",
                    "source": "WSDL RegistrationStatus",
                }
            ],
            "answered_for_charger": [
                {"action": "SetChargingProfile", "said": "status NotSupported", "source": "OCPP 1.6"}
            ],
            "answered_for_csms": [],
        },
        "losses": [{"rule": "unknown-field", "path": "StatusNotification.mood", "count": 3, "last": at(80)}],
        "known_as": "DE*ABC*0001",
        "source": "10.20.4.17",
        "listener": "field",
        "boot": {"status": "Accepted", "interval": 300, "when": at(86000)},
        "profile": "keba",
    }
    for number in range(12):
        stopped = number > 2
        admin.transactions.append(
            {
                "charger": f"BER-{number:04}",
                "number": 4711 + number,
                "remote_id": 4711 + number,
                "upstream": "cloud",
                "provisional": False,
                "connector_id": "1",
                "id_tag": f"04E91C{number:02}",
                "meter_start": "1000",
                "started": at(4000 + number * 900),
                "stopped": at(number * 300) if stopped else None,
                "state": "stopped" if stopped else "open",
            }
        )
    admin.problems = [
        {
            "kind": "callback",
            "charger": "BER-0001",
            "reason": "unreachable",
            "first": at(5000),
            "last": at(42),
            "count": 17,
            "text": "The gateway cannot call BER-0001 at http://10.20.4.17:8090/ocpp: no route to host",
            "fix": "Let the gateway reach that address, or set chargers.BER-0001.callback_url.",
            "link": "/chargers/BER-0001",
        },
        {
            "kind": "tls",
            "charger": "",
            "reason": "refused",
            "first": at(90000),
            "last": at(300),
            "count": 3,
            "text": "The certificate of spare.example.com is not for that name",
            "fix": "Have it issued for spare.example.com, or name the authority in upstreams.spare.tls.ca.",
            "link": "",
        },
    ]
    admin.traces = [
        {
            "id": "1",
            "name": "why BER-0001 is not called",
            "filter": "charger:BER-0001",
            "state": "running",
            "began": at(90),
            "ends": at(-510),
            "records": 41,
            "bytes": 52000,
            "limit_records": 10000,
            "limit_bytes": 16 << 20,
        }
    ]
    admin.overview = {
        "name": "depot-north",
        "version": "0.1.0",
        "uptime_seconds": 86400.1,
        "ready": True,
        "not_ready_because": [],
        "draining": False,
        "chargers": {
            "ocpp1.6-soap": {"connected": 214, "stale": 6},
            "ocpp1.5-soap": {"connected": 61, "stale": 2},
            "ocpp1.6-json": {"connected": 137, "stale": 1},
        },
        "offline": 12,
        "unknown": [
            {
                "charger": "ZZZ-0099",
                "source": "10.20.4.99",
                "listener": "field",
                "last": at(30),
                "count": 12,
                "line": "  ZZZ-0099: {}",
            }
        ],
        "calls": {
            "per_second": {"to_csms": 38.2, "to_charger": 1.4},
            "spark": [340 + (n * 7919 % 83) - (200 if 31 < n < 36 else 0) for n in range(60)],
            "failures": {"timeout": 14, "unreachable": 9, "schema": 2, "call_error": 1},
        },
        "upstreams": [
            {
                "upstream": "cloud",
                "protocol": "ocpp-json",
                "up": True,
                "state": "ready",
                "sessions": {"open": 398, "connecting": 2, "backoff": 0},
                "since": at(86000),
            },
            {
                "upstream": "old",
                "protocol": "ocpp-soap",
                "up": False,
                "state": "ready",
                "sessions": {"open": 0, "connecting": 0, "backoff": 12},
                "since": at(600),
            },
            {
                "upstream": "spare",
                "protocol": "ocpp-json",
                "up": False,
                "state": "maint",
                "sessions": {"open": 0, "connecting": 0, "backoff": 0},
                "since": None,
            },
        ],
        "queue": {"waiting": 37, "parked": 1, "oldest_seconds": 610},
        "open_transactions": 58,
        "certificates": [
            {"name": "soaps", "not_after": at(-86400 * 11), "days_left": 11.2},
            {"name": "admin", "not_after": at(-86400 * 80), "days_left": 80.4},
        ],
        "attention": [
            {
                "kind": "upstream",
                "text": "old has been away for 10 minutes",
                "fix": "12 sessions wait for it.",
                "link": "/problems",
            }
        ],
    }
    return admin
