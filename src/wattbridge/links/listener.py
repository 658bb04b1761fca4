"""The HTTP listeners: connections, limits, refusals, TLS and a graceful stop.

A listener reads HTTP/1.x requests and hands each to one handler, those for a WebSocket to another; what
stands in a body, and which path means what, is the handler's. llhttp (through aiohttp's parser) reads the
heads, and every head gets a parser of its own, so that nothing a peer sent earlier changes how the next
request is read. The framing around the heads is ours: aiohttp's own server has no header timeout, refuses
charge points that send Content-Type twice, and takes several times the work for a request. Nothing here is
armed per request: one sweep per listener ends what is late.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, cast
from urllib.parse import unquote

from aiohttp import hdrs
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser, RawRequestMessage

from wattbridge.links import bodies
from wattbridge.links.bodies import BadBody, Chunks
from wattbridge.links.upgrades import (
    RETRY_AFTER,
    BadUpgrade,
    Handshakes,
    Upgrade,
    UpgradedConnection,
    WebSocket,
    asks_for_websocket,
    read_upgrade,
    switching,
)
from wattbridge.ocpp.soap import LARGEST_BODY

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener takes. Sizes in bytes, times in seconds.

    The defaults are those of the configuration, where it has them.
    """

    body: int = LARGEST_BODY  # as sent, and again decompressed
    head: int = 16_384  # request line and headers together
    headers: int = 100
    header_timeout: float = (
        10.0  # from the first byte of a request to the end of its head; and to say anything
    )
    body_timeout: float = 10.0  # from the end of the head to the end of the body
    idle: float = 75.0  # between two requests
    send_timeout: float = 30.0  # for the peer to take an answer
    linger: float = 2.0  # for the peer to close after a refusal, while what it still sends is thrown away
    connections: int = 2000
    connections_per_source: int = 64
    handshakes: int = 512  # requests for a WebSocket under way at a time
    handshake_rate: float = 100.0  # requests for a WebSocket a second, of all together
    max_frame: int = 262_144  # one message on a WebSocket
    close_timeout: float = 5.0  # for the peer to take its part in closing a WebSocket
    gzip_from: int = 2048  # answers smaller than this are compressed only for peers that compress themselves


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, complete.

    ``path`` is as sent and percent-decoded once (``/ocpp/CP 1``), ``raw_path`` not decoded at all
    (``/ocpp/CP%201``); ``query`` stands behind the question mark, undecoded. ``headers`` are found by their
    names in any letter case. ``body`` is decompressed. ``source`` is the address of the peer; ``certificate``
    the peer's, as ``ssl.SSLSocket.getpeercert`` gives it, when TLS asked for one.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    source: str
    listener: str
    certificate: Mapping[str, Any] | None = None
    raw_path: str = ""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What the handler answers.

    ``close`` ends the connection after the answer. ``silent`` ends it without any answer: a transaction
    message that can still be delivered must not be answered with an error, or the charge point drops it.
    ``unheard`` is called when the peer had closed before it could be answered: the connection, or at least
    its own side of it, which looks the same. It may not raise.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] | None = None
    close: bool = False
    silent: bool = False
    unheard: Callable[[], None] | None = None


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]
# Answers a request for a WebSocket; also gets the subprotocols that are offered, as the peer spelled them.
UpgradeHandler = Callable[[HttpRequest, tuple[str, ...]], Awaitable[HttpResponse | WebSocket]]
Network = IPv4Network | IPv6Network


