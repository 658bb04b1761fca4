"""The HTTP clients: what a POST looks like on the wire, one connection, and a few of them kept open.

Charge points are called on a connection each (``callbacks.py``); a central system is called on connections
that are kept (``KeptClient``). Both write the same heads and read the same answers. llhttp, through aiohttp's
parser, reads the heads; the framing around them is ours. Whether a URL may be called is not decided here, and
what is posted, and what the answer means, belongs to the links.
"""

from __future__ import annotations

import asyncio
import re
import select
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType
from typing import Self, cast

from aiohttp import hdrs
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpResponseParser, RawResponseMessage

from wattbridge.links import bodies
from wattbridge.links.bodies import BadBody, Chunks
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.soap import LARGEST_BODY

IpAddress = IPv4Address | IPv6Address

# What a proxy answers for a server that is not there, or not yet (RFC 9110, 15.6).
AWAY_STATUSES = frozenset({502, 503, 504})

_MOST_HEAD = 16_384  # bytes
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_MOST_INTERIM = 8  # answers like 100 Continue before the real one
_MOST_URL = 2048  # characters
_DEFAULT_PORTS = {"http": 80, "https": 443}
_KEPT_FOR = re.compile(r"timeout\s*=\s*(\d{1,9})", re.IGNORECASE | re.ASCII)
_WEB_SOCKET = re.compile("^ws", re.IGNORECASE)
_STOPPING = "the gateway is stopping"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*({_LABEL})\.?")
# inet_aton reads 2130706433, 0x7f.1 and 0177.1 as addresses; no name ends in such a part (WHATWG URL, 3.5).
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class NotSent(Unreachable):
    """Not a byte of the request went out: it may go elsewhere, and nothing happens twice."""


@dataclass(frozen=True, slots=True)
class Address:
    """One place to call: the URL as given, taken apart, and what is connected to.

    ``target`` is path and query as they go on the wire. ``ip`` is the one IP address that was checked, or the
    host again where each connection resolves it. ``origin`` says where the URL came from (``wsa:From``,
    ``wsa:ReplyTo``, ``template``, ``configuration``).
    """

    url: str
    scheme: str
    host: str  # without brackets
    port: int
    target: str
    ip: str
    origin: str = "configuration"

    @classmethod
    def of(cls, url: str) -> Self:
        """The address of a URL that the operator wrote. Raises ValueError with the reason why it is none."""
        parts = read_url(url)
        return cls(url.strip(), parts.scheme, parts.host, parts.port, parts.target, parts.host)

    @property
    def authority(self) -> str:
        """The value of the Host header: the port only where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def server(self) -> tuple[str, str, int]:
        """What a connection leads to, whatever is asked for on it."""
        return self.scheme, self.ip, self.port

    def __str__(self) -> str:
        where = f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"
        return where if self.host == self.ip or read_ip(self.host) is not None else f"{self.host} ({where})"


@dataclass(frozen=True, slots=True)
class UrlParts:
    scheme: str
    host: str
    port: int
    target: str


def read_url(url: str) -> UrlParts:
    """Take an http or https URL apart, strictly. Raises ValueError with the reason."""
    url = url.strip()
    if len(url) > _MOST_URL:
        raise ValueError(f"longer than {_MOST_URL} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("has characters that cannot stand in a URL")
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("not a URL")
    scheme, authority, path, query, fragment = match.groups()
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise ValueError("neither http nor https")
    if "@" in authority:
        raise ValueError("has user information")
    if fragment is not None:
        raise ValueError("has a fragment")
    authority = authority.lower()
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("host and port cannot be told apart")
        port = rest[1:]
        if "%" in host or ":" not in host or read_ip(host) is None:
            raise ValueError(f"[{host}] is not an IPv6 address")
    else:
        host, _, port = authority.partition(":")
        if ":" in port:
            raise ValueError("host and port cannot be told apart")
        if not host:
            raise ValueError("no host")
        if read_ip(host) is None:
            name = _NAME.fullmatch(host) if len(host) <= 253 else None
            if name is None or _NUMBER.fullmatch(name[1]):
                raise ValueError(f"{host} is neither an IP address nor a host name")
            host = host.removesuffix(".")
    if port and not (port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(f"port {port} is not between 1 and 65535")
    return UrlParts(
        scheme, host, int(port) if port else _DEFAULT_PORTS[scheme], (path or "/") + (query or "")
    )


def read_ip(text: str) -> IpAddress | None:
    """Read an IP address; an IPv4-mapped one (``::ffff:10.1.2.3``) is the IPv4 address it stands for."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer to a POST, whatever its status. ``body`` is decompressed."""

    status: int
    content_type: str
    body: bytes


