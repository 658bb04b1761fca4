"""Who may ask the admin API for what: tokens, roles, sessions of a browser, and the log of what was done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from tests.fakes import PATIENCE
from tests.operation.test_api import FakeGateway
from wattbridge.operation.api import Access, AdminPort, Refusal, Token, hash_token, pages_of, signing_in
from wattbridge.operation.api.tokens import MOST_SESSIONS, SESSION_AGE, SESSION_IDLE, is_hash_of
from wattbridge.operation.audit import Audit, AuditKeeping
from wattbridge.relay.journal import Event, Journal
from wattbridge.store.base import AuditEntry
from wattbridge.store.memory import MemoryStore

READ, OPERATE, ADMIN = "token-that-reads", "token-that-operates", "token-that-administers"
TOKENS = [
    Token("grafana", "read", READ),
    Token("depot", "operate", hash=hash_token(OPERATE, b"0123456789abcdef")),
    Token("head-office", "admin", ADMIN),
]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: Any


@dataclass
class World:
    gateway: FakeGateway
    port: int
    access: Access
    store: MemoryStore
    events: list[Event] = field(default_factory=list)

    async def ask(
        self, request: str, *headers: str, token: str = "", body: str = "", host: str = "gateway"
    ) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"{request} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        if body:
            lines.append("Content-Type: application/json")
        content = body.encode()
        lines.append(f"Content-Length: {len(content)}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        async with asyncio.timeout(PATIENCE):
            text = (await reader.read()).decode()
        writer.close()
        head, _, said = text.partition("\r\n\r\n")
        status, *named = head.split("\r\n")
        return Answer(
            int(status.split()[1]), dict(line.split(": ", 1) for line in named), json.loads(said or "null")
        )

    async def audited(self) -> list[AuditEntry]:
        return await self.store.find(AuditEntry)


@asynccontextmanager
async def a_port() -> AsyncIterator[World]:
    gateway, access, journal, store = FakeGateway(), Access(TOKENS), Journal(), MemoryStore()
    pages = [*pages_of(gateway), *signing_in.pages(access)]
    port = AdminPort("127.0.0.1", 0, access, pages, audit=Audit(store, journal), journal=journal)
    world = World(gateway, 0, access, store)
    journal.listen(event=world.events.append)
    await port.start()
    world.port = port.port
    try:
        yield world
    finally:
        await port.stop()


RELOAD, MOVE, ROUTES = "POST /api/v1/config/reload", "POST /api/v1/chargers/CP1/move", "GET /api/v1/routes"


@pytest.mark.parametrize(
    ("token", "statuses"), [(READ, [200, 403, 403]), (OPERATE, [200, 200, 403]), (ADMIN, [200, 200, 200])]
)
async def test_a_role_may_do_what_it_may(token: str, statuses: list[int]) -> None:
    async with a_port() as world:
        assert [
            (await world.ask(request, token=token)).status for request in (ROUTES, MOVE, RELOAD)
        ] == statuses


async def test_too_small_a_role_is_told_which_it_takes() -> None:
    async with a_port() as world:
        refused = await world.ask(RELOAD, token=OPERATE)
        assert refused.content == {
            "status": 403,
            "title": "token depot has the role operate; this takes admin",
            "reason": "auth",
            "role": "operate",
            "needed": "admin",
        }
        assert world.gateway.asked == []


async def test_every_answer_has_the_headers_that_keep_a_browser_safe() -> None:
    async with a_port() as world:
        for answer in (
            await world.ask(ROUTES, token=READ),
            await world.ask(ROUTES),
            await world.ask("GET /nowhere", token=READ),
        ):
            named = answer.headers
            assert named["Content-Security-Policy"].startswith("default-src 'self'; base-uri 'none';")
            assert "frame-ancestors 'none'" in named["Content-Security-Policy"]
            assert named["X-Content-Type-Options"] == "nosniff"
            assert (named["Cache-Control"], named["Server"]) == ("no-store", "wattbridge")
            assert named["Referrer-Policy"] == "no-referrer"


async def test_a_browser_shows_its_token_once() -> None:
    async with a_port() as world:
        shown = await world.ask("POST /api/v1/login", body=json.dumps({"token": OPERATE}))
        assert shown.content == {"role": "operate", "name": "depot", "csrf": shown.content["csrf"]}
        cookie = shown.headers["Set-Cookie"]
        assert "; HttpOnly; Path=/; SameSite=Strict" in cookie
        with_cookie = f"Cookie: {cookie.partition(';')[0]}"
        assert (await world.ask("GET /api/v1/me", with_cookie)).content == shown.content

        # What changes something takes the word that only the page itself can know.
        for header in ("X-Nothing: 1", "X-CSRF-Token: guessed"):
            refused = await world.ask(MOVE, with_cookie, header)
            assert (refused.status, refused.content["title"]) == (403, "X-CSRF-Token is missing or wrong")
        assert world.gateway.asked == []
        with_word = f"X-CSRF-Token: {shown.content['csrf']}"
        assert (await world.ask(MOVE, with_cookie, with_word)).status == 200
        assert (await world.ask("POST /api/v1/logout", with_cookie, with_word)).status == 200
        ended = await world.ask("GET /api/v1/me", with_cookie)
        assert (ended.status, ended.content["title"]) == (401, "the session has ended: log in again")


async def test_two_gateways_at_one_host_have_cookies_of_their_own() -> None:
    """A browser sends the cookies of a host to all its ports."""
    async with a_port() as world:
        login = json.dumps({"token": OPERATE})
        cookies = []
        for host in ("127.0.0.1:9180", "127.0.0.1:19180", "gateway:x"):
            shown = await world.ask("POST /api/v1/login", body=login, host=host)
            cookies.append(shown.headers["Set-Cookie"].partition(";")[0])
        names = [cookie.partition("=")[0] for cookie in cookies]
        assert names == ["wattbridge_session_9180", "wattbridge_session_19180", "wattbridge_session"]
        both = f"Cookie: wattbridge_session_19180=another; {cookies[0]}"
        assert (await world.ask("GET /api/v1/me", both, host="127.0.0.1:9180")).status == 200
        assert (await world.ask("GET /api/v1/me", both, host="127.0.0.1:19180")).status == 401


async def test_a_login_takes_a_right_token_in_json() -> None:
    async with a_port() as world:
        wrong = await world.ask("POST /api/v1/login", body='{"token": "guessed"}')
        assert (wrong.status, wrong.content["reason"]) == (401, "auth")
        assert "Set-Cookie" not in wrong.headers
        # What a form of another page could send.
        as_form = await world.ask("POST /api/v1/login", "Content-Type: text/plain")
        assert as_form.status == 415
        for body in ('{"token": 1}', "{}", '{"token": "x", "more": 1}', "[1"):
            assert (await world.ask("POST /api/v1/login", body=body)).status == 400


async def test_whoever_shows_a_wrong_token_is_told_of_in_the_log() -> None:
    async with a_port() as world:
        await world.ask("GET /api/v1/me")  # a browser that has not signed in yet
        assert world.events == []
        await world.ask("POST /api/v1/login", body='{"token": "guessed"}')
        await world.ask(ROUTES, token="guessed")
        first, second = world.events
        assert (first.kind, first.reason, first.text) == ("sign-in refused", "auth", "no token is like that")
        assert first.labels == {"source": "127.0.0.1", "request": "POST /api/v1/login"}
        assert second.labels["request"] == ROUTES
        assert "guessed" not in f"{first} {second}"


async def test_sessions_end_with_their_token() -> None:
    async with a_port() as world:
        shown = await world.ask("POST /api/v1/login", body=json.dumps({"token": READ}))
        cookie = f"Cookie: {shown.headers['Set-Cookie'].partition(';')[0]}"
        world.access.go_by([TOKENS[0]])
        assert (await world.ask(ROUTES, cookie)).status == 200
        world.access.go_by([Token("grafana", "read", "another-token")])
        assert (await world.ask(ROUTES, cookie)).status == 401
        assert (await world.ask(ROUTES, token=READ)).status == 401
        assert (await world.ask(ROUTES, token=OPERATE)).status == 401


async def test_counted_actions_is_noted_and_who_only_looks_is_not() -> None:
    async with a_port() as world:
        await world.ask(ROUTES, token=READ)
        await world.ask("POST /api/v1/chargers/CP%2F1/move", token=OPERATE)
        await world.ask("POST /api/v1/config/reload?move=1", token=READ)
        world.gateway.refusal = Refusal(404, "not_connected", "charge point 'CP9' has no session")
        await world.ask("POST /api/v1/chargers/CP9/move", token=ADMIN)
        noted = await world.audited()
        assert [(each.who, each.role, each.source, each.request) for each in noted] == [
            ("depot", "operate", "127.0.0.1", "POST /chargers/CP%2F1/move"),
            ("grafana", "read", "127.0.0.1", "POST /config/reload?move=1"),
            ("head-office", "admin", "127.0.0.1", "POST /chargers/CP9/move"),
        ]
        assert [(each.identity, each.status, each.result) for each in noted] == [
            ("CP/1", 200, ""),
            ("", 403, "token grafana has the role read; this takes admin"),
            ("CP9", 404, "charge point 'CP9' has no session"),
        ]
        told = world.events[0]
        assert (told.kind, told.identity, told.labels["who"]) == ("administered", "CP/1", "depot")


async def test_who_only_reads_takes_no_central_system_out_of_service() -> None:
    async with a_port() as world:
        request, body = "PUT /api/v1/upstreams/cloud/state", json.dumps({"state": "drain"})
        assert (await world.ask(request, token=READ, body=body)).status == 403
        assert (await world.ask(request, token=OPERATE, body=body)).status == 200
        assert world.gateway.asked == [("upstream state", "cloud", "drain", "depot")]
        assert [(each.who, each.status, each.details) for each in await world.audited()] == [
            ("grafana", 403, ""),
            ("depot", 200, '{"state":"drain"}'),
        ]


async def test_a_reload_is_noted_with_what_it_changed() -> None:
    async with a_port() as world:
        await world.ask(RELOAD, token=ADMIN)
        [noted] = await world.audited()
        assert json.loads(noted.details) == {"changed": ["gateway.drain: 30s → 5s"]}


async def test_what_cannot_be_kept_is_done_all_the_same_and_told_in_the_log() -> None:
    async with a_port() as world:
        world.store.problem = "the disk is full"
        assert (await world.ask(MOVE, token=ADMIN)).status == 200
        assert [event.kind for event in world.events] == ["administered"]


async def test_the_audit_log_is_for_those_who_administer() -> None:
    async with a_port() as world:
        world.gateway.rows = [{"number": 7}, {"number": 6}]
        assert (await world.ask("GET /api/v1/audit", token=OPERATE)).status == 403
        page = await world.ask("GET /api/v1/audit?limit=2&cursor=9&who=depot", token=ADMIN)
        assert page.content == {"audit": [{"number": 7}, {"number": 6}], "cursor": "6"}
        assert world.gateway.asked == [("audit", 9, 2, "depot")]


async def test_a_mistake_of_ours_is_told() -> None:
    async with a_port() as world:
        world.gateway.rows = [{}]  # without what a cursor is made of
        answer = await world.ask("GET /api/v1/chargers?limit=1", token=READ)
        assert (answer.status, answer.content["reason"]) == (500, "internal")
        [event] = world.events
        assert (event.kind, event.text) == ("internal error", "GET /api/v1/chargers: KeyError('charger')")


async def test_a_call_is_done_once_for_each_key() -> None:
    async with a_port() as world:
        call, body = "POST /api/v1/chargers/CP1/calls", '{"action": "Reset", "payload": {"type": "Soft"}}'
        for _ in range(2):
            answer = await world.ask(call, "Idempotency-Key: 1", token=OPERATE, body=body)
            assert answer.status == 200
        assert world.gateway.asked == [("call", "CP1", "Reset", {"type": "Soft"})]
        # The key is one's own, and for one request.
        assert (await world.ask(call, "Idempotency-Key: 1", token=ADMIN, body=body)).status == 200
        assert len(world.gateway.asked) == 2
        other = await world.ask(call, "Idempotency-Key: 1", token=ADMIN, body='{"action": "ClearCache"}')
        assert (other.status, other.content["title"]) == (
            409,
            "this Idempotency-Key was used for another request",
        )
        await world.ask(call, token=ADMIN, body=body)
        assert len(world.gateway.asked) == 3
        # A refusal is an answer, too.
        world.gateway.refusal = Refusal(404, "not_connected", "charge point 'CP1' has no session")
        for _ in range(2):
            assert (await world.ask(call, "Idempotency-Key: 2", token=ADMIN, body=body)).status == 404
        assert len(world.gateway.asked) == 4
        [details] = {each.details for each in await world.audited() if each.who == "depot"}
        assert details == '{"action":"Reset"}'


async def test_a_configuration_takes_the_place_of_the_one_that_was_read() -> None:
    async with a_port() as world:
        put = "PUT /api/v1/config?dry_run=1"
        assert (await world.ask(put, token=ADMIN, body="x")).status == 428
        done = await world.ask(put, 'If-Match: "1"', token=ADMIN, body="gateway: {}")
        assert (done.status, done.headers["ETag"]) == (200, '"2"')
        assert world.gateway.asked == [("put", "gateway: {}", '"1"', True, False)]
        assert (await world.ask("GET /api/v1/config", token=READ)).headers["ETag"] == '"1"'


# --- tokens and sessions


def test_a_hash_tells_a_token_from_others_and_shows_nothing_of_it() -> None:
    made = hash_token("secret", b"0123456789abcdef")
    assert made.startswith("scrypt$14$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$")
    assert is_hash_of(made, "secret")
    assert not is_hash_of(made, "Secret")
    assert "secret" not in made
    assert "secret" not in repr(Token("x", "read", "secret", made))
    assert hash_token("secret") != hash_token("secret")


async def test_what_was_recognised_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[bytes] = []
    scrypt = "wattbridge.operation.api.tokens._scrypt"

    def echo(token: bytes, *_: object) -> bytes:
        hashed.append(token)
        return token

    monkeypatch.setattr(scrypt, echo)
    access = Access([Token("depot", "operate", hash="scrypt$14$8$1$$cmlnaHQ=")])  # Base64 of "right"
    for _ in range(3):
        found = await access.recognise("right")
        assert found is not None
    assert hashed == [b"right"]
    for _ in range(2):
        assert await access.recognise("wrong") is None
    assert hashed == [b"right", b"wrong", b"wrong"]
    access.go_by([])
    assert await access.recognise("right") is None


async def test_only_so_many_wrong_tokens_wait_for_each_other() -> None:
    access = Access([TOKENS[1]])
    results = await asyncio.gather(
        *(access.recognise(f"guess {number}") for number in range(12)), return_exceptions=True
    )
    refused = [each for each in results if isinstance(each, Refusal)]
    assert [each.status for each in refused] == [429] * 4
    assert results[:8] == [None] * 8
    assert await access.recognise("x" * 5000) is None
    assert await access.recognise("") is None


def test_a_session_ends_when_it_is_not_used_and_in_any_case_some_day() -> None:
    now = 0.0
    access = Access(TOKENS, clock=lambda: now)
    idle, _ = access.begin(TOKENS[0])
    used, _ = access.begin(TOKENS[0])
    now = SESSION_IDLE
    assert access.session(used) is not None
    now = SESSION_IDLE + 1
    assert access.session(idle) is None
    assert access.session(used) is not None
    while now < SESSION_AGE - SESSION_IDLE:
        now += SESSION_IDLE
        assert access.session(used) is not None
    now = SESSION_AGE + 1
    assert access.session(used) is None


def test_of_too_many_sessions_the_one_used_longest_ago_ends() -> None:
    access = Access(TOKENS)
    first, _ = access.begin(TOKENS[0])
    second, _ = access.begin(TOKENS[0])
    assert access.session(first) is not None
    for _ in range(MOST_SESSIONS - 1):
        access.begin(TOKENS[0])
    assert access.session(second) is None
    assert access.session(first) is not None
    access.end(first)
    assert access.session(first) is None


# --- the audit log


async def test_the_audit_log_is_bounded_by_age_and_size() -> None:
    now = 1000.0
    store = MemoryStore()
    audit = Audit(store, Journal(), AuditKeeping(age=100.0, most_bytes=400), wall_clock=lambda: now)

    async def note(request: str) -> None:
        await audit.note(who="x", role="admin", source="::1", request=request, status=200)

    for number in range(3):
        await note(f"POST /{number}")
        now += 60.0
    await audit.prune()
    assert [each.request for each in await audit.list(None, 10)] == ["POST /2"]
    for number in range(20):
        await note(f"POST /{number}/{'x' * 30}")
    await audit.prune()
    kept = await audit.list(None, 100)
    assert 5 < len(kept) < 20
    assert kept[0].request.startswith("POST /19/")
    assert [each.number for each in kept] == sorted((each.number for each in kept), reverse=True)
    assert [each.request for each in await audit.list(kept[0].number, 1)] == [kept[1].request]
    assert await audit.list(None, 10, "y") == []


async def test_numbers_grow_also_when_the_clock_was_set_back() -> None:
    now, store = 1000.0, MemoryStore()
    for _ in range(2):  # a restart in between
        audit = Audit(store, Journal(), wall_clock=partial(float, now))
        for _ in range(2):
            await audit.note(who="x", role="admin", source="::1", request="POST /", status=200)
        now -= 500.0
    assert len(await store.find(AuditEntry)) == 4


async def test_a_long_request_is_cut() -> None:
    store = MemoryStore()
    audit = Audit(store, Journal())
    details = {"payload": "x" * 5000, "half": "\ud83d"}
    await audit.note(who="x", role="admin", source="::1", request="POST /", status=200, details=details)
    [row] = await store.find(AuditEntry)
    assert len(row.details) == 2001