class _Refused(Exception):
    """A request, or a connection, that is answered here; ``lines`` are further ones of the head."""

    def __init__(self, status: int, text: str, lines: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.lines = lines


_PASSING = frozenset({408, 503})  # of these only the log tells, and the metrics
_STATUS_OF = {"too_large": 413, "unsupported": 415, "malformed": 400}  # by the reason of a BadBody

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_STATUS_LINES[413] = "HTTP/1.1 413 Content Too Large\r\n"  # before 3.13 Python has an older name for it
_INTERNAL_ERROR = HttpResponse(500, b"internal error\n", close=True)
_NOTHING = HttpResponse(silent=True)

# What a connection is doing. Only BUSY has no deadline: the handler keeps its own times.
_IDLE, _HEAD, _BODY, _BUSY, _SENDING, _LEAVING = range(6)  # in this order

_LINGER_BYTES = 4_194_304
_MOST_LINGERING = 256  # connections
_MOST_READ_AHEAD = 65_536  # bytes of a request that follow before the one before it is answered


class Listener:
    """Binds one address and hands every request to *handler*.

    *upgrade* answers requests for a WebSocket; without it they are requests like others. With *compression*
    WebSockets are compressed where the peer offers that, which costs each of them memory.

    *allow* holds the networks that may connect; empty: all. With port 0 the system chooses, and ``port`` says
    what it chose.

    *on_connection* is told of each connection that is taken in. *on_refusal* gets source, status and text of
    each refusal, of a connection (403, 503) or of a request. *on_error* gets whatever the handler should not
    have raised, and the request; without it the logging of the standard library does. None of them may raise.
    """

    def __init__(
        self,
        name: str,
        host: str | None,
        port: int,
        handler: Handler,
        limits: Limits | None = None,
        allow: tuple[Network, ...] = (),
        tls: ssl.SSLContext | None = None,
        *,
        upgrade: UpgradeHandler | None = None,
        compression: bool = False,
        on_connection: Callable[[], None] | None = None,
        on_refusal: Callable[[str, int, str], None] | None = None,
        on_error: Callable[[Exception, HttpRequest | None], None] | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.handler = handler
        self.limits = limits or Limits()
        self.allow = allow
        self.tls = tls
        self.upgrade = upgrade
        self.compression = compression
        self.stopping = False
        self._on_connection = on_connection
        self._on_refusal = on_refusal
        self._on_error = on_error
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._websockets: set[UpgradedConnection] = set()
        self._admitted: Counter[str] = Counter()  # connections by source
        self._open = 0
        self._lingering = 0
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._all_gone: asyncio.Future[None] | None = None
        self._handshakes: Handshakes | None = None
        self.set_limits(self.limits)

    def set_limits(self, limits: Limits) -> None:
        """Go by other limits: with connections that come from now on, and with how many there may be."""
        self.limits = limits
        shortest = min(limits.header_timeout, limits.body_timeout, limits.idle, limits.linger)
        self._sweep_interval = min(1.0, max(0.01, shortest / 4))
        if self._handshakes is not None:
            self._handshakes.set_limits(limits.handshakes, limits.handshake_rate)

    @property
    def open(self) -> int:
        """How many connections there are, the refused ones not counted."""
        return self._open

    async def start(self, owner: Listener | None = None) -> None:
        """Bind and accept; on the socket of *owner*, when that has the address already.

        What waits there to be accepted is accepted here then, or by *owner* until it stops.
        Raises OSError when the address cannot be had.
        """
        self.loop = asyncio.get_running_loop()
        self.stopping = False
        # aiohttp's parsers want a protocol to slow down when a body comes too fast; ours see no bodies.
        self.parser_protocol = BaseProtocol(self.loop)
        self._handshakes = Handshakes(self.limits.handshakes, self.limits.handshake_rate, self.loop.time)
        where: dict[str, Any] = {"host": self.host, "port": self.port}
        if owner is not None:
            where = {"sock": owner.another_socket()}
        self._server = await self.loop.create_server(
            lambda: _Connection(self),
            **where,
            ssl=self.tls,
            ssl_handshake_timeout=self.limits.header_timeout if self.tls else None,
            ssl_shutdown_timeout=self.limits.linger if self.tls else None,
            backlog=1024,
            start_serving=False,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.tasks = asyncio.TaskGroup()
        await self.tasks.__aenter__()  # left in stop()
        await self._server.start_serving()

    def another_socket(self) -> socket.socket:
        """Its listening socket under another descriptor. Raises OSError when it has several, or none."""
        sockets = self._server.sockets if self._server is not None else ()
        if len(sockets) != 1:
            raise OSError(
                errno.EADDRINUSE, f"the address has {len(sockets)} sockets, which cannot be handed over"
            )
        return socket.socket(fileno=os.dup(sockets[0].fileno()))

    async def stop(self, drain: float = 10.0, why: str = "the gateway is stopping") -> None:
        """Stop accepting, close idle connections, let what is in flight end within *drain* seconds.

        WebSockets are closed, and told *why*, when nothing is in flight on them. What is not done by then is
        cancelled, and its connection cut.
        """
        if self._server is None or self.stopping:
            return
        self.stopping = True
        self._server.close()
        ends = self.loop.time() + drain
        for connection in tuple(self._connections):
            connection.finish()
        for websocket in tuple(self._websockets):
            self.tasks.create_task(self._finish(websocket, why))
        # Whoever is cancelled on a WebSocket still waits for the peer to close it.
        cut = self.loop.call_at(ends, self._cut_websockets)
        # Time running out cancels what is left of the group, and waits for it to end.
        with suppress(TimeoutError):
            async with asyncio.timeout_at(ends):
                await self.tasks.__aexit__(None, None, None)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(ends):
                await self._connections_gone()
        cut.cancel()
        self._cut_websockets()
        for connection in tuple(self._connections):
            connection.cut()
        await self._connections_gone()
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()
            self._sweep_handle = None
        # From 3.12 on this waits for TLS handshakes too, which nobody needs any more.
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._server.wait_closed()
        self._server = None

    async def _connections_gone(self) -> None:
        while self._connections or self._websockets:
            self._all_gone = self.loop.create_future()
            await self._all_gone

    async def _finish(self, websocket: UpgradedConnection, why: str) -> None:
        try:
            await websocket.talk.close(why)
        except Exception as problem:
            self.error(problem, None)
            websocket.transport.abort()

    def _cut_websockets(self) -> None:
        for websocket in tuple(self._websockets):
            websocket.transport.abort()

    # What connections ask and tell.

    def admit(self, connection: _Connection) -> None:
        """Take in a new connection. Raises _Refused when it is one too many or comes from elsewhere."""
        self._connections.add(connection)
        if self._sweep_handle is None:
            self._sweep_handle = self.loop.call_later(self._sweep_interval, self._sweep)
        source = connection.source
        if self.allow:
            address = ip_address(source)
            if not any(address in network for network in self.allow):
                raise _Refused(403, f"{source} may not connect here")
        if self._open >= self.limits.connections:
            raise _Refused(503, f"too many connections: {self._open} are open (limits.connections)")
        if self._admitted[source] >= self.limits.connections_per_source:
            number = self._admitted[source]
            raise _Refused(
                503, f"too many connections from {source}: {number} are open (limits.connections_per_source)"
            )
        self._open += 1
        self._admitted[source] += 1
        connection.admitted = True
        if self._on_connection is not None:
            self._on_connection()

    def dismiss(self, connection: _Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if connection.lingers:
            self._lingering -= 1
        if connection.admitted:
            self._forget(connection.source)
        self._tell_if_all_gone()

    def _forget(self, source: str) -> None:
        self._open -= 1
        self._admitted[source] -= 1
        if not self._admitted[source]:
            del self._admitted[source]

    def _tell_if_all_gone(self) -> None:
        gone = not self._connections and not self._websockets
        if gone and self._all_gone is not None and not self._all_gone.done():
            self._all_gone.set_result(None)

    async def grant(self, request: HttpRequest, offered: tuple[str, ...]) -> HttpResponse | WebSocket:
        """Ask the handler for a WebSocket, unless too many others do."""
        assert self.upgrade is not None
        assert self._handshakes is not None
        busy = self._handshakes.begin()
        if busy is not None:
            return self._too_many(busy, request)
        granted = False
        try:
            answer = await self.upgrade(request, offered)
            granted = isinstance(answer, WebSocket)
        finally:
            busy = self._handshakes.end(granted=granted)
        return answer if busy is None else self._too_many(busy, request)

    def _too_many(self, busy: str, request: HttpRequest) -> HttpResponse:
        if self._on_refusal is not None:
            self._on_refusal(request.source, 503, busy)
        again = {"Retry-After": str(RETRY_AFTER)}
        return HttpResponse(503, f"{busy}\n".encode(), headers=again, close=True)

    def become_websocket(
        self, connection: _Connection, upgrade: Upgrade, answer: WebSocket
    ) -> UpgradedConnection:
        """A connection that is counted goes on as a WebSocket, and its talk begins."""
        limits = self.limits
        websocket = UpgradedConnection(
            upgrade,
            answer,
            connection.source,
            limits.max_frame,
            limits.close_timeout,
            self._websocket_lost,
        )
        self._connections.discard(connection)
        self._websockets.add(websocket)
        self.tasks.create_task(self._talk(websocket))
        return websocket

    async def _talk(self, websocket: UpgradedConnection) -> None:
        try:
            await websocket.talk.run(websocket)
        except Exception as problem:  # the edge of the task: one talk's bug must not end the others
            self.error(problem, None)
        finally:
            websocket.transport.abort()  # when the talk has not closed it

    def _websocket_lost(self, websocket: UpgradedConnection) -> None:
        self._websockets.discard(websocket)
        self._forget(websocket.source)
        self._tell_if_all_gone()

    def may_linger(self) -> bool:
        if self.stopping or self._lingering >= _MOST_LINGERING:
            return False
        self._lingering += 1
        return True

    def refusal(self, connection: _Connection, refused: _Refused) -> None:
        if self._on_refusal is not None:
            self._on_refusal(connection.source, refused.status, refused.text)

    def error(self, problem: Exception, request: HttpRequest | None) -> None:
        if self._on_error is not None:
            try:
                self._on_error(problem, request)
            except Exception:
                _log.exception("on_error of listener %s failed", self.name)
            else:
                return
        where = f"{request.method} {request.path!r} from {request.source}" if request else "a connection"
        _log.error("handler failed listener=%s request=%s", self.name, where, exc_info=problem)

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in tuple(self._connections):
            if now >= connection.deadline:
                connection.expire()
        self._sweep_handle = None
        if self._connections:
            self._sweep_handle = self.loop.call_later(self._sweep_interval, self._sweep)


class _Connection(asyncio.Protocol):
    """One connection: reads a request, waits for its answer, writes it, reads the next."""

    __slots__ = (
        "_body",
        "_buffer",
        "_certificate",
        "_chunks",
        "_close_after",
        "_coding",
        "_drained",
        "_eof",
        "_length",
        "_limits",
        "_listener",
        "_loop",
        "_message",
        "_reading_paused",
        "_request",
        "_stage",
        "_thrown_away",
        "_transport",
        "_upgrade",
        "_waiter",
        "admitted",
        "deadline",
        "lingers",
        "source",
    )

    _transport: asyncio.Transport
    _message: RawRequestMessage

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._limits = listener.limits
        self._loop = listener.loop
        self._stage = _IDLE
        self._buffer = b""  # came, and not read yet
        self._body = bytearray()
        self._chunks: Chunks | None = None
        self._length = 0  # bytes of the body, by its Content-Length
        self._coding = ""  # of the body, and so of the answer
        self._close_after = False
        self._eof = False
        self._reading_paused = False
        self._thrown_away = 0
        self._request: HttpRequest | None = None
        self._upgrade: Upgrade | None = None  # what the request asks for, beside its answer
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._certificate: Mapping[str, Any] | None = None
        self.admitted = False
        self.lingers = False
        self.source = ""
        self.deadline = 0.0

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if self._listener.stopping or not peer:  # without a peer it is gone already
            self._stage = _LEAVING
            self._transport.abort()
            return
        self.source = peer[0].partition("%")[0]  # without the zone of a link-local address
        # Who says nothing at all is not waited for longer than who says it slowly.
        self.deadline = self._loop.time() + self._limits.header_timeout
        try:
            self._listener.admit(self)
        except _Refused as refused:
            self._refuse(refused)
            return
        if self._listener.tls is not None:
            self._certificate = transport.get_extra_info("peercert") or None
        self._listener.tasks.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        stage = self._stage
        if stage <= _HEAD:
            self._read(self._buffer + data if self._buffer else data)
        elif stage == _BODY:
            try:
                self._read_body(data)
            except (_Refused, BadBody) as refused:
                self._refuse(refused)
        elif stage == _LEAVING:
            self._thrown_away += len(data)
            if self._thrown_away > _LINGER_BYTES:
                self._transport.abort()
        else:
            # Pipelined: kept until the answer before it is written.
            self._buffer += data
            if len(self._buffer) > _MOST_READ_AHEAD and not self._reading_paused:
                self._reading_paused = True
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._eof = True
        # Who has asked and will say no more still gets its answer; TLS knows no such half-closed state.
        return _BUSY <= self._stage <= _SENDING and self._listener.tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage = _LEAVING
        self._listener.dismiss(self)
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # What the listener says.

    def finish(self) -> None:
        """The listener stops: end now, or after the answer that is owed."""
        if self._stage == _IDLE:
            self._leave()
        elif self._stage == _LEAVING:
            self._transport.close()

    def cut(self) -> None:
        self._stage = _LEAVING
        self._transport.abort()

    def expire(self) -> None:
        """The deadline of what this connection is doing has passed."""
        limits = self._limits
        if self._stage == _HEAD:
            text = f"the request line and headers did not arrive within {limits.header_timeout:g} s"
            self._refuse(_Refused(408, text))
        elif self._stage == _BODY:
            text = f"the body did not arrive within {limits.body_timeout:g} s"
            self._refuse(_Refused(408, text))
        elif self._stage == _IDLE:
            self._leave()
        else:
            self.cut()

    # Reading: each of these takes what has come, and goes on when it is enough.

    def _read(self, data: bytes) -> None:
        """Read a head, and what has come of its body."""
        if data[0] in b"\r\n":
            data = data.lstrip(b"\r\n")  # empty lines before a request are nothing (RFC 9112, 2.2)
            if not data:
                self._buffer = b""
                return
        end = data.find(b"\r\n\r\n") + 4
        try:
            if end < 4 or end > self._limits.head:
                self._wait_for_head(data)
            else:
                self._buffer = data[end:]
                self._read_head(data[:end])
        except (_Refused, BadBody) as refused:
            self._refuse(refused)

    def _wait_for_head(self, data: bytes) -> None:
        if len(data) >= self._limits.head:
            raise _Refused(431, f"request line and headers are longer than {self._limits.head} bytes")
        if not data[:1].isalpha() or b"\n\n" in data:
            # Nothing that will come makes this HTTP; let the parser say why not.
            self._parse(data + b"\r\n\r\n")
            raise _Refused(400, "lines of the head must end in CRLF")
        self._buffer = data
        if self._stage != _HEAD:
            self._stage = _HEAD
            self.deadline = self._loop.time() + self._limits.header_timeout

    def _parse(self, head: bytes) -> RawRequestMessage:
        limits = self._limits
        head = bodies.readable_head(head)
        try:
            messages, _, _ = HttpRequestParser(
                self._listener.parser_protocol,
                self._loop,
                limits.head,
                max_line_size=limits.head,
                max_field_size=limits.head,
                max_headers=limits.headers,
                response_with_body=False,
                auto_decompress=False,
            ).feed_data(head)
        except HttpProcessingError as problem:
            # The parser refuses some headers twice. Of these two nothing depends on which one counts, and
            # charge points are seen that send Content-Type twice (govoltbras): the first counts.
            once = _without_repeats(head)
            if once != head:
                return self._parse(once)
            said = problem.message.partition("\n")[0].rstrip(":")
            if said.startswith("Too many headers"):
                raise _Refused(431, f"more than {limits.headers} headers") from None
            raise _Refused(400, f"this is not HTTP as it should be: {said}") from None
        if not messages:
            raise _Refused(400, "this is not HTTP/1.1")
        return messages[0][0]

    def _read_head(self, head: bytes) -> None:
        message = self._message = self._parse(head)
        headers = message.headers
        version = message.version
        if version != (1, 1) and version != (1, 0):
            raise _Refused(505, f"HTTP/{version[0]}.{version[1]} is not served; use HTTP/1.1")
        if message.method == "CONNECT":
            raise _Refused(405, "this is no proxy")
        self._close_after = message.should_close
        self._coding = headers.get(hdrs.CONTENT_ENCODING, "")
        if self._coding:
            bodies.check_encoding(self._coding)

        transfer = headers.get(hdrs.TRANSFER_ENCODING)
        length = headers.get(hdrs.CONTENT_LENGTH)
        if transfer is not None:
            # One framing rule or none: whoever stands before us must not be able to read it another way.
            if length is not None:
                raise _Refused(400, "both Transfer-Encoding and Content-Length; expected one")
            if version == (1, 0):
                raise _Refused(400, "Transfer-Encoding in HTTP/1.0")
            if transfer.strip().lower() != "chunked":
                raise _Refused(501, f"Transfer-Encoding {transfer[:64]!r} is not known; expected chunked")
            self._chunks = Chunks(self._limits.body)
        elif length is not None:
            if not (length.isascii() and length.isdecimal()):
                raise _Refused(400, f"Content-Length {length[:64]!r} is no number of bytes")
            self._length = int(length)
            if self._length > self._limits.body:
                text = (
                    f"the body of {length[:64]} bytes is larger than the limit of {self._limits.body} bytes"
                )
                raise _Refused(413, text)
            if len(self._buffer) == self._length:  # the usual request: all of it at once
                body, self._buffer = self._buffer, b""
                self._take(body)
                return
        else:
            self._take(b"")
            return

        expected = headers.get(hdrs.EXPECT)
        if expected is not None and version == (1, 1):
            if expected.strip().lower() != "100-continue":
                raise _Refused(417, f"Expect {expected[:64]!r} is not known")
            if not self._buffer:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._stage = _BODY
        self.deadline = self._loop.time() + self._limits.body_timeout
        data, self._buffer = self._buffer, b""
        self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        if self._chunks is not None:
            if self._chunks.feed(data):
                body, self._buffer = bytes(self._chunks.body), self._chunks.rest
                self._chunks = None
                self._take(body)
            return
        self._body += data
        if len(self._body) < self._length:
            return
        body = bytes(self._body[: self._length])
        self._buffer = bytes(self._body[self._length :])
        self._body = bytearray()
        if self._buffer:
            whole = bodies.counted_in_characters(body, self._buffer, self._length)
            if whole is not body:
                # What came behind is taken as body, and never as another request: the connection ends here.
                body, self._buffer, self._close_after = whole, b"", True
        self._take(body)

    def _take(self, body: bytes) -> None:
        """A request is complete: hand it over."""
        if self._coding:
            plain = bodies.decode(body, self._coding, self._limits.body)
            if plain is body:
                self._coding = ""
            body = plain
        message = self._message
        if self._listener.upgrade is not None and asks_for_websocket(message):
            self._upgrade = self._read_upgrade(message, body)
        path, query = _target(message.path)
        self._request = HttpRequest(
            message.method,
            unquote(path) if "%" in path else path,
            query,
            message.headers,
            body,
            self.source,
            self._listener.name,
            self._certificate,
            path,
        )
        self._stage = _BUSY
        self.deadline = float("inf")
        self._wake()

    def _read_upgrade(self, message: RawRequestMessage, body: bytes) -> Upgrade:
        if body:
            raise _Refused(400, "a request for a WebSocket has no body")
        try:
            return read_upgrade(message, compression=self._listener.compression)
        except BadUpgrade as bad:
            raise _Refused(bad.status, bad.text, bad.lines) from None

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # Answering.

    async def _serve(self) -> None:
        """Answer one request after the other, until the connection ends."""
        behind = False
        while True:
            if self._request is None:
                if self._stage == _LEAVING:
                    return
                self._waiter = self._loop.create_future()
                await self._waiter
                behind = False
                continue
            if behind:  # it was there already: others have their turn before it
                await asyncio.sleep(0)
            behind = True
            request, self._request = self._request, None
            upgrade, self._upgrade = self._upgrade, None
            try:
                if upgrade is None:
                    response = await self._listener.handler(request)
                else:
                    answer = await self._listener.grant(request, upgrade.offered)
                    if isinstance(answer, WebSocket):
                        if self._becomes(upgrade, answer):
                            return
                        answer = HttpResponse(503, b"this listener is closing\n")
                    response = answer
                data = self._response_bytes(request, response)
            except Exception as problem:
                self._listener.error(problem, request)
                # What is posted may be a transaction message: an error of ours must not make it be dropped.
                response = _NOTHING if request.method == "POST" else _INTERNAL_ERROR
                data = self._response_bytes(request, response)
            if (self._eof or self._stage == _LEAVING) and response.unheard is not None:
                response.unheard()
            if self._stage == _LEAVING:
                return  # nobody is there to be answered any more
            if response.silent:
                self._leave()
                return
            self._transport.write(data)
            if self._drained is not None:
                self._stage = _SENDING
                self.deadline = self._loop.time() + self._limits.send_timeout
                await self._drained
            self._go_on(response)

    def _becomes(self, upgrade: Upgrade, answer: WebSocket) -> bool:
        """Open the WebSocket and let it have the transport; tells whether somebody was still there for it."""
        if self._eof or self._stage == _LEAVING or self._listener.stopping:
            if answer.unheard is not None:
                answer.unheard()
            return False
        transport, buffer = self._transport, self._buffer
        head = switching(upgrade, answer.subprotocol, _date())
        websocket = self._listener.become_websocket(self, upgrade, answer)
        transport.set_protocol(websocket)
        websocket.connection_made(transport)
        transport.write(head)
        if self._reading_paused:
            transport.resume_reading()
        if buffer:  # what it has said already, without waiting for the answer
            websocket.data_received(buffer)
        websocket.start_keepalive()
        return True

    def _response_bytes(self, request: HttpRequest, response: HttpResponse) -> bytes:
        """Write head and body of an answer. Raises ValueError for what cannot stand in a head."""
        if response.silent:
            return b""
        body = response.body
        status = response.status
        content_type = response.content_type
        if not content_type.isprintable():
            raise ValueError(f"content type {content_type!r} cannot be sent")
        more = ""
        if response.headers:
            for name, value in response.headers.items():
                if not (name.isprintable() and value.isprintable()):
                    raise ValueError(f"header {name!r}: {value!r} cannot be sent")
                more += f"{name}: {value}\r\n"
        if body and (self._coding or len(body) >= self._limits.gzip_from):
            coding = _answer_coding(self._coding, request.headers.get(hdrs.ACCEPT_ENCODING))
            if coding:
                body = bodies.encode_deflate(body) if coding == "deflate" else bodies.encode_gzip(body)
                more += f"Content-Encoding: {coding}\r\n"
        if self._close_after or response.close or self._listener.stopping:
            more += "Connection: close\r\n"
        elif self._message.version == (1, 0):
            more += "Connection: keep-alive\r\n"
        if status in (204, 304):  # these have no body, and say nothing of one (RFC 9110, 8.6)
            content, body = "", b""
        else:
            named = f"Content-Type: {content_type}\r\n" if content_type else ""
            content = f"{named}Content-Length: {len(body)}\r\n"
        line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status\r\n"
        head = f"{line}{content}Date: {_date()}\r\nServer: wattbridge\r\n{more}\r\n".encode("latin-1")
        return head if request.method == "HEAD" else head + body

    def _go_on(self, response: HttpResponse) -> None:
        """After an answer: close, or read what has come meanwhile."""
        if self._stage == _LEAVING:
            return
        if self._close_after or response.close or self._listener.stopping:
            self._leave()
            return
        self._stage = _IDLE
        self.deadline = self._loop.time() + self._limits.idle
        self._coding = ""
        if self._buffer:
            self._read(self._buffer)
        if self._reading_paused and len(self._buffer) <= _MOST_READ_AHEAD:
            self._reading_paused = False
            self._transport.resume_reading()
        if self._eof and self._stage <= _BODY:
            self._leave()

    def _refuse(self, problem: _Refused | BadBody) -> None:
        """Answer with an error in plain text, and close; only close for a reason that may pass.

        A charge point takes any answer for the answer to its message, and may never send that again.
        """
        if isinstance(problem, BadBody):
            problem = _Refused(_STATUS_OF[problem.reason], problem.problem)
        self._listener.refusal(self, problem)
        if problem.status in _PASSING:
            self._leave(unread=True)
            return
        body = f"{problem.text}\n".encode("ascii", "backslashreplace")
        self._transport.write(
            f"{_STATUS_LINES[problem.status]}"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
            f"Date: {_date()}\r\nServer: wattbridge\r\n{problem.lines}Connection: close\r\n\r\n".encode(
                "ascii"
            )
            + body
        )
        self._leave(unread=True)

    def _leave(self, *, unread: bool = False) -> None:
        """Close after what is written.

        With *unread*, more of the request may still come; a connection closed on it is reset, and the peer
        may never see the answer. So its end is awaited for a moment, and what comes is thrown away.
        """
        self._stage = _LEAVING
        self._buffer = b""
        self._chunks = None
        if unread and not self._eof and self._listener.may_linger():
            self.lingers = True
            self.deadline = self._loop.time() + self._limits.linger
            if self._reading_paused:
                self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
        else:
            self.deadline = self._loop.time() + self._limits.send_timeout
            self._transport.close()
        self._wake()


def _target(target: str) -> tuple[str, str]:
    """Take path and query from a request target, both as they were sent.

    The origin form is usual (``/ocpp?a=1``); the absolute form (``http://127.0.0.1:29310/ocpp``, from glurp)
    is read the same, whatever host it names.
    """
    if not target.startswith(("/", "*")):
        rest = target.partition("://")[2]
        start = re.search(r"[/?#]", rest)
        target = rest[start.start() :] if start else ""
        if not target.startswith("/"):
            target = "/" + target
    if "#" in target:
        target = target.partition("#")[0]
    path, _, query = target.partition("?")
    return path, query


def _without_repeats(head: bytes) -> bytes:
    """Drop every Content-Type and User-Agent but the first."""
    seen = set()
    lines = []
    for line in head.split(b"\r\n"):
        name = line.partition(b":")[0].lower()
        if name in (b"content-type", b"user-agent"):
            if name in seen:
                continue
            seen.add(name)
        lines.append(line)
    return b"\r\n".join(lines)


def _answer_coding(coding: str, accepted: str | None) -> str:
    """Choose the content coding of an answer; "" for none.

    *coding* is that of the request's body. Who compresses can read it back, unless it says otherwise; the
    others get gzip when they ask for it (``Accept-Encoding: none`` and ``identity`` do not).
    """
    coding = "gzip" if coding.strip().lower() in ("gzip", "x-gzip") else "deflate" if coding else ""
    if accepted is None:
        return coding
    wanted = set()
    for entry in accepted.lower().split(","):
        name, _, quality = entry.partition(";")
        if not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", quality):
            wanted.add(name.strip())
    for name in (coding, "gzip"):
        if name in wanted or (name and "*" in wanted):
            return name
    return ""


_date_of: tuple[int, str] = (0, "")


def _date() -> str:
    """The time in the form of HTTP, written once per second."""
    global _date_of
    now = int(time.time())
    if _date_of[0] != now:
        _date_of = (now, formatdate(now, usegmt=True))
    return _date_of[1]
