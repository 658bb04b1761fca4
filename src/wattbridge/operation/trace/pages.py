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

from wattbridge.operation.api.pages import Page, Query, a_number, answered, limit, note_details, rows
from wattbridge.operation.api.pages import asked as body_of
from wattbridge.operation.api.refusals import Refusal, malformed
from wattbridge.operation.history import History
from wattbridge.operation.trace import formats, models
from wattbridge.operation.trace.capture import LONGEST, CannotCapture, Captures, Wanted
from wattbridge.operation.trace.filter import FIELDS, Filter, FilterError, narrowed, parse, read_duration
from wattbridge.operation.trace.live import Hub, Reader, TooManyReaders
from wattbridge.operation.trace.view import moment, row_of, whole_of
from wattbridge.store.base import Capture, Exchange, NotKept

USUAL_ROWS, MOST_ROWS = 100, 500  # in one answer
MOST_LOOKED_AT = 5000  # rows of the history, for one answer; the cursor goes on behind them
USUAL_DOWNLOAD, MOST_DOWNLOADED = 1000, 10_000  # exchanges
PING_EVERY = 15.0  # seconds; without a word, proxies close a connection
MEDIA_TYPE = "text/plain"  # of files: lines of JSON are read as lines of text everywhere
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

    def translate(self, asked: models.ToTranslate) -> dict[str, Any]: ...


def pages(
    history: History,
    hub: Hub,
    captures: Captures,
    explains: Explains,
    wall_clock: Callable[[], float] = time.time,
) -> list[Page]:
    messages = _Messages(history, hub, wall_clock)

    async def explain(request: web.Request) -> web.Response:
        # The first time, the service descriptions are compiled for it.
        return answered({"explained": await asyncio.to_thread(explains.explain, request.query.get("q", ""))})

    async def translate(request: web.Request) -> web.Response:
        return answered(
            await asyncio.to_thread(explains.translate, await body_of(request, models.ToTranslate))
        )

    return [
        *_pages_of_messages(messages),
        *_pages_of_captures(_Traces(captures, wall_clock)),
        Page(
            *("GET", "/explain", "read", explain, "how an action or a field is translated"),
            query=(Query("q", "an action or a field: MeterValues.meterValue"),),
            gives=models.Explained,
            refuses=(404,),
        ),
        Page(
            *("POST", "/translate", "read", translate, "translate one message"),
            takes=models.ToTranslate,
            gives=models.Translated,
            refuses=(404, 422),
        ),
    ]


_FILTERS = (
    Query("filter", "what is wanted: charger:BER-* status:timeout"),
    Query("charger", "only those of this charge point; * stands for anything"),
    Query("action", "only this action"),
    Query("direction", "only those", {"type": "string", "enum": ["to_csms", "to_charger"]}),
    Query("outcome", "only those that went so: ok, failed, timeout"),
    Query("from", "not before this time, or so long ago"),
    Query("to", "not after it"),
)
_FORMATS = (
    Query("format", "Open OCPP Trace, NDJSON or text", {"type": "string", "enum": list(SUFFIX)}),
    Query("legs", "of Open OCPP Trace: whose messages", {"type": "string", "enum": list(formats.LEGS)}),
)


def _limit(most: int) -> Query:
    return Query("limit", "how many at most", {"type": "integer", "minimum": 1, "maximum": most})


