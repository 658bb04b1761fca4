"""An event loop whose time is a number and whose network is memory.

Nothing waits here: time goes on only in ``run_for``, from one timer to the next, and what one end of a
connection writes the other end reads in the next turn. So a session of hours is over in milliseconds, and is
the same each time. Name resolution, TLS and threads are not served.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

HOME = "10.0.0.254"  # where connections come from when nobody says it


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs tasks, timers and the protocols of connections in memory, as far as ``run_for`` lets time go."""

    def __init__(self) -> None:
        self._now = 0.0
        self._until = 0.0
        self._servers: dict[tuple[str, int], MemoryServer] = {}
        self._hanging: set[tuple[str, int]] = set()
        # Whoever looks whether bytes have arrived on a connection in memory looks at this socket: never.
        self.never, self._never_written = socket.socketpair()
        super().__init__(_Nothing(self))

    def time(self) -> float:
        return self._now

    def run_for(self, seconds: float) -> None:
        """Run until so many seconds have passed and all that was due then is done; with 0 no time passes."""
        self._until = self._now + seconds
        self.run_forever()

    def nothing_is_ready(self, timeout: float | None) -> None:
        """Go to the next timer, which is *timeout* seconds away, or stop before it; None: there is none."""
        then = None if timeout is None else self._now + timeout
        if then is None or then > self._until:
            self._now = self._until
            self.stop()
        else:
            self._now = then

    def close(self) -> None:
        super().close()
        self.never.close()
        self._never_written.close()

    # --- the network ---

    def refuse(self, host: str, port: int) -> None:
        """Nobody listens there any more; connections that exist go on."""
        self._servers.pop((host, port), None)
        self._hanging.discard((host, port))

    def hang(self, host: str, port: int) -> None:
        """Whoever connects there waits for ever: its packets are dropped."""
        self._hanging.add((host, port))

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str,
        port: int,
        **options: Any,
    ) -> MemoryServer:
        return self.serve(protocol_factory, host, port)

    def serve(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> MemoryServer:
        self._hanging.discard((host, port))
        server = self._servers[host, port] = MemoryServer(self, protocol_factory, host, port)
        return server

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str,
        port: int,
        *,
        local_addr: tuple[str, int] = (HOME, 0),
        **options: Any,
    ) -> tuple[MemoryTransport, Any]:
        """Raises ConnectionRefusedError where nobody listens."""
        if (host, port) in self._hanging:
            await self.create_future()
        return self.connect(protocol_factory, host, port, local_addr[0])

    def connect(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, source: str = HOME
    ) -> tuple[MemoryTransport, Any]:
        """The same at once. Raises ConnectionRefusedError where nobody listens."""
        server = self._servers.get((host, port))
        if server is None:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        here, there = protocol_factory(), server.protocol_factory()
        ours = MemoryTransport(self, here, (host, port), (source, 0))
        theirs = MemoryTransport(self, there, (source, 0), (host, port))
        ours.other, theirs.other = theirs, ours
        there.connection_made(theirs)
        here.connection_made(ours)
        return ours, here


class MemoryServer:
    """What ``create_server`` gives; it listens until it is closed."""

    def __init__(
        self,
        loop: VirtualLoop,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str,
        port: int,
    ) -> None:
        self.protocol_factory = protocol_factory
        self._loop = loop
        self._address = host, port

    @property
    def sockets(self) -> tuple[MemoryServer, ...]:
        return (self,)

    def getsockname(self) -> tuple[str, int]:
        return self._address

    async def start_serving(self) -> None:
        return None

    def close(self) -> None:
        self._loop.refuse(*self._address)

    async def wait_closed(self) -> None:
        return None


class MemoryTransport(asyncio.Transport):
    """One end of a connection in memory."""

    other: MemoryTransport

    def __init__(
        self,
        loop: VirtualLoop,
        protocol: asyncio.BaseProtocol,
        peername: tuple[str, int],
        sockname: tuple[str, int],
    ) -> None:
        super().__init__({"peername": peername, "sockname": sockname, "socket": loop.never})
        self._loop = loop
        self._protocol: Any = protocol
        self._closing = False
        self._silent = False  # what is written goes nowhere
        self._paused = False
        self._unread: deque[bytes | None] = deque()  # None is the end

    # What a test does to it.

    def silence(self) -> None:
        """The line is cut between the two, and nobody is told."""
        self._silent = self.other._silent = True

    def reset(self) -> None:
        """This end is gone at once; the other is told so."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lost, None)
            if not self._silent:
                problem = ConnectionResetError("connection reset by peer")
                self._loop.call_soon(self.other._lost, problem)

    # What a protocol does with it.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._closing:
            self._tell(bytes(data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._closing:
            self._tell(None)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._tell(None)
            self._closing = True
            self._loop.call_soon(self._lost, None)

    def abort(self) -> None:
        self.close()

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._loop.call_soon(self._read)

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        """What the other end has not taken yet."""
        return sum(len(data or b"") for data in self.other._unread)

    def _tell(self, data: bytes | None) -> None:
        if not self._silent:
            self.other._unread.append(data)
            self._loop.call_soon(self.other._read)

    def _read(self) -> None:
        while self._unread and not self._paused and not self._closing:
            data = self._unread.popleft()
            if data is not None:
                self._protocol.data_received(data)
            elif not self._protocol.eof_received():
                self.close()

    def _lost(self, problem: Exception | None) -> None:
        self._closing = True
        protocol, self._protocol = self._protocol, _Nobody()
        protocol.connection_lost(problem)


class _Nobody(asyncio.Protocol):
    """Whom a connection is told of that has ended already."""


class _Nothing(selectors.SelectSelector):
    """No bytes come from outside: when nothing else is ready, time goes on."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self._loop.nothing_is_ready(timeout)
        return []


def finished(loop: VirtualLoop) -> set[asyncio.Task[Any]]:
    """Close *loop*; gives the tasks that had not ended, which are cancelled."""
    left = asyncio.all_tasks(loop)
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_for(60.0)
    loop.close()
    return left
