"""Both other sides of the gateway, in a process of their own: charge points and central systems.

All are as cheap as they can be made here, bare protocols on uvloop that look only at the bytes they need, so
that the gateway is what is measured. Commands come as JSON lines on standard input, an answer to each goes to
standard output; at the end of the input everything ends. ``python -m bench.load`` is started by
``bench.gateways``.

One WebSocket server serves the JSON central systems of all variants: the path is ``/<variant>/<identity>``;
those whose variant is ``silent`` answer nothing. One HTTP server answers for all SOAP charge points and SOAP
central systems. Charge points send in a closed loop, where the next request follows the response, or at a
given pace, whatever comes back.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import re
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

from bench.workload import EXCHANGES, MESSAGE_ID, SOAP_CONTENT_TYPE, Exchange, Json, numbered

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
MEASURED = 1.0  # seconds of a part, from which on its numbers mean something
PATIENCE = 15.0  # seconds for a gateway to be ready to carry the first message, and for the last reply


class Failed(Exception):
    """The gateway did something else than it should."""


@dataclass(slots=True)
class Seen:
    """What one run saw."""

    seconds: list[float] = field(default_factory=list)  # of every exchange
    wrong: int = 0
    first_wrong: str = ""

    def refuse(self, found: bytes) -> None:
        self.wrong += 1
        self.first_wrong = self.first_wrong or found[:300].decode(errors="replace")


class Numbers:
    """What makes each message different from every other of this process."""

    def __init__(self) -> None:
        self._counter = itertools.count(1)

    def __call__(self) -> bytes:
        return b"%08d" % next(self._counter)


NUMBER = b"00000000"  # one of them, which no message says otherwise
new_number = Numbers()


# --- the JSON central system


class Socket(asyncio.Protocol):
    """The central system's end of one WebSocket: answers CALLs from fixed texts, sends CALLs in a loop.

    Knows frames of a text each, shorter than 64 KiB, which is all that gateways send here.
    """

    def __init__(self, central_system: CentralSystem) -> None:
        self._central_system = central_system
        self._buffer = b""
        self._open = False
        self._path = ""
        self.ask: Callable[[], None] = lambda: None  # called when a reply has come
        self.asked_at = 0.0
        self.seen: Seen | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._open:
            self._central_system.sockets.pop(self._path, None)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        if not self._open:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._buffer = data
                return
            self._shake_hands(data[:end])
            data = data[end:]
        while True:
            if len(data) < 6:
                break
            length, start = data[1] & 127, 2
            if length == 126:
                if len(data) < 8:
                    break
                length, start = int.from_bytes(data[2:4], "big"), 4
            end = start + 4 + length
            if len(data) < end:
                break
            mask, payload = data[start : start + 4], data[start + 4 : end]
            opcode = data[0] & 15
            data = data[end:]
            if opcode == 1:
                self._receive(payload, mask)
            elif opcode == 8:
                self._transport.write(b"\x88" + bytes([min(2, length)]) + _unmasked(payload[:2], mask))
                self._transport.close()
            elif opcode == 9:
                self._transport.write(b"\x8a" + bytes([length]) + _unmasked(payload, mask))
        self._buffer = data

    def _shake_hands(self, head: bytes) -> None:
        key = re.search(rb"(?i)\r\nsec-websocket-key:\s*(\S+)", head)
        if key is None:
            raise Failed(f"no WebSocket handshake: {head[:200]!r}")
        accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
        )
        self._open = True
        self._path = head.split(b" ", 2)[1].decode()
        self._central_system.sockets[self._path] = self

    def _receive(self, payload: bytes, mask: bytes) -> None:
        # The head of a frame is all that is looked at: type, message id, action.
        head = _unmasked(payload[:128], mask)
        if head[1:2] == b"2":
            if self._path.startswith("/silent/"):
                return
            _, message_id, _, action, _ = head.split(b'"', 4)
            answer = self._central_system.answers[action]
            self.send(b'[3,"' + message_id + answer)
            return
        seen = self.seen
        if seen is not None:
            seen.seconds.append(time.perf_counter() - self.asked_at)
            if head[1:2] != b"3":
                seen.refuse(_unmasked(payload, mask))
        self.ask()

    def send(self, text: bytes) -> None:
        size = len(text)
        head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
        self._transport.write(head + text)


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    masks = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(masks, "big")).to_bytes(size, "big")


class CentralSystem:
    """All open WebSockets by path, and what is answered to each action."""

    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}
        self.answers = {
            exchange.action.encode(): b'",'
            + json.dumps(exchange.response, separators=(",", ":")).encode()
            + b"]"
            for exchange in EXCHANGES.values()
        }


# --- the charge points


class Requests(asyncio.Protocol):
    """One connection of a SOAP charge point to the gateway: sends requests and times the responses.

    ``well`` says whether the last answer was what it should be, ``answer`` is that answer.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._begun = 0.0
        self.closed = False
        self.next: Callable[[], None] = lambda: None
        self.seen = Seen()
        self.well = False
        self.answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self.waiting:
            self._settle(well=False, answer=b"closed without an answer")

    @property
    def waiting(self) -> bool:
        return self._begun > 0.0

    def send(self, request: bytes) -> None:
        self._begun = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        head = data.find(b"\r\n\r\n") + 4
        if head < 4 or len(data) < head + (length := _content_length(data, head)):
            self._buffer = data
            return
        self._buffer = data[head + length :]
        self._settle(well=data[9:12] == b"200", answer=data[head : head + length])

    def _settle(self, *, well: bool, answer: bytes) -> None:
        self.seen.seconds.append(time.perf_counter() - self._begun)
        self._begun = 0.0
        self.well, self.answer = well, answer
        if not well:
            self.seen.refuse(answer)
        self.next()


