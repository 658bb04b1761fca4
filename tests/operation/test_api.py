"""The admin API as whoever asks sees it: HTTP, and nothing without the token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fakes import PATIENCE
from wattbridge.operation.api import (
    MOST_REPORTS,
    MOST_ROWS,
    Access,
    AdminPort,
    Refusal,
    Token,
    pages_of,
)

TOKEN = "a-token-of-some-length"


@dataclass
class FakeGateway:
    """Answers what it is told to, and remembers what it was asked."""

    asked: list[Any] = field(default_factory=list)
    refusal: Refusal | None = None
    sessions: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def _answer(self, *asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if self.refusal is not None:
            raise self.refusal
        return {"changed": ["gateway.drain: 30s → 5s"], "warnings": [], "moved": 0}

    def info(self) -> dict[str, Any]:
        return {"name": "depot"}

    async def reload(self, *, move: bool) -> dict[str, Any]:
        return self._answer("reload", move)

    async def check(self) -> dict[str, Any]:
        return self._answer("check")

    def list_routes(self) -> list[dict[str, Any]]:
        return [{"route": "all"}]

    def test_route(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self._answer("test", asked)

    def list_sessions(self, after: str, most: int) -> list[dict[str, Any]]:
        return [session for session in self.sessions if session["charger"] > after][:most]

    def move(self, identity: str) -> dict[str, Any]:
        return self._answer("move", identity)

    def show_session(self, identity: str) -> dict[str, Any]:
        return self._answer("session", identity)

    def close_session(self, identity: str) -> dict[str, Any]:
        return self._answer("close session", identity)

    async def forget(self, identity: str) -> dict[str, Any]:
        return self._answer("forget", identity)

    async def support_dump(self) -> bytes:
        self._answer("support dump")
        return b"PK"

    async def overview(self) -> dict[str, Any]:
        return self._answer("overview")

    def list_listeners(self) -> list[dict[str, Any]]:
        return self.rows

    def list_upstreams(self) -> list[dict[str, Any]]:
        return self.rows

    def set_upstream_state(self, name: str, state: str, who: str) -> dict[str, Any]:
        return self._answer("upstream state", name, state, who)

    def list_profiles(self) -> list[dict[str, Any]]:
        return self.rows

    async def list_certificates(self) -> list[dict[str, Any]]:
        return self.rows

    def list_problems(self, charger: str) -> list[dict[str, Any]]:
        self.asked.append(("problems", charger))
        return self.rows

    async def show_configuration(self) -> dict[str, Any]:
        return self._answer("configuration") | {"etag": '"1"'}

    async def put_configuration(self, text: str, etag: str, *, dry_run: bool, move: bool) -> dict[str, Any]:
        return self._answer("put", text, etag, dry_run, move) | {"etag": '"2"'}

    async def list_chargers(
        self, after: str, most: int, state: str = "", q: str = ""
    ) -> list[dict[str, Any]]:
        self.asked.append(("chargers", after, most, *([state, q] if state or q else [])))
        return self.rows[:most]

    async def show_charger(self, identity: str) -> dict[str, Any]:
        return self._answer("charger", identity)

    async def test_callback(self, identity: str) -> dict[str, Any]:
        return self._answer("callback", identity)

    async def call(self, identity: str, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        return self._answer("call", identity, action, payload)

    def told_of_call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {"action": action}

    async def allow(self, identity: str) -> dict[str, Any]:
        return self._answer("allow", identity)

    async def list_audit(self, before: int | None, most: int, who: str) -> list[dict[str, Any]]:
        self.asked.append(("audit", before, most, who))
        return self.rows[:most]

    async def list_reports(self, after: str, most: int) -> list[dict[str, Any]]:
        self.asked.append(("reports", after, most))
        return self.rows[:most]

    async def show_report(self, identity: str) -> dict[str, Any]:
        return self._answer("report", identity)

    async def list_waiting(
        self, charger: str, state: str, after: tuple[str, int] | None, most: int
    ) -> list[dict[str, Any]]:
        self.asked.append(("waiting", charger, state, after, most))
        return self.rows[:most]

    async def show_waiting(self, identity: str, position: int) -> dict[str, Any]:
        return self._answer("show", identity, position)

    async def retry(self, identity: str, position: int) -> dict[str, Any]:
        return self._answer("retry", identity, position)

    async def drop(self, identity: str, position: int) -> dict[str, Any]:
        return self._answer("drop", identity, position)

    async def list_transactions(
        self, charger: str, state: str, after: tuple[str, int] | None, most: int
    ) -> list[dict[str, Any]]:
        self.asked.append(("transactions", charger, state, after, most))
        return self.rows[:most]

    async def show_transaction(self, identity: str, number: int) -> dict[str, Any]:
        return self._answer("transaction", identity, number)

    async def set_remote_id(self, identity: str, number: int, remote_id: int) -> dict[str, Any]:
        return self._answer("map", identity, number, remote_id) | {"remote_id": remote_id}


@dataclass
class World:
    gateway: FakeGateway
    port: int

    async def ask(
        self, request: str, body: str = "", *, authorization: str | None = f"Bearer {TOKEN}"
    ) -> tuple[int, str, Any]:
        """Status, content type and JSON of the answer to ``GET /path``."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"{request} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
        if authorization is not None:
            head += f"Authorization: {authorization}\r\n"
        content = body.encode()
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        async with asyncio.timeout(PATIENCE):
            answer = (await reader.read()).decode()
        writer.close()
        lines, _, text = answer.partition("\r\n\r\n")
        status, *headers = lines.split("\r\n")
        named = dict(line.split(": ", 1) for line in headers)
        return int(status.split()[1]), named["Content-Type"].partition(";")[0], json.loads(text)


