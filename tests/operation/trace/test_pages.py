"""The pages about messages as whoever asks sees them: HTTP, JSON, and a stream that can be taken up again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from tests.fakes import PATIENCE, Clock
from tests.traced import METER_VALUES, NOW, NUMBER, RELAYED, a_record
from wattbridge.ocpp.messages import CallError
from wattbridge.operation.api import Access, AdminPort, Refusal, Token
from wattbridge.operation.history import History, Keeping
from wattbridge.operation.trace import live
from wattbridge.operation.trace import pages as module
from wattbridge.operation.trace.capture import Captures
from wattbridge.operation.trace.live import Hub
from wattbridge.operation.trace.models import ToTranslate
from wattbridge.operation.trace.pages import pages
from wattbridge.relay.journal import Journal
from wattbridge.store.memory import MemoryStore

TOKEN = "a-token-of-some-length"


class Explains:
    def explain(self, query: str) -> list[dict[str, Any]]:
        if query != "Heartbeat":
            raise Refusal(404, "unsupported", f"there is no action {query!r}")
        return [{"message": "Heartbeat"}]

    def translate(self, asked: ToTranslate) -> dict[str, Any]:
        return {"text": asked.message}


@dataclass
class Stream:
    """A stream of events: ``next`` gives name, id and data of each."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lines: list[str] = field(default_factory=list)

    async def next(self) -> tuple[str, str, Any]:
        """The next event that is none of the pings."""
        event = {"event": "", "id": "", "data": "null"}
        async with asyncio.timeout(PATIENCE):
            while True:
                line = (await self.reader.readline()).decode().rstrip("\r\n")
                if not line and event["event"]:
                    return event["event"], event["id"], json.loads(event["data"])
                name, _, value = line.partition(": ")
                if name in event:
                    event[name] = value

    def close(self) -> None:
        self.writer.close()