class Frames(Requests):
    """One WebSocket of a JSON charge point to the gateway; what is sent are whole frames, a CALL in each.

    Knows answers of a text each, shorter than 64 KiB, which is all that gateways send here. The handshake is
    a request like the others, and its answer whatever comes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._open = False

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        if not self._open:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._buffer = data
                return
            self._open = data[9:12] == b"101"
            answer, data = data[:end], data[end:]
            self._settle(well=self._open, answer=answer)
        while len(data) >= 2:
            length, start = data[1], 2
            if length == 126:
                if len(data) < 4:
                    break
                length, start = int.from_bytes(data[2:4], "big"), 4
            end = start + length
            if len(data) < end:
                break
            opcode, payload, data = data[0] & 15, data[start:end], data[end:]
            if opcode == 1:
                self._settle(well=payload[1:2] == b"3", answer=payload)
            elif opcode == 8:
                self.close()
            elif opcode == 9:
                self._transport.write(masked(10, payload))
        self._buffer = data


def masked(opcode: int, payload: bytes) -> bytes:
    """A frame of a client. Its mask is zero: the other side takes it off all the same."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((0x80 | opcode,)) + length + bytes(4) + payload


def _content_length(data: bytes, head: int) -> int:
    start = data.find(b"Content-Length: ", 0, head)
    return int(data[start + 16 : data.index(b"\r\n", start)]) if start >= 0 else 0


RESPONSES = {
    exchange.action.encode(): exchange.soap_response(relates_to="{relates_to}").encode()
    for exchange in EXCHANGES.values()
}
_ASKED = re.compile(rb"Action[^>]*>/(\w+)<")
_MESSAGE_ID = re.compile(rb"MessageID[^>]*>([^<]*)<")