class HttpClient:
    """What opens connections, and ends all that is under way when it is closed.

    *connect_timeout* is in seconds, *limit* the bytes of an answer, as sent and again decompressed. *tls* is
    for https; None trusts what the system trusts.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        limit: int = LARGEST_BODY,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.connect_timeout = connect_timeout
        self.limit = limit
        self._tls = tls
        self._closed = False
        self._deadlines: set[asyncio.Timeout] = set()  # of the calls under way
        self._connections: set[Connection] = set()

    @property
    def is_in_use(self) -> bool:
        """Whether a connection is open, or being opened."""
        return bool(self._connections or self._deadlines)

    async def close(self) -> None:
        """Close for good: all calls under way, and those to come, end with Unreachable, draining."""
        self._closed = True
        for connection in tuple(self._connections):
            connection.fail(_draining())
        # A call that is still connecting has no connection that could be failed: its time is up instead.
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(0.0)
        await asyncio.sleep(0)  # connections close in the next turn of the loop

    def within(self, seconds: float | None, late: Unreachable) -> _Within:
        """``async with`` it, what is inside is done in so many seconds.

        Raises *late* after them, and draining when the client is closed, or is being closed meanwhile.
        """
        return _Within(self, seconds, late)

    async def connect(self, address: Address) -> Connection:
        """Open a connection. Raises NotSent with reason refused, timeout or unreachable."""
        loop = asyncio.get_running_loop()
        secure = address.scheme == "https"
        if secure and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            async with asyncio.timeout(self.connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(address, self.limit, self._connections, loop),
                    address.ip,
                    address.port,
                    ssl=self._tls if secure else None,
                    server_hostname=address.host if secure else None,
                )
        except ConnectionRefusedError:
            raise NotSent("refused", f"connection refused by {address}") from None
        except TimeoutError:
            text = f"no connection to {address} within {self.connect_timeout:g} s"
            raise NotSent("timeout", text) from None
        except ssl.SSLError as problem:
            said = getattr(problem, "verify_message", "") or problem.reason or str(problem)
            raise NotSent("unreachable", f"TLS with {address} failed: {said}") from None
        except OSError as problem:
            raise NotSent(
                "unreachable", f"no connection to {address}: {problem.strerror or problem}"
            ) from None
        return connection

    async def answers(self, address: Address, within: float = 5.0) -> bool:
        """Whether a GET there is answered in so many seconds, and not by a proxy before an absent server."""
        head = write_head("GET", address, {"Host": address.authority, "Connection": "close"})
        try:
            async with self.within(within, Unreachable("timeout", f"no answer from {address}")):
                connection = await self.connect(address)
                try:
                    message, _ = await connection.exchange(head)
                finally:
                    connection.close()
        except Unreachable as gone:
            return gone.reason == "too_large"  # that is an answer, too
        return message.code not in AWAY_STATUSES

    async def exchange(self, connection: Connection, address: Address, request: bytes) -> HttpAnswer:
        """Send the request and read the answer. Raises Unreachable; NotSent when it was never sent."""
        message, body = await connection.exchange(request)
        try:
            body = bodies.decode(body, message.headers.get(hdrs.CONTENT_ENCODING, ""), self.limit)
        except BadBody as problem:
            raise _unreadable(address, problem) from None
        return HttpAnswer(message.code, message.headers.get(hdrs.CONTENT_TYPE, ""), body)


class _Within:
    """What ``HttpClient.within`` gives; on the way of every message, so no generator makes it."""

    __slots__ = ("_client", "_deadline", "_late")

    def __init__(self, client: HttpClient, seconds: float | None, late: Unreachable) -> None:
        self._client = client
        self._deadline = asyncio.timeout(seconds)
        self._late = late

    async def __aenter__(self) -> None:
        if self._client._closed:
            raise NotSent("draining", _STOPPING)
        await self._deadline.__aenter__()
        self._client._deadlines.add(self._deadline)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client._deadlines.discard(self._deadline)
        timed_out = isinstance(problem, TimeoutError)  # a connection may end so, too
        try:
            await self._deadline.__aexit__(kind, problem, traceback)
        except TimeoutError:
            timed_out = True
        if timed_out:
            raise type(self._late)("draining", _STOPPING) if self._client._closed else self._late from None


async def tcp_reachable(url: str, tls: ssl.SSLContext | None = None, within: float = 5.0) -> bool:
    """Whether a connection to the server of *url* can be made: TCP, and TLS for https and wss.

    Raises ValueError when it is no URL.
    """
    address = Address.of(_WEB_SOCKET.sub("http", url.strip()))
    client = HttpClient(connect_timeout=within, tls=tls)
    try:
        connection = await client.connect(address)
    except Unreachable:
        return False
    connection.close()
    return True


class SharedProbe:
    """A probe that many ask and that is made once: what it said holds for *every* seconds.

    So 5,000 sessions that wait for one central system are no load to it when it comes back.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[bool]],
        *,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probe = probe
        self._every = every
        self._clock = clock
        self._said: tuple[float, bool] | None = None  # when, and what
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self) -> bool:
        async with self._one_at_a_time:
            if self._said is None or self._clock() - self._said[0] >= self._every:
                began = self._clock()
                self._said = began, await self._probe()
            return self._said[1]


