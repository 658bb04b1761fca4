"""A central system (OCPP-J) that writes down every CALL, and can be told to be of little help.

It does what OCPP asks for: it never refuses, and answers a message id that comes again as it did before.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Literal

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.torture.ledger import COUNTED_ACTIONS, TRANSACTION_ACTIONS, Arrival, Asked, Ledger, Payload

Mode = Literal["well", "slow", "deaf", "mute"]
NOTED = {*TRANSACTION_ACTIONS, *COUNTED_ACTIONS, "StatusNotification"}
PATIENCE = 90.0  # seconds for the answer to a call of its own


class CentralSystem:
    """``mode`` is ``well``, ``slow`` (answers late), ``deaf`` (drops what it reads) or ``mute`` (does what it
    is told, and never answers)."""

    def __init__(self, ledger: Ledger, randomly: random.Random, *, awkward_ids: bool = False) -> None:
        self.port = 0
        self.mode: Mode = "well"
        self.asks = True  # whether it calls charge points by itself
        self.frames = 0
        self._ledger = ledger
        self._randomly = randomly
        self._awkward_ids = awkward_ids
        self._arrivals: dict[tuple[str, str], Arrival] = {}
        self._replies: dict[tuple[str, str], Payload] = {}
        self._connections: dict[str, list[_Connection]] = defaultdict(list)
        self._minted: dict[str, int] = defaultdict(int)
        self._open: dict[tuple[str, int], Arrival] = {}
        self._calls = 0

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

    # --- what charge points say ----------------------------------------------------------------------------

    async def _take(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        identity = socket.request.path.rpartition("/")[2]
        connection = _Connection(socket)
        self._connections[identity].append(connection)
        try:
            async for text in socket:
                frame = json.loads(text)
                self.frames += 1
                if frame[0] == 2:
                    await self._answer(identity, socket, frame)
                else:
                    connection.end(frame)
        except ConnectionClosed:
            pass
        finally:
            self._connections[identity].remove(connection)
            connection.end_all()

    async def _answer(self, identity: str, socket: ServerConnection, frame: list[Any]) -> None:
        if self.mode == "deaf":
            return
        _, message_id, action, payload = frame
        reply = self._note(identity, message_id, action, payload)
        if self.mode == "mute":
            return
        if self.mode == "slow":
            await asyncio.sleep(self._randomly.uniform(0.05, 1.5))
        await socket.send(json.dumps([3, message_id, reply]))

    def _note(self, identity: str, message_id: str, action: str, payload: Payload) -> Payload:
        """Write the CALL down; the reply to it."""
        known = self._arrivals.get((identity, message_id))
        if known is not None and (known.action, known.payload) == (action, payload):
            known.again += 1
            return self._replies[identity, message_id]
        if known is not None:
            self._ledger.reused.append((known, payload))
        reply = self._reply(identity, action)
        if action in NOTED:
            given = reply.get("transactionId")
            arrival = Arrival(self._ledger.moment(), identity, message_id, action, payload, given)
            self._ledger.arrivals.append(arrival)
            self._arrivals[identity, message_id] = arrival
            self._replies[identity, message_id] = reply
            if given is not None:
                self._open[identity, given] = arrival
            if action == "StopTransaction":
                self._open.pop((identity, payload.get("transactionId", 0)), None)
        return reply

    def _reply(self, identity: str, action: str) -> Payload:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        match action:
            case "BootNotification":
                return {"status": "Accepted", "currentTime": now, "interval": 5}
            case "Heartbeat":
                return {"currentTime": now}
            case "Authorize":
                return {"idTagInfo": {"status": "Accepted"}}
            case "StartTransaction":
                return {"transactionId": self._mint(identity), "idTagInfo": {"status": "Accepted"}}
            case "StopTransaction":
                return {"idTagInfo": {"status": "Accepted"}}
        return {}

    def _mint(self, identity: str) -> int:
        """An id that is new for this charge point; others have the same. Some are large."""
        self._minted[identity] += 1
        number = self._minted[identity]
        if number % 5 == 0:
            return (2_000_000_000 if self._awkward_ids else 1_999_900_000) + number
        return number

    # --- what it asks --------------------------------------------------------------------------------------

    async def ask_now_and_then(self) -> None:
        """Stop transactions and ask for configuration, at random, for ever; one call at a time and charge
        point."""
        busy: set[str] = set()

        async def ask(identity: str, action: str, payload: Payload, arrival: Arrival | None = None) -> None:
            try:
                await self._call(identity, action, payload, arrival)
            finally:
                busy.discard(identity)

        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(self._randomly.uniform(0.02, 0.25))
                there = [name for name, all_ in self._connections.items() if all_ and name not in busy]
                if not there or not self.asks:
                    continue
                open_ = [arrival for (name, _), arrival in self._open.items() if name in there]
                if open_ and self._randomly.random() < 0.6:
                    arrival = self._randomly.choice(open_)
                    payload: Payload = {"transactionId": arrival.given}
                    busy.add(arrival.identity)
                    tasks.create_task(ask(arrival.identity, "RemoteStopTransaction", payload, arrival))
                else:
                    identity = self._randomly.choice(there)
                    self._calls += 1
                    busy.add(identity)
                    tasks.create_task(ask(identity, "GetConfiguration", {"key": [f"Key{self._calls}"]}))

    async def ask_for_configuration(self, identity: str) -> str:
        """The outcome, "" when it is not connected."""
        self._calls += 1
        asked = await self._call(identity, "GetConfiguration", {"key": [f"Key{self._calls}"]}, None)
        return asked.outcome if asked is not None else ""

    async def _call(
        self, identity: str, action: str, payload: Payload, arrival: Arrival | None
    ) -> Asked | None:
        """None when it has just gone."""
        if not self._connections[identity]:
            return None
        connection = self._connections[identity][-1]
        asked = Asked(self._ledger.moment(), identity, action, payload, arrival)
        self._ledger.asked.append(asked)
        message_id = f"ask-{asked.moment}"
        answer: asyncio.Future[list[Any] | None] = asyncio.get_running_loop().create_future()
        connection.waiting[message_id] = answer
        try:
            async with asyncio.timeout(PATIENCE):
                await connection.socket.send(json.dumps([2, message_id, action, payload]))
                frame = await answer
        except ConnectionClosed:
            asked.outcome = "gone"
        except TimeoutError:
            asked.outcome = "unanswered"
        else:
            asked.outcome = "gone" if frame is None else "result" if frame[0] == 3 else "error"
            if frame is not None and frame[0] == 3:
                asked.reply = frame[2]
        finally:
            connection.waiting.pop(message_id, None)
        return asked


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