class Answers(asyncio.Protocol):
    """Whoever is asked in SOAP: a fixed answer to each action, to whom it relates filled in."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        while data:
            head = data.find(b"\r\n\r\n") + 4
            if head < 4 or len(data) < head + (length := _content_length(data, head)):
                break
            body, data = data[head : head + length], data[head + length :]
            asked, message_id = _ASKED.search(body), _MESSAGE_ID.search(body)
            if asked is None or message_id is None:
                raise Failed(f"no call: {body[:300]!r}")
            response = RESPONSES[asked[1]].replace(b"{relates_to}", message_id[1])
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml; charset=utf-8\r\n"
                b"Content-Length: %d\r\n\r\n" % len(response) + response
            )
        self._buffer = data


@dataclass(slots=True)
class Gateway:
    """One variant under test: where its charge points connect, and the connections of those under load."""

    variant: str
    port: int
    path: str  # {identity} and {name} (of the exchange) are filled in
    transport: str  # of the charge points: soap or json
    from_address: str
    prefix: str = ""  # what the identities begin with
    clients: dict[str, Requests] = field(default_factory=dict)
    idle: list[Requests] = field(default_factory=list)  # connections that stay open, and nothing more

    def request(self, identity: str, exchange: Exchange, *, close: bool = False) -> list[bytes]:
        """What the charge point sends, in the parts between which the number goes."""
        if self.transport == "json":
            return self._frame(exchange)
        body = exchange.soap_request(identity=identity, from_address=self.from_address)
        kept = "Connection: close\r\n" if close else ""
        head = (
            f"POST {self._path(identity, exchange)} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f'Content-Type: {SOAP_CONTENT_TYPE}; action="/{exchange.action}"\r\n'
            f"User-Agent: gSOAP/2.8\r\n{kept}Content-Length: {len(numbered(body).encode())}\r\n\r\n"
        )
        return (head + body).encode().split(b"{n}")

    def _frame(self, exchange: Exchange) -> list[bytes]:
        text = exchange.call(f"{MESSAGE_ID[:-8]}{{n}}").encode()
        # Every number has as many digits, so the length of the frame is always the same.
        return masked(1, text.replace(b"{n}", NUMBER)).split(NUMBER)

    def handshake(self, identity: str) -> bytes:
        return (
            f"GET {self._path(identity, EXCHANGES['Heartbeat'])} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
        ).encode()

    def _path(self, identity: str, exchange: Exchange) -> str:
        return self.path.format(identity=identity, name=exchange.name)


# --- commands


class Load:
    """The commands of ``bench.gateways``; every method returns the answer to one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._central_system = CentralSystem()
        self._from_address = ""
        self._gateways: dict[str, Gateway] = {}

    async def start(self) -> Json:
        """Listen; the answer says where."""
        self._servers = [
            await self._loop.create_server(make, "127.0.0.1", 0, backlog=1024)
            for make in (lambda: Socket(self._central_system), Answers)
        ]
        central_system, soap = (server.sockets[0].getsockname()[1] for server in self._servers)
        self._from_address = f"http://127.0.0.1:{soap}/charge-point"
        return {
            "central_system": f"ws://127.0.0.1:{central_system}",
            "soap_central_system": f"http://127.0.0.1:{soap}/central-system",
            "charge_point": self._from_address,
        }

    async def connect(
        self, variant: str, port: int, path: str, clients: int, transport: str, prefix: str
    ) -> Json:
        """Connect charge points, and wait until a Heartbeat of each reaches the central system."""
        gateway = Gateway(variant, port, path, transport, self._from_address, prefix)
        self._gateways[variant] = gateway
        for number in range(clients):
            identity = f"{prefix}CP{number:05d}"
            gateway.clients[identity] = await self._heard(gateway, identity, close=False)
        return {"sockets": self._sockets_of(variant)}

    async def sessions(self, variant: str, first: int, count: int) -> Json:
        """Let *count* more charge points speak once, each on a connection of its own. One that speaks SOAP
        closes it then."""
        gateway = self._gateways[variant]
        for number in range(first, first + count):
            client = await self._heard(gateway, f"{gateway.prefix}CP{number:05d}", close=True)
            if gateway.transport == "soap":
                client.close()
            else:
                gateway.idle.append(client)
        return {"sockets": self._sockets_of(variant)}

    def _sockets_of(self, variant: str) -> int:
        return sum(path.startswith(f"/{variant}/") for path in self._central_system.sockets)

    async def _heard(self, gateway: Gateway, identity: str, *, close: bool) -> Requests:
        request = gateway.request(identity, EXCHANGES["Heartbeat"], close=close)
        make = Requests if gateway.transport == "soap" else Frames
        deadline = time.monotonic() + PATIENCE
        while True:
            _, client = await self._loop.create_connection(make, "127.0.0.1", gateway.port)
            if gateway.transport == "json":
                await self._one(client, [gateway.handshake(identity)])
            if not client.closed:
                await self._one(client, request)
            if client.well and b"currentTime" in client.answer:
                return client
            client.close()
            if time.monotonic() > deadline:
                raise Failed(f"{gateway.variant} does not carry a Heartbeat: {client.answer[:300]!r}")
            await asyncio.sleep(0.05)

    async def _one(self, client: Requests, request: list[bytes]) -> None:
        answered = self._loop.create_future()
        client.seen = Seen()
        client.next = lambda: answered.set_result(None) if not answered.done() else None
        client.send(new_number().join(request))
        async with asyncio.timeout(PATIENCE):
            await answered

    async def forward(self, variant: str, name: str, seconds: float) -> Json:
        """Every charge point sends one request after the other for *seconds*."""
        gateway, exchange, seen = self._gateways[variant], EXCHANGES[name], Seen()
        ends = time.perf_counter() + seconds
        running = _Running(len(gateway.clients), self._loop)

        def go_on(client: Requests, request: list[bytes]) -> Callable[[], None]:
            def send() -> None:
                if time.perf_counter() < ends and not client.closed:
                    client.send(new_number().join(request))
                else:
                    running.one_done()

            return send

        steps = []
        for identity, client in gateway.clients.items():
            client.seen = seen
            client.next = go_on(client, gateway.request(identity, exchange))
            steps.append(client.next)
        return await self._run(steps, running, seen)

    async def reverse(self, variant: str, name: str, seconds: float) -> Json:
        """The central system sends every charge point one CALL after the other for *seconds*."""
        exchange, seen = EXCHANGES[name], Seen()
        call = exchange.call("{n}").encode().replace(b"{n}", b"00000000-0000-4000-8000-0000{n}").split(b"{n}")
        sockets = [
            socket for path, socket in self._central_system.sockets.items() if path.startswith(f"/{variant}/")
        ]
        ends = time.perf_counter() + seconds
        running = _Running(len(sockets), self._loop)

        def go_on(socket: Socket) -> Callable[[], None]:
            def ask() -> None:
                if time.perf_counter() < ends:
                    socket.asked_at = time.perf_counter()
                    socket.send(new_number().join(call))
                else:
                    running.one_done()

            return ask

        steps = []
        for socket in sockets:
            socket.seen, socket.ask = seen, go_on(socket)
            steps.append(socket.ask)
        return await self._run(steps, running, seen)

    async def paced(self, variant: str, name: str, seconds: float, per_second: float) -> Json:
        """The charge points send one after the other, so many a second, whether or not answers come."""
        gateway, exchange, seen = self._gateways[variant], EXCHANGES[name], Seen()
        requests = []
        for identity, client in gateway.clients.items():
            client.seen, client.next = seen, lambda: None
            requests.append((client, gateway.request(identity, exchange)))
        count = max(1, round(seconds * per_second))
        began, cpu = time.perf_counter(), _cpu()
        for (client, request), number in zip(itertools.cycle(requests), range(count), strict=False):
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
            if seconds < MEASURED:  # only to see that everything runs, on a machine that may be busy
                await _until_answered([client])
            if client.waiting:
                raise Failed(f"no answer within {len(requests) / per_second:g} s")
            client.send(new_number().join(request))
        await _until_answered([client for client, _ in requests])
        return _summary(seen, time.perf_counter() - began, _cpu() - cpu)

    async def _run(self, steps: list[Callable[[], None]], running: _Running, seen: Seen) -> Json:
        began, cpu = time.perf_counter(), _cpu()
        for step in steps:
            step()
        try:
            async with asyncio.timeout(PATIENCE * 2):
                await running.done
        except TimeoutError:
            raise Failed(f"{running.left} exchanges never ended") from None
        return _summary(seen, time.perf_counter() - began, _cpu() - cpu)