class KeptClient(HttpClient):
    """Posts to a central system, on connections that are kept for a while.

    No more than *connections* are in use at a time; who comes then waits for its turn. An idle one is kept
    for *idle* seconds, or as long as the server says (Keep-Alive), less a second for the way.

    Nothing is ever posted a second time: whoever reads a StartTransaction twice may well start two. So an
    idle connection on which an end has arrived is not used, and one that ends after a request was written is
    told as it is: nobody knows whether that was read.
    """

    def __init__(
        self,
        *,
        connections: int = 8,
        timeout: float = 30.0,  # seconds, for the answer
        waiting: float = 30.0,  # seconds until a connection becomes free
        idle: float = 15.0,  # seconds
        connect_timeout: float = 10.0,  # seconds
        limit: int = LARGEST_BODY,  # bytes
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(connect_timeout=connect_timeout, limit=limit, tls=tls)
        self.timeout = timeout
        self.waiting = waiting
        self.idle = idle
        self._turns = asyncio.Semaphore(connections)
        self._most = connections
        self._kept: dict[tuple[str, str, int], list[Connection]] = {}  # by server, the last used at the end

    async def post(
        self,
        address: Address,
        body: bytes,
        content_type: str,
        soap_action: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Post *body* to *address*.

        *content_type* and *soap_action* are as for a callback, *headers* go along.
        Raises Unreachable with reason timeout, unreachable, too_large or draining, and NotSent, busy or
        refused as well, when nothing was sent.
        """
        request = write_request(address, body, content_type, soap_action, headers, keep=True)
        await self._turn(address)
        connection = None
        try:
            connection = self._take(address)
            if connection is None:
                async with self.within(None, NotSent("timeout", "")):
                    connection = await self.connect(address)
            late = Unreachable("timeout", f"no answer from {address} within {self.timeout:g} s")
            async with self.within(self.timeout, late):
                return await self.exchange(connection, address, request)
        finally:
            if connection is not None:
                self._let_go(connection, address)
            self._turns.release()

    async def _turn(self, address: Address) -> None:
        """Wait until a connection may be used; limited in time only where there is something to wait for."""
        if not self._turns.locked():
            await self._turns.acquire()
            return
        busy = f"all {self._most} connections to {address} were busy for {self.waiting:g} s"
        async with self.within(self.waiting, NotSent("busy", busy)):
            await self._turns.acquire()

    def _take(self, address: Address) -> Connection | None:
        """An idle connection that is still open."""
        kept = self._kept.get(address.server, [])
        while kept:
            connection = kept.pop()
            if connection.is_open:
                connection.wake()
                return connection
            connection.close()
        return None

    def _let_go(self, connection: Connection, address: Address) -> None:
        seconds = connection.keeps(self.idle)
        if seconds <= 0 or self._closed:
            connection.close()
            return
        self._kept.setdefault(address.server, []).append(connection)
        connection.rest(seconds)


class Connection(asyncio.Protocol):
    """One connection to a peer, and one exchange at a time on it.

    *limit* is the most bytes of an answer's body; *connections* are those that are open, this one included.
    """

    __slots__ = (
        "_address",
        "_answer",
        "_body",
        "_buffer",
        "_chunks",
        "_connections",
        "_framed",
        "_gone",
        "_interim",
        "_length",
        "_limit",
        "_loop",
        "_message",
        "_resting",
        "_transport",
    )

    _transport: asyncio.Transport

    def __init__(
        self,
        address: Address,
        limit: int,
        connections: set[Connection],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._address = address
        self._limit = limit
        self._connections = connections
        self._loop = loop
        self._resting: asyncio.TimerHandle | None = None
        self._answer: asyncio.Future[tuple[RawResponseMessage, bytes]] | None = None
        self._buffer = b""  # of the answer's head
        self._interim = 0  # heads that came before it
        self._message: RawResponseMessage | None = None
        self._chunks: Chunks | None = None
        self._length: int | None = None  # bytes of the body; None: it ends with the connection, or in chunks
        self._body = bytearray()
        self._framed = False  # the answer ended where it said, and nothing came behind it
        self._gone = False

    async def exchange(self, request: bytes) -> tuple[RawResponseMessage, bytes]:
        """Send the request and wait for the answer to it.

        Raises Unreachable; NotSent when the peer had closed before the request could be sent.
        """
        self._answer = self._loop.create_future()
        self._message = self._chunks = self._length = None
        self._body = bytearray()
        self._framed, self._interim = False, 0
        if self._gone:
            raise NotSent("unreachable", f"{self._address} closed the connection without an answer")
        self._transport.write(request)
        if self._buffer:
            self._received(b"")
        return await self._answer

    @property
    def is_open(self) -> bool:
        """Whether nothing says that the peer has closed it, or is about to."""
        if self._gone or self._transport.is_closing():
            return False
        # An end that has arrived, and that the loop has not told yet. Nothing else comes on an idle one.
        arrived = select.poll()
        arrived.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not arrived.poll(0)

    def keeps(self, usual: float) -> float:
        """For how many seconds it may be kept after this exchange, *usual* at most; 0 when it may not.

        A server says by Keep-Alive when it will close: an end that comes while a request is on its way leaves
        everybody in doubt, so the last second is not used.
        """
        message = self._message
        if self._gone or message is None or not self._framed or message.should_close:
            return 0.0
        told = _KEPT_FOR.search(message.headers.get("Keep-Alive", ""))
        return min(usual, float(told[1]) - 1.0) if told else usual

    def rest(self, seconds: float) -> None:
        """Wait for another exchange, and close when none comes in so many seconds."""
        self._resting = self._loop.call_later(seconds, self.close)

    def wake(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def close(self) -> None:
        self.wake()
        if self._answer is not None and self._answer.done() and not self._answer.cancelled():
            self._transport.close()
        else:
            self._transport.abort()

    def fail(self, problem: Unreachable) -> None:
        self.wake()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(problem)
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._gone = True
        self._ended()

    def eof_received(self) -> None:
        self._gone = True
        self._ended()

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self._buffer = (self._buffer + data)[:_MOST_HEAD]  # some speak before they are asked
        elif not self._answer.done():
            self._received(data)
        else:
            self._transport.abort()  # nobody asked

    def _received(self, data: bytes) -> None:
        try:
            while self._message is None:
                self._buffer += data
                message = self._read_head()
                if message is None:
                    return
                data, self._buffer = self._buffer, b""
                if message.code == 101:  # no other answer follows it
                    text = (
                        f"{self._address} changes to another protocol, which it was not asked for (HTTP 101)"
                    )
                    raise Unreachable("unreachable", text)
                if not 100 <= message.code < 200:
                    self._begin_body(message)
                elif (interim := self._interim + 1) > _MOST_INTERIM:
                    text = f"{self._address} sends interim answers without end"
                    raise Unreachable("unreachable", text)
                else:
                    self._interim = interim
            self._read_body(data)
        except BadBody as problem:
            self.fail(_unreadable(self._address, problem))
        except Unreachable as problem:
            self.fail(problem)

    def _read_head(self) -> RawResponseMessage | None:
        """Take a head from the buffer, when all of it has come."""
        buffer = self._buffer = self._buffer.lstrip(b"\r\n")
        if not buffer.startswith(b"HTTP/"[: len(buffer)]):
            raise Unreachable("unreachable", f"{self._address} does not answer in HTTP: {buffer[:40]!r}")
        end = _HEAD_END.search(buffer, 0, _MOST_HEAD)
        if end is None:
            if len(buffer) >= _MOST_HEAD:
                text = f"the head of the answer of {self._address} is longer than {_MOST_HEAD} bytes"
                raise Unreachable("too_large", text)
            return None
        self._buffer = buffer[end.end() :]
        try:
            messages, _, _ = HttpResponseParser(
                BaseProtocol(self._loop),
                self._loop,
                _MOST_HEAD,
                max_line_size=_MOST_HEAD,
                max_field_size=_MOST_HEAD,
                response_with_body=False,
                auto_decompress=False,
            ).feed_data(bodies.readable_head(buffer[: end.end()]))
        except HttpProcessingError as problem:
            said = problem.message.partition("\n")[0].rstrip(":")
            raise Unreachable("unreachable", f"{self._address} answers in broken HTTP: {said}") from None
        return messages[0][0]

    def _begin_body(self, message: RawResponseMessage) -> None:
        self._message = message
        transfer = message.headers.get(hdrs.TRANSFER_ENCODING)
        length = message.headers.get(hdrs.CONTENT_LENGTH)
        if message.code in (204, 304):
            self._length = 0
        elif transfer is not None:
            if transfer.strip().lower() != "chunked":
                text = f"{self._address} answers in Transfer-Encoding {transfer[:64]!r}; expected chunked"
                raise Unreachable("unreachable", text)
            self._chunks = Chunks(self._limit)
        elif length is not None:
            if not (length.isascii() and length.isdecimal()):
                text = f"{self._address} answers with Content-Length {length[:64]!r}"
                raise Unreachable("unreachable", text)
            self._length = int(length)
            if self._length > self._limit:
                raise self._too_large()

    def _read_body(self, data: bytes) -> None:
        if self._chunks is not None:
            if self._chunks.feed(data):
                self._framed = not self._chunks.rest
                self._complete(bytes(self._chunks.body))
            return
        self._body += data
        if self._length is None:
            if len(self._body) > self._limit:
                raise self._too_large()
        elif len(self._body) >= self._length:
            body, extra = bytes(self._body[: self._length]), bytes(self._body[self._length :])
            self._framed = not extra
            self._complete(bodies.counted_in_characters(body, extra, self._length))

    def _too_large(self) -> BadBody:
        return BadBody("too_large", f"the body is larger than the limit of {self._limit} bytes")

    def _complete(self, body: bytes) -> None:
        assert self._answer is not None
        assert self._message is not None
        self._answer.set_result((self._message, body))

    def _ended(self) -> None:
        """The peer has said its last word."""
        if self._answer is None or self._answer.done():
            return
        if self._message is not None:
            if self._length is None and self._chunks is None:
                self._complete(bytes(self._body))
                return
            if self._chunks is None:
                so_far = f"{len(self._body)} of {self._length} bytes"
            else:
                so_far = f"{len(self._chunks.body)} bytes of chunks"
            text = f"{self._address} closed the connection in the middle of its answer, after {so_far}"
            self._answer.set_exception(Unreachable("unreachable", text))
        elif self._buffer:
            text = f"{self._address} closed the connection in the middle of its answer: {self._buffer[:40]!r}"
            self._answer.set_exception(Unreachable("unreachable", text))
        else:
            text = f"{self._address} closed the connection without an answer"
            self._answer.set_exception(Unreachable("unreachable", text))


def _draining() -> Unreachable:
    return Unreachable("draining", _STOPPING)


def _unreadable(address: Address, problem: BadBody) -> Unreachable:
    reason = "too_large" if problem.reason == "too_large" else "unreachable"
    return Unreachable(reason, f"the answer of {address} cannot be read: {problem.problem}")


def write_request(
    address: Address,
    body: bytes,
    content_type: str,
    soap_action: str | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    keep: bool = False,
) -> bytes:
    """Write head and body of a POST.

    Heads are written as old devices want to read them: names in their usual letter case, Content-Length and
    never chunks, no Expect. Raises ValueError for what cannot stand in a head.
    """
    lines = {
        "Host": address.authority,
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": "wattbridge",
        "Connection": "keep-alive" if keep else "close",
    }
    if soap_action is not None:
        lines["SOAPAction"] = f'"{soap_action}"'
    return write_head("POST", address, lines | dict(headers or {})) + body


def write_head(method: str, address: Address, lines: Mapping[str, str]) -> bytes:
    """Write the head of a request. Raises ValueError for what cannot stand in one."""
    for name, value in lines.items():
        if not (name.isprintable() and value.isprintable()):
            raise ValueError(f"header {name!r}: {value!r} cannot be sent")
    if not address.target.isprintable() or " " in address.target:
        raise ValueError(f"request target {address.target!r} cannot be sent")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {address.target} HTTP/1.1\r\n{head}\r\n".encode("latin-1")