@asynccontextmanager
async def an_admin_port() -> AsyncIterator[World]:
    gateway = FakeGateway()
    port = AdminPort("127.0.0.1", 0, Access([Token("admin", "admin", TOKEN)]), pages_of(gateway))
    await port.start()
    try:
        yield World(gateway, port.port)
    finally:
        await port.stop()


async def test_a_reload_tells_what_has_changed() -> None:
    async with an_admin_port() as world:
        status, kind, answer = await world.ask("POST /api/v1/config/reload")
        assert (status, kind) == (200, "application/json")
        assert answer == {"changed": ["gateway.drain: 30s → 5s"], "warnings": [], "moved": 0}
        await world.ask("POST /api/v1/config/reload?move=1")
        await world.ask("POST /api/v1/config/check")
        assert world.gateway.asked == [("reload", False), ("reload", True), ("check",)]


async def test_what_the_gateway_refuses_is_a_problem_with_its_reason() -> None:
    async with an_admin_port() as world:
        world.gateway.refusal = Refusal(
            422, "malformed", "the configuration has 1 error", errors=[{"line": 3}]
        )
        status, kind, answer = await world.ask("POST /api/v1/config/reload")
        assert (status, kind) == (422, "application/problem+json")
        assert answer == {
            "status": 422,
            "title": "the configuration has 1 error",
            "reason": "malformed",
            "errors": [{"line": 3}],
        }


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"],
)
@pytest.mark.parametrize("request_line", ["GET /api/v1/info", "POST /api/v1/config/reload", "GET /nowhere"])
async def test_without_the_token_there_is_nothing(authorization: str | None, request_line: str) -> None:
    async with an_admin_port() as world:
        status, _, answer = await world.ask(request_line, authorization=authorization)
        assert (status, answer["reason"]) == (401, "auth")
        assert world.gateway.asked == []


async def test_what_is_not_there_and_what_is_no_method_of_it() -> None:
    async with an_admin_port() as world:
        assert (await world.ask("GET /nowhere"))[0] == 404
        assert (await world.ask("GET /api/v1/config/reload"))[0] == 405
        assert (await world.ask("POST /api/v1/config/reload?move=perhaps"))[0] == 400
        assert (await world.ask("POST /api/v1/routes/test", "x" * 70_000))[0] == 413


async def test_routes_are_listed_and_tried() -> None:
    async with an_admin_port() as world:
        assert (await world.ask("GET /api/v1/routes"))[2] == {"routes": [{"route": "all"}]}
        assert (await world.ask("GET /api/v1/info"))[2] == {"name": "depot"}
        await world.ask("POST /api/v1/routes/test", '{"charger": "CP1"}')
        await world.ask("POST /api/v1/chargers/CP%2F1/move")
        assert world.gateway.asked == [("test", {"charger": "CP1"}), ("move", "CP/1")]


@pytest.mark.parametrize("body", ["", "[]", "{", '"CP1"'])
async def test_what_is_no_question_is_refused(body: str) -> None:
    async with an_admin_port() as world:
        status, _, answer = await world.ask("POST /api/v1/routes/test", body)
        assert (status, answer["reason"]) == (400, "malformed")


async def test_sessions_come_page_by_page() -> None:
    async with an_admin_port() as world:
        world.gateway.sessions = [{"charger": f"CP{number}"} for number in range(3)]
        page = (await world.ask("GET /api/v1/sessions?limit=2"))[2]
        assert page == {"sessions": [{"charger": "CP0"}, {"charger": "CP1"}], "cursor": "CP1"}
        rest = (await world.ask("GET /api/v1/sessions?limit=2&cursor=CP1"))[2]
        assert rest == {"sessions": [{"charger": "CP2"}]}
        for limit in ("0", "-1", "x", str(MOST_ROWS + 1)):
            assert (await world.ask(f"GET /api/v1/sessions?limit={limit}"))[0] == 400


