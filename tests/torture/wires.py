"""A cable between two parties that can be cut: a TCP port that leads to another.

It knows bytes only. What goes wrong on it goes wrong for both ends, as on a network.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

Direction = Literal["there", "back"]


def a_free_port() -> int:
    """A port below those that outgoing connections get, so that nobody takes it while its server is away.

    The seed has no part in it: two runs with the same seed can go on at a time.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Wire:
    """Leads from ``port`` to *leads_to*, from which nobody may have to answer yet."""

    def __init__(self, name: str, port: int, leads_to: Callable[[], int]) -> None:
        self.name = name
        self.port = port
        self._leads_to = leads_to
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._cuts: list[tuple[Direction, int]] = []
        self.cuts_made = 0

    async def open(self) -> None:
        """Take connections; nothing when it does already."""
        if self._server is None:
            self._server = await asyncio.start_server(self._lead, "127.0.0.1", self.port, backlog=512)

    async def close(self) -> None:
        """Refuse connections, and cut those that are there."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut_all()
        self._cuts.clear()
        await asyncio.sleep(0)

    def stall(self) -> None:
        """Let nothing through any more, and keep it."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def cut_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    def cut_after(self, direction: Direction, count: int) -> None:
        """Cut the next connection on which something goes in *direction*, after *count* bytes of it."""
        self._cuts.append((direction, count))

    def forget_cuts(self) -> None:
        self._cuts.clear()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        self._open.add(writer)
        try:
            await self._flows.wait()
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._leads_to())
            writers.append(there_writer)
            self._open.add(there_writer)
            async with asyncio.TaskGroup() as tasks:
                there = tasks.create_task(self._pass(reader, there_writer, "there"))
                await self._pass(there_reader, writer, "back")
                there.cancel()
        except* (OSError, _Cut):
            for each in writers:
                each.transport.abort()
        finally:
            for each in writers:
                self._open.discard(each)
                each.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        left: int | None = None
        while data := await reader.read(65536):
            await self._flows.wait()
            if left is None:
                for cut in self._cuts:
                    if cut[0] == direction:
                        self._cuts.remove(cut)
                        left = cut[1]
                        break
            if left is not None and len(data) > left:
                writer.write(data[:left])
                with suppress(OSError):
                    await writer.drain()
                # What was written goes out before the connection is reset.
                await asyncio.sleep(0.01)
                self.cuts_made += 1
                raise _Cut
            left = None if left is None else left - len(data)
            writer.write(data)
            await writer.drain()
        await self._flows.wait()
        if writer.can_write_eof():
            writer.write_eof()


class _Cut(Exception):
    """This connection is to be cut now."""