def _pages_of_messages(messages: _Messages) -> list[Page]:
    one = "/messages/{number}"
    cursor = Query("cursor", "what the page before gave", {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"})
    last = Query("Last-Event-ID", "the last one that was seen", {"type": "integer"})
    return [
        Page(
            *("GET", "/messages", "read", messages.all, "exchanges of the history, the newest first"),
            query=(*_FILTERS, _limit(MOST_ROWS), cursor),
            gives=models.Messages,
            refuses=(503,),
        ),
        Page(
            *("GET", "/messages/stream", "read", messages.stream, "exchanges as they happen (SSE)"),
            query=(
                *_FILTERS,
                Query("format", "rows, or all of each", {"type": "string", "enum": ["row", "ndjson"]}),
                Query("last_event_id", "likewise, where no header can be set", {"type": "integer"}),
            ),
            headers=(last,),
            media_type="text/event-stream",
            refuses=(503,),
        ),
        Page(
            *("GET", "/messages/download", "read", messages.download, "exchanges of the history as a file"),
            query=(*_FILTERS, *_FORMATS, _limit(MOST_DOWNLOADED)),
            media_type=MEDIA_TYPE,
            refuses=(503,),
        ),
        Page(
            *("GET", "/messages/fields", "read", messages.fields, "the fields of the filter language"),
            query=_FILTERS,
            gives=models.FilterFields,
        ),
        Page(
            *("GET", one, "read", messages.show, "one exchange whole"),
            gives=models.MessageWhole,
            refuses=(404, 503),
        ),
        Page(
            *("GET", f"{one}/download", "read", messages.download_one, "one exchange as a file"),
            query=_FORMATS,
            media_type=MEDIA_TYPE,
            refuses=(404, 503),
        ),
        Page(
            *("GET", f"{one}/exchange", "read", messages.exchange, "one exchange as a case of the tests"),
            gives=models.ExchangeFiles,
            refuses=(404, 409, 503),
        ),
        Page(
            *("POST", f"{one}/reveal", "operate", messages.reveal, "what was blotted out of one"),
            gives=models.MessageWhole,
            refuses=(404, 503),
        ),
    ]


def _pages_of_captures(traces: _Traces) -> list[Page]:
    one = "/traces/{trace}"
    return [
        Page("GET", "/traces", "read", traces.all, "the captures", gives=models.Captures),
        Page(
            *("POST", "/traces", "operate", traces.start, "begin a capture"),
            takes=models.WantedCapture,
            gives=models.Capture,
            refuses=(409, 503),
        ),
        Page("GET", one, "read", traces.show, "one capture", gives=models.Capture, refuses=(404,)),
        Page(
            *("POST", f"{one}/stop", "operate", traces.stop, "end a capture before its time"),
            gives=models.Capture,
            refuses=(404,),
        ),
        Page(
            *("DELETE", one, "operate", traces.delete, "take a capture away, with all that it has"),
            gives=models.Capture,
            refuses=(404, 503),
        ),
        Page(
            *("GET", f"{one}/download", "read", traces.download, "what a capture has, as a file"),
            query=_FORMATS,
            media_type=MEDIA_TYPE,
            refuses=(404, 503),
        ),
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

        async def pages_of_one() -> AsyncIterator[list[Exchange]]:
            yield [exchange]

        return await _download(request, f"exchange-{exchange.number}", pages_of_one())

    async def exchange(self, request: web.Request) -> web.Response:
        exchange = await self._one(request)
        try:
            folder, files = await asyncio.to_thread(formats.exchange_folder, exchange)
        except formats.CannotExport as problem:
            raise Refusal(409, "untranslatable", f"exchange {exchange.number}: {problem}") from None
        return answered({"folder": folder, "files": {name: text.decode() for name, text in files.items()}})

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
        number = a_number(request.match_info["number"], "number", any_size=True)
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
        asked = await body_of(request, models.WantedCapture)
        note_details(request, asked.model_dump(by_alias=True, exclude_defaults=True))
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


def _wanted_of(asked: models.WantedCapture, now: float) -> Wanted:
    """Raises Refusal."""
    try:
        seconds = read_duration(asked.for_)
    except ValueError as problem:
        raise malformed(f"for: {problem}") from None
    if not 0 < seconds <= LONGEST:
        raise malformed(f"for: found {asked.for_!r}, expected more than 0s, and at most {LONGEST / 86400:g}d")
    more = {"charger": asked.charger, "source": asked.network}
    wanted = _filter(asked.filter, {field: value for field, value in more.items() if value}, now)
    return Wanted(wanted, asked.name, seconds, asked.records, asked.bytes)


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
    if wanted not in SUFFIX:
        raise malformed(f"format: found {wanted[:60]!r}, expected {', '.join(SUFFIX)}")
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
            "Content-Type": f"{MEDIA_TYPE}; charset=utf-8",
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
