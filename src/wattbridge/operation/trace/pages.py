"""The pages of the admin API about messages: history, live stream, captures, and translating by hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

import orjson
from aiohttp import web

from wattbridge.operation.api.pages import Page, a_number, an_object, answered, limit, malformed, rows
from wattbridge.operation.api.refusals import Refusal
from wattbridge.operation.history import History
from wattbridge.operation.trace import formats
from wattbridge.operation.trace.capture import (
    LONGEST,
    MOST_BYTES,
    MOST_RECORDS,
    USUAL_BYTES,
    USUAL_RECORDS,
    USUAL_TIME,
    CannotCapture,
    Captures,
    Wanted,
)
from wattbridge.operation.trace.filter import FIELDS, Filter, FilterError, narrowed, parse, read_duration
from wattbridge.operation.trace.live import Hub, Reader, TooManyReaders
from wattbridge.operation.trace.view import moment, row_of, whole_of
from wattbridge.store.base import Capture, Exchange, NotKept

USUAL_ROWS, MOST_ROWS = 100, 500  # in one answer
MOST_LOOKED_AT = 5000  # rows of the history, for one answer; the cursor goes on behind them
USUAL_DOWNLOAD, MOST_DOWNLOADED = 1000, 10_000  # exchanges
PING_EVERY = 15.0  # seconds; without a word, proxies close a connection
MEDIA = {"oot": "application/x-ndjson", "ndjson": "application/x-ndjson", "text": "text/plain"}
SUFFIX = {"oot": "jsonl", "ndjson": "ndjson", "text": "txt"}
# Parameter → field of the filter language.
_PARAMETERS = {
    "charger": "charger",
    "action": "action",
    "direction": "dir",
    "outcome": "status",
    "from": "since",
    "to": "until",
}

Write = Callable[[Iterable[Exchange]], str]


class Explains(Protocol):
    """What the command line tells without a gateway, for whoever asks one. Both raise Refusal."""

    def explain(self, query: str) -> list[dict[str, Any]]: ...

    def translate(self, asked: dict[str, Any]) -> dict[str, Any]: ...


def pages(
    history: History,
    hub: Hub,
    captures: Captures,
    explains: Explains,
    wall_clock: Callable[[], float] = time.time,
) -> list[Page]:
    messages = _Messages(history, hub, wall_clock)
    traces = _Traces(captures, wall_clock)

    async def explain(request: web.Request) -> web.Response:
        # The first time, the service descriptions are compiled for it.
        return answered({"explained": await asyncio.to_thread(explains.explain, request.query.get("q", ""))})

    async def translate(request: web.Request) -> web.Response:
        asked = await an_object(request, {"message": "<Envelope…", "to": "json"})
        return answered(await asyncio.to_thread(explains.translate, asked))

    one, trace = "/messages/{number}", "/traces/{trace}"
    return [
        Page("GET", "/messages", "read", messages.all, "exchanges of the history, the newest first"),
        Page("GET", "/messages/stream", "read", messages.stream, "exchanges as they happen (SSE)"),
        Page("GET", "/messages/download", "read", messages.download, "exchanges of the history as a file"),
        Page("GET", "/messages/fields", "read", messages.fields, "the fields of the filter language"),
        Page("GET", one, "read", messages.show, "one exchange whole"),
        Page("GET", f"{one}/download", "read", messages.download_one, "one exchange as a file"),
        Page("POST", f"{one}/reveal", "operate", messages.reveal, "what was blotted out of one"),
        Page("GET", "/traces", "read", traces.all, "the captures"),
        Page("POST", "/traces", "operate", traces.start, "begin a capture"),
        Page("GET", trace, "read", traces.show, "one capture"),
        Page("POST", f"{trace}/stop", "operate", traces.stop, "end a capture before its time"),
        Page("DELETE", trace, "operate", traces.delete, "take a capture away, with all that it has"),
        Page("GET", f"{trace}/download", "read", traces.download, "what a capture has, as a file"),
        Page("GET", "/explain", "read", explain, "how an action or a field is translated"),
        Page("POST", "/translate", "read", translate, "translate one message"),
    ]


class _Messages:
    def __init__(self, history: History, hub: Hub, wall_clock: Callable[[], float]) -> None:
        self._history = history
        self._hub = hub
        self._now = wall_clock

    async def all(self, request: web.Request) -> web.Response:
        wanted = _filter_of(request, self._now())
        most = limit(request, MOST_ROWS) if "limit" in request.query else USUAL_ROWS
        with _kept():
            found, cursor = await self._find(wanted, _cursor_of(request), most, MOST_LOOKED_AT)
        return rows("messages", [row_of(exchange) for exchange in found], cursor)

    async def show(self, request: web.Request) -> web.Response:
        return answered(whole_of(await self._one(request)))

    async def reveal(self, request: web.Request) -> web.Response:
        exchange = await self._one(request)
        raise Refusal(
            404,
            "unsupported",
            f"of exchange {exchange.number} only what is shown is kept (store.history.redact)",
        )

    async def fields(self, request: web.Request) -> web.Response:
        wanted = _filter_of(request, self._now())
        return answered({"filter": str(wanted), "fields": FIELDS})

    async def download_one(self, request: web.Request) -> web.StreamResponse:
        exchange = await self._one(request)
        if request.query.get("format") == "exchange":
            try:
                folder, files = await asyncio.to_thread(formats.exchange_folder, exchange)
            except formats.CannotExport as problem:
                raise Refusal(409, "untranslatable", f"exchange {exchange.number}: {problem}") from None
            return answered(
                {"folder": folder, "files": {name: text.decode() for name, text in files.items()}}
            )

        async def pages_of_one() -> AsyncIterator[list[Exchange]]:
            yield [exchange]

        return await _download(request, f"exchange-{exchange.number}", pages_of_one())

    async def download(self, request: web.Request) -> web.StreamResponse:
        """The newest of those that are wanted, the oldest of them first."""
        wanted = _filter_of(request, self._now())
        most = limit(request, MOST_DOWNLOADED) if "limit" in request.query else USUAL_DOWNLOAD
        with _kept():
            found, _ = await self._find(wanted, None, most, None)
        found.reverse()

        async def in_pages() -> AsyncIterator[list[Exchange]]:
            for at in range(0, len(found), 100):
                yield found[at : at + 100]

        return await _download(request, "messages", in_pages())

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """``id``, ``event: message`` and ``data``, a row, of each exchange as it happens; ``event: gap``
        where some are missing. With the header Last-Event-ID, what came after that one first.
        """
        wanted = _filter_of(request, self._now())
        last = request.headers.get("Last-Event-ID", request.query.get("last_event_id", ""))
        after = a_number(last, "Last-Event-ID") if last else None
        whole = request.query.get("format", "row")
        if whole not in ("row", "ndjson"):
            raise malformed(f"format: found {whole[:60]!r}, expected row or ndjson")
        write = _row_line if whole == "row" else formats.ndjson
        try:
            reader = self._hub.read(wanted)
        except TooManyReaders as problem:
            raise Refusal(503, "busy", str(problem)) from None
        try:
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream; charset=utf-8",
                    "Cache-Control": "no-store",
                    "X-Accel-Buffering": "no",
                }
            )
            await response.prepare(request)
            with suppress(ConnectionError):
                await response.write(b"retry: 2000\n\n")
                async for event in self._events(reader, wanted, after, write):
                    await response.write(event)
                await response.write_eof()
            return response
        finally:
            self._hub.leave(reader)

    async def _events(
        self, reader: Reader, wanted: Filter, after: int | None, write: Callable[[Exchange], str]
    ) -> AsyncIterator[bytes]:
        seen = after or 0
        if after is not None:
            try:
                oldest = await self._history.oldest()
                if oldest > after + 1 or (not oldest and self._history.number > after):
                    yield _gap(None)  # nobody knows what was between
                async for page in self._history.after(after):
                    found = [exchange for exchange in page if wanted.matches(exchange)]
                    seen = page[-1].number
                    if found:
                        yield b"".join(_event(exchange, write) for exchange in found)
            except NotKept:
                yield _gap(None)
        while (heard := await reader.next(within=PING_EVERY)) is not None:
            missed, exchanges = heard
            if missed and not (exchanges and exchanges[0].number <= seen + 1):
                yield _gap(missed)
            fresh = [exchange for exchange in exchanges if exchange.number > seen]
            yield b"".join(_event(exchange, write) for exchange in fresh) or b": \n\n"

    async def _one(self, request: web.Request) -> Exchange:
        number = a_number(request.match_info["number"], "number")
        with _kept():
            found = await self._history.find(number) if 0 < number < 1 << 63 else None
        if found is None:
            raise Refusal(404, "unsupported", f"there is no exchange {number} in the history")
        return found

    async def _find(
        self, wanted: Filter, before: int | None, most: int, most_looked_at: int | None
    ) -> tuple[list[Exchange], str | None]:
        """At most so many, the newest first, and the cursor behind them where there may be more."""
        found: list[Exchange] = []
        looked_at = 0
        async for page in self._history.before(before, wanted.charger, wanted.until):
            for exchange in page:
                if exchange.began + exchange.seconds < wanted.since:
                    return found, None  # whatever is older has ended before
                looked_at += 1
                if wanted.matches(exchange):
                    found.append(exchange)
                if len(found) == most or looked_at == most_looked_at:
                    return found, str(exchange.number)
        return found, None


class _Traces:
    def __init__(self, captures: Captures, wall_clock: Callable[[], float]) -> None:
        self._captures = captures
        self._now = wall_clock

    async def all(self, request: web.Request) -> web.Response:
        return rows("traces", list(map(_capture, self._captures.all())), None)

    async def show(self, request: web.Request) -> web.Response:
        return answered(_capture(self._one(request)))

    async def start(self, request: web.Request) -> web.Response:
        asked = await an_object(request, {"filter": "charger:BER-*", "for": "10m"})
        with _kept():
            try:
                return answered(_capture(await self._captures.start(_wanted_of(asked, self._now()))))
            except CannotCapture as problem:
                raise Refusal(409, "busy", str(problem)) from None

    async def stop(self, request: web.Request) -> web.Response:
        capture = self._one(request)
        self._captures.stop(capture.id)
        return answered(_capture(self._one(request)))

    async def delete(self, request: web.Request) -> web.Response:
        capture = self._one(request)
        with _kept():
            await self._captures.delete(capture.id)
        return answered(_capture(capture) | {"state": "deleted"})

    async def download(self, request: web.Request) -> web.StreamResponse:
        capture = self._one(request)
        return await _download(request, f"trace-{capture.id}", self._captures.read(capture.id))

    def _one(self, request: web.Request) -> Capture:
        capture = self._captures.find(request.match_info["trace"])
        if capture is None:
            raise Refusal(404, "unsupported", f"there is no capture {request.match_info['trace'][:60]!r}")
        return capture


# --- what is asked


def _filter_of(request: web.Request, now: float) -> Filter:
    """What ``?filter=`` and the parameters beside it want together. Raises Refusal."""
    query = request.query
    more = {field: query[name] for name, field in _PARAMETERS.items() if query.get(name)}
    return _filter(query.get("filter", ""), more, now)


def _filter(text: str, more: dict[str, str], now: float) -> Filter:
    try:
        return narrowed(parse(text, now), more, now)
    except FilterError as problem:
        raise Refusal(
            400,
            "malformed",
            f"filter: {problem}",
            column=problem.column,
            problem=problem.problem,
            suggestion=problem.suggestion,
        ) from None


def _cursor_of(request: web.Request) -> int | None:
    cursor = request.query.get("cursor")
    if cursor is None:
        return None
    number = a_number(cursor, "cursor")
    if not 0 < number < 1 << 63:
        raise malformed(f"cursor: found {cursor[:60]!r}, expected the one of a page before")
    return number


def _wanted_of(asked: dict[str, Any], now: float) -> Wanted:
    """Raises Refusal."""
    known = ("filter", "charger", "network", "name", "for", "records", "bytes")
    if unknown := [name for name in asked if name not in known]:
        raise malformed(f"found {unknown[0][:60]!r}, expected any of {', '.join(known)}")

    def text(name: str, most: int) -> str:
        value = asked.get(name, "")
        if not isinstance(value, str) or len(value) > most:
            raise malformed(
                f"{name}: found {str(value)[:60]!r}, expected a text of at most {most} characters"
            )
        return value

    def number(name: str, usual: int, most: int) -> int:
        value = asked.get(name, usual)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
            raise malformed(f"{name}: found {str(value)[:60]!r}, expected 1 to {most}")
        return value

    seconds = USUAL_TIME
    if "for" in asked:
        try:
            seconds = read_duration(text("for", 60))
        except ValueError as problem:
            raise malformed(f"for: {problem}") from None
        if not 0 < seconds <= LONGEST:
            raise malformed(f"for: found {asked['for']!r}, expected at most {LONGEST / 86400:g}d")
    more = {"charger": text("charger", 255), "source": text("network", 60)}
    wanted = _filter(text("filter", 2000), {field: value for field, value in more.items() if value}, now)
    return Wanted(
        wanted,
        text("name", 100),
        seconds,
        number("records", USUAL_RECORDS, MOST_RECORDS),
        number("bytes", USUAL_BYTES, MOST_BYTES),
    )


class _kept:  # noqa: N801 -- it reads as a word of a with statement
    """What a store cannot keep or read is a refusal."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, NotKept):
            raise Refusal(503, "internal", f"the store: {problem}") from None