async def test_charge_points_and_reports_come_page_by_page() -> None:
    async with an_admin_port() as world:
        world.gateway.rows = [{"charger": f"CP/{number}"} for number in range(3)]
        page = (await world.ask("GET /api/v1/chargers?limit=2"))[2]
        assert page == {"chargers": world.gateway.rows[:2], "cursor": "CP/1"}
        page = (await world.ask("GET /api/v1/reports?cursor=CP%2F1"))[2]
        assert page == {"reports": world.gateway.rows}
        await world.ask("GET /api/v1/reports/CP%2F1")
        assert world.gateway.asked == [
            ("chargers", "", 2),
            ("reports", "CP/1", MOST_REPORTS),
            ("report", "CP/1"),
        ]
        status, _, answer = await world.ask(f"GET /api/v1/reports?limit={MOST_REPORTS + 1}")
        assert (status, answer["title"]) == (400, "limit: found '101', expected 1 to 100")


async def test_what_waits_is_listed_page_by_page() -> None:
    async with an_admin_port() as world:
        world.gateway.rows = [{"charger": "CP/1", "position": number} for number in range(3)]
        page = (await world.ask("GET /api/v1/queue?charger=CP%2F1&state=parked&limit=2"))[2]
        assert page == {"queue": world.gateway.rows[:2], "cursor": "CP/1/1"}
        await world.ask("GET /api/v1/queue?cursor=CP/1/1")
        assert world.gateway.asked == [
            ("waiting", "CP/1", "parked", None, 2),
            ("waiting", "", "", ("CP/1", 1), MOST_ROWS),
        ]


async def test_transactions_are_listed_page_by_page() -> None:
    async with an_admin_port() as world:
        world.gateway.rows = [{"charger": "CP1", "number": -number} for number in range(3)]
        page = (await world.ask("GET /api/v1/transactions?state=open&limit=3"))[2]
        assert page == {"transactions": world.gateway.rows, "cursor": "CP1/-2"}
        await world.ask("GET /api/v1/transactions?cursor=CP1/-2&charger=CP1")
        assert world.gateway.asked == [
            ("transactions", "", "open", None, 3),
            ("transactions", "CP1", "", ("CP1", -2), MOST_ROWS),
        ]


async def test_a_message_and_a_transaction_are_named_by_charge_point_and_number() -> None:
    async with an_admin_port() as world:
        await world.ask("GET /api/v1/queue/CP%2F1/17")
        await world.ask("POST /api/v1/queue/CP%2F1/17/retry")
        await world.ask("DELETE /api/v1/queue/CP1/18")
        await world.ask("GET /api/v1/transactions/CP1/-9")
        # A transactionId has no bound in OCPP-J.
        asked = '{"remote_id": 99999999999999999999}'
        answer = (await world.ask("PUT /api/v1/transactions/CP1/99999999999999999998", asked))[2]
        assert answer["remote_id"] == 99999999999999999999
        assert world.gateway.asked == [
            ("show", "CP/1", 17),
            ("retry", "CP/1", 17),
            ("drop", "CP1", 18),
            ("transaction", "CP1", -9),
            ("map", "CP1", 99999999999999999998, 99999999999999999999),
        ]


@pytest.mark.parametrize(
    ("request_line", "body", "said"),
    [
        ("GET /api/v1/queue?state=open", "", "state: found 'open', expected waiting or parked"),
        ("GET /api/v1/queue?cursor=CP1", "", "cursor: found 'CP1', expected a number"),
        ("GET /api/v1/queue?limit=0", "", "limit: found '0', expected 1 to 1000"),
        ("GET /api/v1/transactions?state=waiting", "", "expected open or stopped or refused"),
        ("DELETE /api/v1/queue/CP1/first", "", "position: found 'first', expected a number"),
        (f"GET /api/v1/transactions/CP1/{'9' * 41}", "", "expected a number"),
        ("PUT /api/v1/transactions/CP1/1", "{}", "expected {'remote_id': NUMBER}"),
        ("PUT /api/v1/transactions/CP1/1", '{"remote_id": "7"}', "expected {'remote_id': NUMBER}"),
        ("PUT /api/v1/transactions/CP1/1", '{"remote_id": true}', "expected {'remote_id': NUMBER}"),
        ("PUT /api/v1/transactions/CP1/1", '{"remote_id": 7, "state": ""}', "expected {'remote_id'"),
        ("PUT /api/v1/transactions/CP1/1", "7", 'expected an object, such as {"remote_id": 4711}'),
    ],
)
async def test_what_is_no_question_about_what_waits_is_refused(
    request_line: str, body: str, said: str
) -> None:
    async with an_admin_port() as world:
        status, _, answer = await world.ask(request_line, body)
        assert (status, answer["reason"]) == (400, "malformed")
        assert said in answer["title"]
        assert world.gateway.asked == []