async def _until_answered(clients: Sequence[Any]) -> None:
    """Raises Failed."""
    deadline = time.perf_counter() + PATIENCE
    while any(client.waiting for client in clients):
        if time.perf_counter() > deadline:
            raise Failed(f"no answer within {PATIENCE:g} s")
        await asyncio.sleep(0.001)


def _summary(seen: Seen, took: float, used: float) -> Json:
    """What a run saw that took so many seconds, and *used* so many of the CPU here. Raises Failed."""
    if not seen.seconds:
        raise Failed(f"no exchange ended well: {seen.first_wrong}")
    ordered = sorted(seen.seconds)
    return {
        "count": len(ordered),
        "seconds": took,
        "p50": ordered[len(ordered) // 2] * 1000,  # milliseconds
        "p99": ordered[len(ordered) * 99 // 100] * 1000,
        "load_busy": used / took,
        "wrong": seen.wrong,
        "first_wrong": seen.first_wrong,
    }


class _Running:
    """How many of the closed loops still go round."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.left = count
        self.done: asyncio.Future[None] = loop.create_future()
        if not count:
            self.done.set_result(None)

    def one_done(self) -> None:
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main() -> None:
    """Obey until the input ends."""
    load = Load()
    commands: dict[str, Callable[..., Awaitable[Json]]] = {
        "start": load.start,
        "connect": load.connect,
        "sessions": load.sessions,
        "forward": load.forward,
        "reverse": load.reverse,
        "paced": load.paced,
    }
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command: dict[str, Any] = json.loads(line)
        try:
            answer = await commands[command.pop("do")](**command)
        except (Failed, OSError, TimeoutError) as problem:
            answer = {"failed": f"{type(problem).__name__}: {problem}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    with (
        suppress(KeyboardInterrupt, BrokenPipeError),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(main())