# --- what is answered


def _capture(capture: Capture) -> dict[str, Any]:
    return {
        "id": capture.id,
        "name": capture.name,
        "filter": capture.wanted,
        "state": "running" if capture.ended is None else "ended",
        "reason": capture.reason,
        "began": moment(capture.began),
        "ends": moment(capture.ends),
        "ended": None if capture.ended is None else moment(capture.ended),
        "records": capture.records,
        "bytes": capture.bytes,
        "limit_records": capture.limit_records,
        "limit_bytes": capture.limit_bytes,
    }


def _row_line(exchange: Exchange) -> str:
    return orjson.dumps(row_of(exchange)).decode()


def _event(exchange: Exchange, write: Callable[[Exchange], str]) -> bytes:
    # JSON has no line feed in it.
    return f"id: {exchange.number}\nevent: message\ndata: {write(exchange)}\n\n".encode(errors="replace")


def _gap(missed: int | None) -> bytes:
    return f"event: gap\ndata: {json.dumps({'missed': missed})}\n\n".encode()


def _writer(request: web.Request) -> tuple[str, Write]:
    wanted, legs = request.query.get("format", "oot"), request.query.get("legs", "both")
    if wanted not in MEDIA:
        raise malformed(f"format: found {wanted[:60]!r}, expected {', '.join(MEDIA)}")
    known = next((known for known in formats.LEGS if known == legs), None)
    if known is None:
        raise malformed(f"legs: found {legs[:60]!r}, expected {', '.join(formats.LEGS)}")
    return wanted, lambda page: formats.write(wanted, page, known)


async def _download(
    request: web.Request, name: str, found: AsyncIterator[list[Exchange]]
) -> web.StreamResponse:
    wanted, write = _writer(request)
    response = web.StreamResponse(
        headers={
            "Content-Type": f"{MEDIA[wanted]}; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}.{SUFFIX[wanted]}"',
        }
    )
    prepared = False
    with _kept():
        async for page in found:
            # Envelopes are read for it, and the event loop has better to do.
            text = await asyncio.to_thread(write, page)
            if not prepared:
                await response.prepare(request)
                prepared = True
            await response.write(text.encode(errors="replace"))
    if not prepared:
        await response.prepare(request)
    await response.write_eof()
    return response
