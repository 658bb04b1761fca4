"""Parties of a few lines, which stand at the edge: links without transport, central systems and charge points
of plain text on real sockets, and a clock that is a number.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, CallError, CallResult, Passage, Reply, Side
from wattbridge.relay import routes
from wattbridge.relay.journal import Event, Journal, Record
from wattbridge.relay.registry import Registry
from wattbridge.relay.session import Answer

PATIENCE = 20.0  # seconds until a test gives up
RESET = Call("Reset", {"type": "Hard"})


# --- time, journal, links ----------------------------------------------------------------------------------


@dataclass
class Clock:
    """A clock that goes only where it is told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Listened:
    """What a journal has told."""

    records: list[Record] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear_record(self, record: Record) -> None:
        self.records.append(record)
        self._news.set()

    def hear_event(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def told(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until the journal shows it. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while not happened():
                self._news.clear()
                await self._news.wait()


def listen(journal: Journal) -> Listened:
    heard = Listened()
    journal.listen(record=heard.hear_record, event=heard.hear_event)
    return heard


@dataclass
class FakeLink:
    """A party without a transport: answers with ``outcome``, or raises it.

    While ``may_answer`` is not set nothing comes back; ``takes`` seconds of *clock* pass at each call, of
    which it says it ``waited`` so many. As a link to a central system it runs until it is closed, and then
    until ``may_end`` is set.
    """

    outcome: Reply | Exception = field(default_factory=lambda: CallResult({}))
    transport: str = "json"
    version: str = "1.6"
    form: str = ""
    away: bool = False
    clock: Clock | None = None
    takes: float = 0.0
    waited: float = 0.0
    asked: list[Call] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    running: bool = False
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    _was_closed: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()
        self.may_end.set()

    async def call(self, call: Call) -> Answer:
        self.asked.append(call)
        self._news.set()
        await self.may_answer.wait()
        if self.clock is not None:
            self.clock.now += self.takes
        if isinstance(self.outcome, Exception):
            raise self.outcome
        asked, answered = Passage(self.transport, b"asked"), Passage(self.transport, b"answered")
        return Answer(self.outcome, asked, answered, self.waited)

    @property
    def link(self) -> FakeLink:
        """A link is its own way, and leads everybody."""
        return self

    def leads(self, heard: routes.Heard) -> bool:
        return True

    async def until_asked(self, count: int) -> None:
        """Wait until it has been asked so often."""
        async with asyncio.timeout(PATIENCE):
            while len(self.asked) < count:
                self._news.clear()
                await self._news.wait()

    async def close(self, reason: str) -> None:
        self.closed.append(reason)
        self._was_closed.set()
        await self.may_end.wait()

    async def run(self) -> None:
        self.running = True
        await self._was_closed.wait()
        await self.may_end.wait()
        self.running = False


def away(reason: str = "not_connected", description: str = "nobody is there") -> Unreachable:
    return Unreachable(reason, description)


class CentralSystemAsks:
    """A world where the central system can ask the charge points of *registry*."""

    registry: Registry

    async def call(self, call: Call = RESET, identity: str = "CP1") -> Reply:
        """What the central system gets for a call of its own."""
        session = self.registry.find(identity)
        assert session is not None
        reply, _ = await session.relay(
            call, Passage("json", b""), Side.CENTRAL_SYSTEM, lambda reply: Passage("json", b"")
        )
        return reply

    async def failure(self, call: Call = RESET) -> tuple[str, str]:
        """Reason and description of the error it gets."""
        reply = await self.call(call)
        assert isinstance(reply, CallError)
        return reply.reason, reply.description


# --- a central system of plain frames ----------------------------------------------------------------------


@dataclass
class Connected:
    """One charge point as the central system sees it: a WebSocket whose frames the test reads and writes."""

    identity: str
    path: str
    socket: ServerConnection

    async def frame(self) -> list[Any]:
        """The next frame, as JSON."""
        async with asyncio.timeout(PATIENCE):
            frame: list[Any] = json.loads(await self.socket.recv())
            return frame

    async def text(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return str(await self.socket.recv())

    async def send(self, text: str) -> None:
        await self.socket.send(text)

    async def answer(self, payload: dict[str, Any], action: str = "") -> list[Any]:
        """Read a CALL, of *action* if that is given, and answer it; returns the CALL."""
        call = await self.frame()
        assert call[0] == 2
        assert not action or call[2] == action
        await self.send(json.dumps([3, call[1], payload]))
        return call

    async def close_code(self) -> int | None:
        """Wait for the end of the connection; frames that still come are dropped."""
        async with asyncio.timeout(PATIENCE):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed:
                return self.socket.close_code


@dataclass
class CannedCentralSystem:
    """``url`` is where it is; ``connected`` are the connections in the order they came.

    ``most_at_once`` is how many connections of one identity it has seen at a time. With ``answers`` (action →
    payload of the result) it answers by itself, and nobody else may read.
    """

    port: int = 0
    answers: dict[str, dict[str, Any]] | None = None
    connected: asyncio.Queue[Connected] = field(default_factory=asyncio.Queue)
    identities: list[str] = field(default_factory=list)
    calls: list[list[Any]] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: dict[str, int] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ocpp"

    async def next(self) -> Connected:
        async with asyncio.timeout(PATIENCE):
            return await self.connected.get()

    async def until_called(self, count: int) -> None:
        """Wait until it has got so many CALLs; for one that answers by itself."""
        async with asyncio.timeout(PATIENCE):
            while len(self.calls) < count:
                self._news.clear()
                await self._news.wait()

    async def handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        path = socket.request.path
        identity = path.rpartition("/")[2]
        self.identities.append(identity)
        self._at_once[identity] = self._at_once.get(identity, 0) + 1
        self.most_at_once = max(self.most_at_once, *self._at_once.values())
        self.connected.put_nowait(Connected(identity, path, socket))
        try:
            if self.answers is None:
                await socket.wait_closed()
            else:
                await self._answer(socket, self.answers)
        finally:
            self._at_once[identity] -= 1

    async def _answer(self, socket: ServerConnection, answers: dict[str, dict[str, Any]]) -> None:
        async for text in socket:
            frame = json.loads(text)
            self.calls.append(frame)
            self._news.set()
            if frame[0] == 2 and frame[2] in answers:
                await socket.send(json.dumps([3, frame[1], answers[frame[2]]]))


ACCEPTED = {"status": "Accepted", "currentTime": "2024-05-01T10:00:00Z", "interval": 300}
USUAL_ANSWERS: dict[str, dict[str, Any]] = {
    "BootNotification": ACCEPTED,
    "Heartbeat": {"currentTime": "2024-05-01T10:00:00Z"},
    "StatusNotification": {},
    "Authorize": {"idTagInfo": {"status": "Accepted"}},
    "StartTransaction": {"transactionId": 7, "idTagInfo": {"status": "Accepted"}},
    "StopTransaction": {},
    "MeterValues": {},
    "DataTransfer": {"status": "Accepted"},
}


@asynccontextmanager
async def a_central_system(
    answers: dict[str, dict[str, Any]] | None = None, port: int = 0
) -> AsyncIterator[CannedCentralSystem]:
    central_system = CannedCentralSystem(answers=answers)
    async with serve(
        central_system.handle,
        "127.0.0.1",
        port,
        subprotocols=[Subprotocol("ocpp1.6")],
        compression=None,
        ping_interval=None,
    ) as server:
        central_system.port = next(iter(server.sockets)).getsockname()[1]
        yield central_system


# --- a JSON charge point of plain bytes ---------------------------------------------------------------------

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10  # opcodes (RFC 6455, 5.2)


@dataclass
class PlainWebSocket:
    """The charge point's end of a WebSocket, frame by frame; it answers no ping by itself.

    ``head`` is the answer to its handshake, up to the empty line.
    """

    head: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    def header(self, name: str) -> str | None:
        found = re.search(rf"(?im)^{name}: (.*?)\r?$", self.head)
        return found[1] if found else None

    def send(self, text: str | bytes, opcode: int = TEXT) -> None:
        self.writer.write(client_frame(text, opcode))

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        async with asyncio.timeout(PATIENCE):
            first, length = await self.reader.readexactly(2)
            if length >= 126:
                length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def text(self) -> str:
        opcode, payload = await self.frame()
        assert opcode == TEXT, (opcode, payload)
        return payload.decode()

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the frame that closes it; it is answered, and other frames are dropped."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                self.send(payload, CLOSE)
                self.writer.write_eof()
                return int.from_bytes(payload[:2]), payload[2:].decode()

    async def rest(self) -> bytes:
        """Everything until the other side ends the connection."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def call(self, message_id: str, action: str, payload: dict[str, Any]) -> list[Any]:
        """Ask the central system; the reply as JSON."""
        self.send(json.dumps([2, message_id, action, payload]))
        reply: list[Any] = json.loads(await self.text())
        return reply

    def hang_up(self) -> None:
        self.writer.transport.abort()


def client_frame(payload: str | bytes, opcode: int = TEXT) -> bytes:
    """One masked frame; its key is zero, so that one can read it."""
    data = payload.encode() if isinstance(payload, str) else payload
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
    return bytes([0x80 | opcode]) + length + bytes(4) + data


def handshake(path: str, *headers: str, subprotocol: str | None = "ocpp1.6") -> bytes:
    """A request for a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: gateway",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *([f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol is not None else []),
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def dial(port: int, request: bytes, **settings: Any) -> PlainWebSocket:
    """Send a handshake and read the head of its answer."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, **settings)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    return PlainWebSocket(head, reader, writer)


# --- a SOAP charge point of plain bytes ---------------------------------------------------------------------


@dataclass
class CannedChargePoint:
    """A callback server: every request is taken whole and answered with what ``answer`` makes of it.

    ``requests`` are the requests as they came. An answer that is empty closes the connection without a
    byte.
    """

    url: str = ""
    host: str = "127.0.0.1"
    requests: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    heard: list[str] = field(default_factory=list)
    answer: Callable[[str], bytes] = lambda request: b""
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    before_answer: Callable[[], Any] | None = None  # a coroutine function, awaited before each answer

    async def request(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await self.requests.get()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?i)content-length: (\d+)", head)
            body = (await reader.readexactly(int(length[1]))).decode() if length else ""
            self.heard.append(head + body)
            self.requests.put_nowait(head + body)
            await self.may_answer.wait()
            if self.before_answer is not None:
                await self.before_answer()
            writer.write(self.answer(head + body))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def a_charge_point(
    answer: Callable[[str], bytes] | bytes = b"", *, host: str = "127.0.0.1", path: str = "/cp"
) -> AsyncIterator[CannedChargePoint]:
    canned = CannedChargePoint(host=host)
    canned.answer = answer if callable(answer) else lambda request: answer
    canned.may_answer.set()
    server = await asyncio.start_server(canned.handle, host, 0)
    canned.url = f"http://{host}:{server.sockets[0].getsockname()[1]}{path}"
    try:
        yield canned
    finally:
        canned.may_answer.set()
        server.close()
        await server.wait_closed()


def http_response(body: str, status: str = "200 OK", content_type: str = "application/soap+xml") -> bytes:
    encoded = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(encoded)}\r\n\r\n"
    return head.encode() + encoded


def soap_result(element: str, inside: str = "") -> str:
    """What a charge point answers: ``soap_result("resetResponse", "<cp:status>Accepted</cp:status>")``."""
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:cp="urn://Ocpp/Cp/2015/10/">'
        f"<s:Body><cp:{element}>{inside}</cp:{element}></s:Body></s:Envelope>"
    )


SOAP_RESULTS = {
    "authorize": "<idTagInfo><status>Accepted</status></idTagInfo>",
    "bootNotification": "<status>Accepted</status><currentTime>2024-05-01T10:00:00Z</currentTime>"
    "<interval>300</interval>",
    "heartbeat": "<currentTime>2024-05-01T10:00:00Z</currentTime>",
    "startTransaction": "<transactionId>7</transactionId><idTagInfo><status>Accepted</status></idTagInfo>",
}


def soap_central_system(request: str) -> bytes:
    """What a SOAP central system usually answers; an ``answer`` for ``a_charge_point``, which serves both."""
    found = re.search(r"Body><(?:\w+:)?(\w+)Request", request)
    assert found is not None, request
    inside = SOAP_RESULTS.get(found[1], "")
    return http_response(
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>'
        f'<{found[1]}Response xmlns="urn://Ocpp/Cs/2015/10/">{inside}</{found[1]}Response>'
        "</s:Body></s:Envelope>"
    )


REQUESTS = {
    "Authorize": "<cs:idTag>TAG</cs:idTag>",
    "BootNotification": "<cs:chargePointVendor>V</cs:chargePointVendor>"
    "<cs:chargePointModel>M</cs:chargePointModel>",
    "DataTransfer": "<cs:vendorId>V</cs:vendorId>",
    "Heartbeat": "",
    "StartTransaction": "<cs:connectorId>1</cs:connectorId><cs:idTag>TAG</cs:idTag>"
    "<cs:timestamp>2024-05-01T10:00:00Z</cs:timestamp><cs:meterStart>0</cs:meterStart>",
    "StopTransaction": "<cs:transactionId>7</cs:transactionId>"
    "<cs:timestamp>2024-05-01T11:00:00Z</cs:timestamp><cs:meterStop>900</cs:meterStop>",
    "StatusNotification": "<cs:connectorId>1</cs:connectorId><cs:status>Charging</cs:status>"
    "<cs:errorCode>NoError</cs:errorCode>",
    "MeterValues": "<cs:connectorId>1</cs:connectorId><cs:meterValue><cs:timestamp>2024-05-01T10:30:00Z"
    "</cs:timestamp><cs:sampledValue><cs:value>450</cs:value></cs:sampledValue></cs:meterValue>",
}


def soap_request(action: str, identity: str = "CP1", *, headers: str = "", inside: str | None = None) -> str:
    """A request of a charge point; ``headers`` are further SOAP headers."""
    element = action[0].lower() + action[1:] + "Request"
    content = REQUESTS[action] if inside is None else inside
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:cs="urn://Ocpp/Cs/2015/10/"><s:Header>'
        f"<cs:chargeBoxIdentity>{identity}</cs:chargeBoxIdentity>"
        f"<wsa:MessageID>urn:uuid:1</wsa:MessageID>{headers}</s:Header>"
        f"<s:Body><cs:{element}>{content}</cs:{element}></s:Body></s:Envelope>"
    )


def from_header(url: str) -> str:
    return f"<wsa:From><wsa:Address>{url}</wsa:Address></wsa:From>"


async def exchange_bytes(url: str, data: bytes, *, source: str = "127.0.0.1") -> bytes:
    """Send *data* from address *source* and read until the other side closes."""
    host, _, port = url.partition("://")[2].partition("/")[0].rpartition(":")
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()


def post_bytes(url: str, body: str, *, headers: str = "") -> bytes:
    encoded = body.encode()
    path = "/" + url.partition("://")[2].partition("/")[2]
    return (
        f"POST {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n{headers}"
        f"Content-Type: application/soap+xml\r\nContent-Length: {len(encoded)}\r\n\r\n"
    ).encode() + encoded


@dataclass(frozen=True, slots=True)
class Response:
    """What came back over HTTP; status 0 when not a byte did."""

    status: int
    head: str
    body: str


async def post(url: str, body: str, *, source: str = "127.0.0.1") -> Response:
    """Post one SOAP message on a connection of its own."""
    return _response(await exchange_bytes(url, post_bytes(url, body), source=source))


async def get(url: str) -> Response:
    path = "/" + url.partition("://")[2].partition("/")[2]
    request = f"GET {path} HTTP/1.1\r\nHost: {url.split('/')[2]}\r\nConnection: close\r\n\r\n"
    return _response(await exchange_bytes(url, request.encode()))


def _response(data: bytes) -> Response:
    if not data:
        return Response(0, "", "")
    head, _, body = data.decode().partition("\r\n\r\n")
    return Response(int(head.split()[1]), head, body)


def fault(text: str) -> tuple[str, str, str]:
    """Code, subcode and reason of the fault in a response: ``("Sender", "SecurityError", "…")``."""
    found = re.search(
        r"<soap:Code><soap:Value>soap:(\w+)</soap:Value>"
        r"(?:<soap:Subcode><soap:Value[^>]*>ocpp:(\w+)</soap:Value></soap:Subcode>)?</soap:Code>"
        r'<soap:Reason><soap:Text xml:lang="en">(.*?)</soap:Text>',
        text,
        re.DOTALL,
    )
    assert found is not None, text
    return found[1], found[2] or "", found[3]
