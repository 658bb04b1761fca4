"""WebSockets on a listener: which request asks for one, how that is answered, and the connection it becomes.

The websockets library checks the handshake and speaks the protocol; the head of the request has been read by
the listener, with its limits and times. Whether there is a WebSocket is a handler's word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp.http import RawRequestMessage
from websockets.asyncio.connection import Connection
from websockets.datastructures import Headers
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import enable_server_permessage_deflate
from websockets.http11 import Request
from websockets.protocol import SERVER, State
from websockets.protocol import Protocol as WebSocketProtocol
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

RETRY_AFTER = 10  # seconds that who comes when there are too many is asked to wait

# What the library reads of a handshake. It would insist on `Connection: Upgrade`, which some charge points
# forget (RFC 6455, 4.2.1 wants it); a GET with the rest of it can be nothing else.
_HANDSHAKE = ("Sec-WebSocket-Key", "Sec-WebSocket-Extensions")


class Talk(Protocol):
    """What happens on a WebSocket from its handshake to its end."""

    async def run(self, socket: Connection) -> None:
        """Talk until the connection has ended."""
        ...

    async def close(self, reason: str) -> None:
        """Let what is in flight end, then close the connection."""
        ...


@dataclass(frozen=True, slots=True)
class WebSocket:
    """The answer to a request for a WebSocket that gets one.

    ``subprotocol`` is named in the answer, None: none is. ``unheard`` is called in place of ``talk`` when the
    peer had gone before it could be answered; it may not raise.
    """

    talk: Talk
    subprotocol: str | None = None
    ping_interval: float | None = None  # seconds; None sends none
    ping_timeout: float | None = None  # seconds; None waits for ever
    unheard: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request for a WebSocket that keeps the rules of RFC 6455.

    ``offered`` are the subprotocols as the peer spelled them. ``accept`` is the value that proves the
    handshake was understood, ``extensions`` are those that were agreed on.
    """

    offered: tuple[str, ...]
    accept: str
    extensions: tuple[Extension, ...]
    extensions_header: str | None