@dataclass
class World:
    port: AdminPort
    journal: Journal
    history: History
    hub: Hub
    store: MemoryStore
    clock: Clock

    async def _send(self, request: str, body: str, headers: str) -> tuple[asyncio.StreamReader, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port.port)
        content = body.encode()
        head = (
            f"{request} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n"
        )
        writer.write(f"{head}{headers}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        return reader, writer

    async def text(self, request: str, body: str = "") -> tuple[int, dict[str, str], str]:
        reader, writer = await self._send(request, body, "")
        async with asyncio.timeout(PATIENCE):
            answer = (await reader.read()).decode()
        writer.close()
        lines, _, content = answer.partition("\r\n\r\n")
        status, *headers = lines.split("\r\n")
        named = dict(line.split(": ", 1) for line in headers)
        if named.get("Transfer-Encoding") == "chunked":
            content = "".join(content.split("\r\n")[1::2])
        return int(status.split()[1]), named, content

    async def ask(self, request: str, body: str = "") -> tuple[int, Any]:
        status, _, content = await self.text(request, body)
        return status, json.loads(content)

    async def get(self, path: str) -> Any:
        status, answer = await self.ask(f"GET /api/v1/{path}")
        assert status == 200, answer
        return answer

    async def listed(self, query: str = "") -> list[int]:
        """The last digits of the numbers that a list has."""
        return [row["number"] % 1000 for row in (await self.get(f"messages?{query}"))["messages"]]

    async def stream(self, query: str = "", last: int | None = None) -> Stream:
        header = "" if last is None else f"Last-Event-ID: {last}\r\n"
        reader, writer = await self._send(f"GET /api/v1/messages/stream?{query}", "", header)
        async with asyncio.timeout(PATIENCE):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert "200 OK" in head, head
            assert "text/event-stream" in head
        return Stream(reader, writer)

    def record(self, number: int = 1, **changes: Any) -> None:
        for _ in range(number):
            self.journal.record(a_record(**changes))


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    store, journal, clock = MemoryStore(), Journal(), Clock(NOW)
    history = History(store, Keeping(3600.0), clock)
    history.listen_to(journal)
    await history.begin()
    hub = Hub(history, journal)
    ids = iter("abcdef")
    captures = Captures(store, history, lambda: next(ids), clock)
    await captures.begin()
    access = Access([Token("admin", "admin", TOKEN)])
    port = AdminPort("127.0.0.1", 0, access, pages(history, hub, captures, Explains(), clock))
    await port.start()
    try:
        yield World(port, journal, history, hub, store, clock)
    finally:
        hub.close()
        await port.stop()


# --- the history ---


async def test_exchanges_are_listed_the_newest_first_and_page_by_page() -> None:
    async with a_world() as world:
        world.record(5)
        page = await world.get("messages?limit=2")
        assert [row["number"] - NUMBER for row in page["messages"]] == [4, 3]
        assert page["messages"][0]["action"] == "MeterValues"
        assert page["cursor"] == str(NUMBER + 3)
        page = await world.get(f"messages?limit=2&cursor={page['cursor']}")
        assert [row["number"] - NUMBER for row in page["messages"]] == [2, 1]
        page = await world.get(f"messages?limit=2&cursor={page['cursor']}")
        assert [row["number"] - NUMBER for row in page["messages"]] == [0]
        assert "cursor" not in page


async def test_a_filter_and_parameters_choose() -> None:
    async with a_world() as world:
        world.record(identity="BER-0001")
        world.record(identity="HAM-1", action="Heartbeat")
        world.record(identity="HAM-1", reply=CallError("GenericError", reason="timeout"), began=NOW + 60)
        world.clock.now = NOW + 120
        assert await world.listed(f"filter={quote('charger:HAM-* and not status:timeout')}") == [2]
        assert await world.listed("charger=HAM-1&action=Heartbeat") == [2]
        assert await world.listed("outcome=failed") == [3]
        assert await world.listed("outcome=timeout&direction=to_csms") == [3]
        assert await world.listed("direction=to_charger") == []
        assert await world.listed("from=90s") == [3]
        assert await world.listed("to=2024-05-01T10:00:30Z&charger=HAM-1") == [2]


async def test_one_answer_looks_at_so_many_and_the_cursor_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LOOKED_AT", 3)
    async with a_world() as world:
        world.record(identity="HAM-1")
        world.record(4)
        page = await world.get("messages?filter=charger:H*")
        assert page == {"messages": [], "cursor": str(NUMBER + 2)}
        page = await world.get(f"messages?filter=charger:H*&cursor={page['cursor']}")
        assert [row["number"] for row in page["messages"]] == [NUMBER]


async def test_what_is_not_understood_is_a_problem_with_its_place() -> None:
    async with a_world() as world:
        status, answer = await world.ask("GET /api/v1/messages?filter=leg:soap%20acton:x")
        assert (status, answer) == (
            400,
            {
                "status": 400,
                "title": "filter: column 10: there is no field 'acton' (did you mean action:?)",
                "reason": "malformed",
                "column": 10,
                "problem": "there is no field 'acton'",
                "suggestion": "action:",
            },
        )
        for query in ("outcome=broken", "cursor=x", "cursor=0", "limit=501", "from=yesterday"):
            assert (await world.ask(f"GET /api/v1/messages?{query}"))[0] == 400
        assert (await world.ask("GET /api/v1/messages/stream?filter=("))[0] == 400
        assert (await world.ask("GET /api/v1/messages/stream?format=xml"))[0] == 400


async def test_one_is_shown_whole_with_both_encodings() -> None:
    async with a_world() as world:
        world.record()
        whole = await world.get(f"messages/{NUMBER}")
        assert whole["sides"]["charger"]["call"] == METER_VALUES
        assert whole["sides"]["csms"]["call"] == RELAYED
        assert whole["pairs"][0]["json"] == "connectorId"
        assert await world.ask("GET /api/v1/messages/17") == (
            404,
            {"status": 404, "title": "there is no exchange 17 in the history", "reason": "unsupported"},
        )
        assert (await world.ask(f"GET /api/v1/messages/{1 << 63}"))[0] == 404
        assert (await world.ask("GET /api/v1/messages/x"))[0] == 400
        status, answer = await world.ask(f"POST /api/v1/messages/{NUMBER}/reveal")
        assert (status, answer["title"]) == (
            404,
            f"of exchange {NUMBER} only what is shown is kept (store.history.redact)",
        )


async def test_a_store_that_cannot_be_read_is_said() -> None:
    async with a_world() as world:
        world.record()
        world.store.problem = "the disk is full"
        status, answer = await world.ask("GET /api/v1/messages")
        assert (status, answer["title"]) == (503, "the store: the disk is full")


async def test_the_fields_of_the_language_are_told_for_the_help_of_a_console() -> None:
    async with a_world() as world:
        told = await world.get("messages/fields?filter=leg:soap%20AND%20(action:Heartbeat)")
        assert told["filter"] == "leg:soap action:Heartbeat"
        assert told["fields"]["leg"] == "soap or json: how one of the two parties speaks"


async def test_files_of_the_history() -> None:
    async with a_world() as world:
        world.record()
        world.record(identity="HAM-1")
        status, headers, content = await world.text("GET /api/v1/messages/download?format=oot&legs=csms")
        assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert headers["Content-Disposition"] == 'attachment; filename="messages.jsonl"'
        assert [json.loads(line)["chargePointId"] for line in content.splitlines()] == [
            "BER-0001", "BER-0001", "HAM-1", "HAM-1"
        ]  # fmt: skip
        _, _, content = await world.text("GET /api/v1/messages/download?format=text&limit=1")
        assert "HAM-1 → at cloud MeterValues: ok" in content
        _, _, content = await world.text(f"GET /api/v1/messages/{NUMBER}/download?format=ndjson")
        assert json.loads(content)["arrived"] == METER_VALUES
        answer = await world.get(f"messages/{NUMBER}/exchange")
        assert answer["folder"] == "exchanges/MeterValues"
        assert answer["files"]["2-central_system.json"] == RELAYED.replace("7d1f", "1") + "\n"
        assert (await world.ask("GET /api/v1/messages/download?format=xml"))[0] == 400
        assert (await world.ask("GET /api/v1/messages/download?legs=left"))[0] == 400
        world.record(answered=None, asked=None, replied=a_record().replied, how="kept")
        status, answer = await world.ask(f"GET /api/v1/messages/{NUMBER + 2}/exchange")
        assert (status, answer["reason"]) == (409, "untranslatable")
        status, headers, content = await world.text(
            "GET /api/v1/messages/download?filter=leg:json%20not%20leg:json"
        )
        assert (status, content) == (200, "")


# --- the stream ---


async def test_an_exchange_is_seen_when_it_has_happened() -> None:
    async with a_world() as world:
        world.record()
        stream = await world.stream("filter=action:MeterValues")
        world.record(action="Heartbeat")
        world.record()
        name, number, row = await stream.next()
        assert (name, number) == ("message", str(NUMBER + 2))
        assert row == (await world.get("messages?limit=1"))["messages"][0]
        stream.close()
        whole = await world.stream("format=ndjson")
        world.record()
        assert (await whole.next())[2]["asked"] == RELAYED
        whole.close()


async def test_a_stream_is_taken_up_where_it_broke_off() -> None:
    async with a_world() as world:
        world.record(5)
        stream = await world.stream("filter=action:MeterValues", last=NUMBER + 1)
        for number in (2, 3, 4):
            assert (await stream.next())[1] == str(NUMBER + number)
        world.record()
        assert (await stream.next())[1] == str(NUMBER + 5)
        stream.close()
        stream = await world.stream(f"last_event_id={NUMBER + 5}")  # as one who cannot set a header asks
        world.record()
        assert (await stream.next())[1] == str(NUMBER + 6)
        stream.close()


async def test_a_gap_is_shown_where_the_history_does_not_reach_back() -> None:
    async with a_world() as world:
        world.record(2)
        stream = await world.stream(last=NUMBER - 1000)
        assert (await stream.next())[::2] == ("gap", {"missed": None})
        assert (await stream.next())[1] == str(NUMBER)
        stream.close()
        world.store.problem = "the disk is full"
        stream = await world.stream(last=NUMBER)
        assert (await stream.next())[::2] == ("gap", {"missed": None})
        stream.close()


async def test_a_gap_is_shown_to_a_reader_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_QUEUED", 3)
    monkeypatch.setattr(Hub.read, "__defaults__", (3, live.MOST_QUEUED_BYTES))
    async with a_world() as world:
        stream = await world.stream()
        world.record(10)  # before the event loop comes to the reader
        assert await stream.next() == ("gap", "", {"missed": 7})
        assert [(await stream.next())[1] for _ in range(3)] == [str(NUMBER + each) for each in (7, 8, 9)]
        stream.close()


async def test_a_stream_that_is_silent_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_EVERY", 0.01)
    async with a_world() as world:
        stream = await world.stream()
        async with asyncio.timeout(PATIENCE):
            assert b": \n" in await stream.reader.readuntil(b": \n")
        stream.close()
        async with asyncio.timeout(PATIENCE):
            while world.hub.readers:  # noqa: ASYNC110 -- it is noticed that nobody reads any more
                await asyncio.sleep(0.01)


async def test_no_more_streams_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_world() as world:
        monkeypatch.setattr(world.hub, "_most_readers", 1)
        stream = await world.stream()
        status, answer = await world.ask("GET /api/v1/messages/stream")
        assert (status, answer["reason"]) == (503, "busy")
        stream.close()


# --- captures, and translating by hand ---


async def test_a_capture_from_its_beginning_to_its_end() -> None:
    async with a_world() as world:
        asked = {"filter": "action:MeterValues", "charger": "BER-*", "network": "10.0.0.0/8", "for": "5m"}
        status, capture = await world.ask("POST /api/v1/traces", json.dumps(asked | {"records": 10}))
        assert (status, capture) == (
            200,
            {
                "id": "a",
                "name": "action:MeterValues charger:BER-* source:10.0.0.0/8",
                "filter": "action:MeterValues charger:BER-* source:10.0.0.0/8",
                "state": "running",
                "reason": "",
                "began": "2024-05-01T10:00:00.000Z",
                "ends": "2024-05-01T10:05:00.000Z",
                "ended": None,
                "records": 0,
                "bytes": 0,
                "limit_records": 10,
                "limit_bytes": 16777216,
            },
        )
        world.record(address="10.20.0.7")
        world.record(address="192.168.0.7")
        assert (await world.get("traces/a"))["records"] == 1
        [listed] = (await world.get("traces"))["traces"]
        assert listed["records"] == 1
        _, headers, content = await world.text("GET /api/v1/traces/a/download?format=oot")
        assert headers["Content-Disposition"] == 'attachment; filename="trace-a.jsonl"'
        assert len(content.splitlines()) == 4
        assert (await world.ask("POST /api/v1/traces/a/stop"))[1]["state"] == "ended"
        assert (await world.ask("DELETE /api/v1/traces/a"))[1]["state"] == "deleted"
        assert (await world.get("traces"))["traces"] == []
        for request in ("GET /api/v1/traces/a", "DELETE /api/v1/traces/a", "GET /api/v1/traces/a/download"):
            assert (await world.ask(request))[0] == 404


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"filter": "acton:x"}, "filter: column 1: there is no field 'acton'"),
        ({"network": "10.20"}, "filter: column 0: source: found '10.20', expected an address"),
        ({"for": "long"}, "for: found 'long', expected a duration"),
        ({"for": "8d"}, "for: found '8d', expected more than 0s, and at most 7d"),
        ({"records": 0}, "records: Input should be greater than or equal to 1"),
        ({"bytes": True}, "bytes: Input should be a valid integer"),
        ({"name": 7}, "name: Input should be a valid string"),
        ({"until": "x"}, "until: Extra inputs are not permitted"),
    ],
)
async def test_a_capture_that_cannot_be_is_refused(asked: dict[str, Any], said: str) -> None:
    async with a_world() as world:
        status, answer = await world.ask("POST /api/v1/traces", json.dumps(asked))
        assert (status, answer["title"][: len(said)]) == (400, said)


async def test_too_many_captures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from wattbridge.operation.trace import capture

    monkeypatch.setattr(capture, "MOST_RUNNING", 1)
    async with a_world() as world:
        assert (await world.ask("POST /api/v1/traces", "{}"))[0] == 200
        status, answer = await world.ask("POST /api/v1/traces", "{}")
        assert (status, answer["title"]) == (409, "1 captures are running: stop one first")


async def test_what_the_command_line_tells_is_told_here_too() -> None:
    async with a_world() as world:
        assert await world.get("explain?q=Heartbeat") == {"explained": [{"message": "Heartbeat"}]}
        assert (await world.ask("GET /api/v1/explain?q=x"))[0] == 404
        assert (await world.ask("POST /api/v1/translate", '{"message":"[2,"}'))[1] == {"text": "[2,"}
