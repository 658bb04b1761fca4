"""Time as a number and a network of memory: what tests of whole sessions stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.virtual_time import MemoryTransport, VirtualLoop, finished


class Peer(asyncio.Protocol):
    """Keeps what it is told."""

    transport: MemoryTransport

    def __init__(self, *, half_closes: bool = False) -> None:
        self.told: list[object] = []
        self._half_closes = half_closes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool:
        self.told.append("end")
        return self._half_closes

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost" if exc is None else type(exc).__name__)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    finished(loop)


def connected(loop: VirtualLoop, *, half_closes: bool = False) -> tuple[Peer, Peer]:
    """The two ends of a connection."""
    client, server = Peer(), Peer(half_closes=half_closes)
    loop.serve(lambda: server, "a", 80)
    loop.connect(lambda: client, "a", 80)
    return client, server


def test_time_goes_on_only_when_it_is_told_to(loop: VirtualLoop) -> None:
    woken: list[float] = []

    async def sleep() -> None:
        for _ in range(3):
            await asyncio.sleep(10.0)
            woken.append(loop.time())

    task = loop.create_task(sleep())
    loop.run_for(9.5)
    assert (woken, loop.time()) == ([], 9.5)
    loop.run_for(0.5)
    assert (woken, loop.time()) == ([10.0], 10.0)
    loop.run_for(3600.0)
    assert (woken, loop.time()) == ([10.0, 20.0, 30.0], 3610.0)
    assert task.done()


def test_with_no_time_everything_happens_that_is_due(loop: VirtualLoop) -> None:
    done: list[str] = []
    loop.call_soon(lambda: loop.call_soon(done.append, "and what follows from it"))
    loop.call_later(0.0, done.append, "now")
    loop.call_later(0.1, done.append, "later")
    loop.run_for(0.0)
    assert sorted(done) == ["and what follows from it", "now"]


def test_a_timeout_is_a_number(loop: VirtualLoop) -> None:
    async def wait() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30.0):
                await loop.create_future()
        return loop.time()

    task = loop.create_task(wait())
    loop.run_for(29.5)
    assert not task.done()
    loop.run_for(0.5)
    assert task.result() == 30.0


def test_what_one_end_writes_the_other_reads_in_order(loop: VirtualLoop) -> None:
    client, server = connected(loop)
    client.transport.write(b"one")
    client.transport.write(b"two")
    server.transport.write(b"three")
    loop.run_for(0.0)
    assert (server.told, client.told) == ([b"one", b"two"], [b"three"])


def test_a_connection_is_closed_after_what_was_written(loop: VirtualLoop) -> None:
    client, server = connected(loop)
    client.transport.write(b"last word")
    client.transport.close()
    assert client.transport.is_closing()
    client.transport.write(b"too late")
    loop.run_for(0.0)
    assert (server.told, client.told) == ([b"last word", "end", "lost"], ["lost"])


def test_an_end_that_says_no_more_can_still_read(loop: VirtualLoop) -> None:
    client, server = connected(loop, half_closes=True)
    client.transport.write_eof()
    loop.run_for(0.0)
    server.transport.write(b"answer")
    loop.run_for(0.0)
    assert (server.told, client.told) == (["end"], [b"answer"])


def test_a_reset_is_told_and_nothing_after_it(loop: VirtualLoop) -> None:
    client, server = connected(loop)
    client.transport.reset()
    server.transport.write(b"into the void")
    loop.run_for(0.0)
    assert (server.told, client.told) == (["ConnectionResetError"], ["lost"])


def test_nobody_is_told_of_a_line_that_is_cut(loop: VirtualLoop) -> None:
    client, server = connected(loop)
    client.transport.silence()
    client.transport.write(b"is anybody there")
    server.transport.write(b"and there")
    client.transport.close()
    loop.run_for(3600.0)
    assert (server.told, client.told) == ([], ["lost"])
    server.transport.reset()
    loop.run_for(0.0)
    assert server.told == ["lost"]


def test_who_does_not_read_is_not_told_until_it_does(loop: VirtualLoop) -> None:
    client, server = connected(loop)
    server.transport.pause_reading()
    client.transport.write(b"four")
    loop.run_for(0.0)
    assert (server.told, client.transport.get_write_buffer_size()) == ([], 4)
    assert not server.transport.is_reading()
    server.transport.resume_reading()
    loop.run_for(0.0)
    assert (server.told, client.transport.get_write_buffer_size()) == ([b"four"], 0)


def test_nobody_is_reached_where_nobody_listens(loop: VirtualLoop) -> None:
    async def attempt() -> str:
        try:
            async with asyncio.timeout(5.0):
                await loop.create_connection(Peer, "a", 80)
        except OSError as problem:
            return type(problem).__name__
        return "connected"

    def outcome() -> str:
        task = loop.create_task(attempt())
        loop.run_for(5.0)
        return task.result()

    assert outcome() == "ConnectionRefusedError"
    server = loop.serve(Peer, "a", 80)
    assert (outcome(), server.sockets[0].getsockname()) == ("connected", ("a", 80))
    loop.hang("a", 80)
    assert outcome() == "TimeoutError"
    server.close()
    assert outcome() == "ConnectionRefusedError"


def test_tasks_that_are_left_are_told_and_cancelled() -> None:
    loop, ended = VirtualLoop(), []

    async def wait_for_ever() -> None:
        try:
            await loop.create_future()
        finally:
            await asyncio.sleep(10.0)
            ended.append(loop.time())

    task = loop.create_task(wait_for_ever())
    loop.run_for(1.0)
    assert finished(loop) == {task}
    assert ended == [11.0]
