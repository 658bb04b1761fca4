"""A central system that speaks OCPP-J: a WebSocket of each charge point, both ways."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.torture.central_system import CentralSystem
from tests.torture.ledger import Asked, Ledger


class JsonCentralSystem(CentralSystem):
    def __init__(self, ledger: Ledger, randomly: random.Random, *, awkward_ids: bool = False) -> None:
        super().__init__(ledger, randomly, awkward_ids=awkward_ids)
        self._connections: dict[str, list[_Connection]] = defaultdict(list)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with serve(
            self._take,
            "127.0.0.1",
            0,
            subprotocols=[Subprotocol("ocpp1.6")],
            compression=None,
            ping_interval=None,
            close_timeout=0.2,
        ) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield

    async def _take(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        identity = socket.request.path.rpartition("/")[2]
        connection = _Connection(socket)
        self._connections[identity].append(connection)
        try:
            async for text in socket:
                frame = json.loads(text)
                if frame[0] != 2:
                    connection.end(frame)
                    continue
                _, message_id, action, payload = frame
                reply = await self._answer(identity, message_id, action, payload)
                if reply is not None:
                    await socket.send(json.dumps([3, message_id, reply]))
        except ConnectionClosed:
            pass
        finally:
            self._connections[identity].remove(connection)
            connection.end_all()

    def _within_reach(self) -> Collection[str]:
        return [identity for identity, connections in self._connections.items() if connections]

    async def _ask(self, asked: Asked) -> None:
        connection = self._connections[asked.identity][-1]
        message_id = f"ask-{asked.moment}"
        answer: asyncio.Future[list[Any] | None] = asyncio.get_running_loop().create_future()
        connection.waiting[message_id] = answer
        try:
            await connection.socket.send(json.dumps([2, message_id, asked.action, asked.payload]))
            frame = await answer
        except ConnectionClosed:
            asked.outcome = "gone"
        else:
            asked.outcome = "gone" if frame is None else "result" if frame[0] == 3 else "error"
            if frame is not None and frame[0] == 3:
                asked.reply = frame[2]
        finally:
            connection.waiting.pop(message_id, None)


class _Connection:
    """A WebSocket of a charge point, and the calls on it that are not answered yet."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.waiting: dict[str, asyncio.Future[list[Any] | None]] = {}

    def end(self, frame: list[Any]) -> None:
        answer = self.waiting.get(frame[1])
        if answer is not None and not answer.done():
            answer.set_result(frame)

    def end_all(self) -> None:
        for answer in self.waiting.values():
            with suppress(asyncio.InvalidStateError):
                answer.set_result(None)