class BadUpgrade(Exception):
    """A request for a WebSocket that breaks the rules: HTTP status, a sentence, and lines for the head."""

    def __init__(self, status: int, text: str, lines: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.lines = lines


def asks_for_websocket(message: RawRequestMessage) -> bool:
    """Whether a request asks for a WebSocket. What is posted is no handshake, whatever it says."""
    return message.method == "GET" and "websocket" in map(str.lower, _tokens(message, "Upgrade"))


def read_upgrade(message: RawRequestMessage, *, compression: bool) -> Upgrade:
    """Check a request for a WebSocket. Raises BadUpgrade.

    Source: RFC 6455, 4.2.1 and 4.4.
    """
    headers = message.headers
    if message.version != (1, 1):
        raise BadUpgrade(505, "a WebSocket needs HTTP/1.1")
    if "13" not in _tokens(message, "Sec-WebSocket-Version"):
        found = headers.get("Sec-WebSocket-Version", "")[:64]
        text = f"Sec-WebSocket-Version {found!r} is not served; expected 13"
        raise BadUpgrade(426, text, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
    read = Headers({"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"})
    for name in _HANDSHAKE:
        for value in headers.getall(name, ()):
            read[name] = value
    handshake = ServerProtocol(extensions=enable_server_permessage_deflate(None) if compression else None)
    response = handshake.accept(Request("/", read))
    if response.status_code != 101:
        problem = handshake.handshake_exc
        raise BadUpgrade(response.status_code, f"this is no handshake of a WebSocket: {problem}")
    return Upgrade(
        tuple(_tokens(message, "Sec-WebSocket-Protocol")),
        response.headers["Sec-WebSocket-Accept"],
        tuple(handshake.extensions),
        response.headers.get("Sec-WebSocket-Extensions"),
    )


def _tokens(message: RawRequestMessage, name: str) -> list[str]:
    """The items of a list, maybe of several headers, without the empty ones (KEBA and Java-OCA send such)."""
    items = ",".join(message.headers.getall(name, ())).split(",")
    return [item.strip() for item in items if item.strip()]


def switching(upgrade: Upgrade, subprotocol: str | None, date: str) -> bytes:
    """The head that opens the WebSocket. Raises ValueError for a subprotocol that cannot be named."""
    head = (
        f"HTTP/1.1 101 Switching Protocols\r\nDate: {date}\r\nServer: wattbridge\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {upgrade.accept}\r\n"
    )
    if upgrade.extensions_header is not None:
        head += f"Sec-WebSocket-Extensions: {upgrade.extensions_header}\r\n"
    if subprotocol is not None:
        if not (subprotocol.isascii() and subprotocol.isprintable()):
            raise ValueError(f"subprotocol {subprotocol!r} cannot be named")
        head += f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    return f"{head}\r\n".encode("ascii")


MOST_UNREAD = 1 << 20  # bytes that the other end may leave unread before it is cut off


def cut_off_who_does_not_read(transport: asyncio.Transport) -> None:
    """Whoever sends pings and reads no pongs makes us keep them."""
    if transport.get_write_buffer_size() > MOST_UNREAD:
        transport.abort()


class UpgradedConnection(Connection):
    """A WebSocket that tells its listener when it is gone. ``source`` is the address of the peer."""

    def __init__(
        self,
        upgrade: Upgrade,
        answer: WebSocket,
        source: str,
        max_size: int,
        close_timeout: float,
        on_lost: Callable[[UpgradedConnection], None],
    ) -> None:
        protocol = WebSocketProtocol(SERVER, state=State.OPEN, max_size=max_size)
        protocol.extensions = list(upgrade.extensions)
        protocol.subprotocol = None if answer.subprotocol is None else Subprotocol(answer.subprotocol)
        super().__init__(
            protocol,
            ping_interval=answer.ping_interval,
            ping_timeout=answer.ping_timeout,
            close_timeout=close_timeout,
        )
        self.source = source
        self.talk = answer.talk
        self._on_lost = on_lost
        self._cut: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # The library waits for a peer that has said goodbye, but does not hang up, as long as somebody reads.
        if self.close_deadline is not None and self._cut is None:
            self._cut = self.loop.call_at(self.close_deadline, self.transport.abort)
        cut_off_who_does_not_read(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().connection_lost(exc)
        self._on_lost(self)


class Handshakes:
    """How many handshakes there may be: *most* at a time, *rate* a second, as many at once after a pause.

    A fleet that comes back at once is taken in at that pace. Those that are refused are counted apart, at the
    same rate: whoever floods us with identities that nobody has does not take the turns of those that are.
    """

    def __init__(self, most: int, rate: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._under_way = 0
        self._granted, self._refused = _Turns(rate, clock()), _Turns(rate, clock())
        self.set_limits(most, rate)

    def set_limits(self, most: int, rate: float) -> None:
        self._most = most
        self._rate = rate
        for turns in (self._granted, self._refused):
            turns.rate = rate

    def begin(self) -> str | None:
        """Begin one, which lasts until ``end``; returns why it may not."""
        if self._under_way >= self._most:
            return f"too many handshakes: {self._under_way} are under way"
        if not self._granted.left(self._clock()):
            return f"too many handshakes: {self._rate:g} a second are taken"
        self._under_way += 1
        return None

    def end(self, *, granted: bool) -> str | None:
        """End one; returns why whoever was refused is not even told what for."""
        self._under_way -= 1
        turns = self._granted if granted else self._refused
        if turns.left(self._clock()) or granted:
            turns.take()
            return None
        return f"too many handshakes: {self._rate:g} a second are refused"


class _Turns:
    """So many turns a second; what is not taken is kept, up to *most*: for a second, without it."""

    def __init__(self, rate: float, now: float, most: float | None = None) -> None:
        self.rate = rate
        self._most = most
        self._left = self._burst
        self._counted = now

    @property
    def _burst(self) -> float:
        return max(1.0, self.rate) if self._most is None else self._most

    def left(self, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._counted) * self.rate)
        self._counted = now
        return self._left >= 1.0

    def take(self) -> None:
        self._left -= 1.0


MOST_REMEMBERED = 20_000  # names; the oldest is forgotten, and begins anew


class Seldom:
    """Lets everybody by name do something *most* times at once, and *rate* times a second after that."""

    def __init__(self, most: float, rate: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._rate = rate
        self._clock = clock
        self._turns: dict[str, _Turns] = {}

    def may(self, name: str) -> bool:
        turns = self._turns.get(name)
        return turns is None or turns.left(self._clock())

    def does(self, name: str) -> None:
        """It is doing it now."""
        now = self._clock()
        turns = self._turns.pop(name, None) or _Turns(self._rate, now, self._most)
        self._turns[name] = turns  # the last one now
        if len(self._turns) > MOST_REMEMBERED:
            del self._turns[next(iter(self._turns))]
        turns.left(now)
        turns.take()
