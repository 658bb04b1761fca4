"""A gateway of a few lines that keeps what it promises, or with ``--lies`` only says so.

The crash test is tried on it: it must find nothing here, and losses with ``--lies``. It knows OCPP-J only,
answers by itself what is not kept, and writes to disk before every acknowledgement.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sqlite3
import sys
import uuid
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from tests.torture.invariants import PROVISIONAL
from tests.torture.ledger import COUNTED_ACTIONS, TRANSACTION_ACTIONS, Payload

TABLES = """
create table if not exists message (
    position integer primary key, identity text, action text, payload text, message_id text,
    reply text, sent int
);
create table if not exists known (identity text, told int, given int, start int);
"""
HOLD, ASK = 3.0, 1.0  # seconds that a StartTransaction waits, and until it gets a provisional id
OCPPJ = [Subprotocol("ocpp1.6")]


class LittleGateway:
    def __init__(self, database: str, central_system: str) -> None:
        self._rows = sqlite3.connect(database, isolation_level=None)
        self._rows.execute("pragma journal_mode=wal")
        self._rows.execute("pragma synchronous=full")
        self._rows.executescript(TABLES)
        self._central_system = central_system
        self._charge_points: dict[str, ServerConnection] = {}
        self._waiting: dict[str, asyncio.Future[list[Any]]] = {}
        self._news: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._links: set[str] = set()
        self._tasks: asyncio.TaskGroup

    async def run(self, port: int, metrics: int) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sys.exit)
            await asyncio.start_server(_answer_ok, "127.0.0.1", metrics)
            async with serve(
                self._take, "127.0.0.1", port, subprotocols=OCPPJ, compression=None, ping_interval=None
            ):
                for (identity,) in self._rows.execute("select distinct identity from message").fetchall():
                    self._link(identity)
                sys.stderr.write('{"event":"ready"}\n')
                await asyncio.Event().wait()

    # --- charge points -------------------------------------------------------------------------------------

    async def _take(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        identity = socket.request.path.rpartition("/")[2]
        self._charge_points[identity] = socket
        self._link(identity)
        with suppress(ConnectionClosed):
            async for text in socket:
                frame = json.loads(text)
                if frame[0] != 2:
                    self._end(f"{identity} {frame[1]}", frame)
                    continue
                reply = await self._reply(identity, frame[2], frame[3])
                if reply is None:
                    await socket.close()
                    return
                await socket.send(json.dumps([3, frame[1], reply]))

    async def _reply(self, identity: str, action: str, payload: Payload) -> Payload | None:
        """None when the charge point has to keep the message."""
        if action not in (*TRANSACTION_ACTIONS, *COUNTED_ACTIONS, "StatusNotification"):
            now = "2024-05-01T10:00:00Z"
            return {"currentTime": now, "interval": 5, "status": "Accepted"} if action != "Authorize" else {}
        position = self._keep(identity, action, payload)
        if action != "StartTransaction":
            return {}
        deadline = asyncio.get_running_loop().time() + (HOLD if identity.startswith("HOLD") else ASK)
        while (reply := self._one("select reply from message where position = ?", position)[0]) is None:
            if asyncio.get_running_loop().time() > deadline:
                return None if identity.startswith("HOLD") else self._provisional(identity, position)
            await asyncio.sleep(0.02)
        known: Payload = json.loads(reply)
        return known

    def _keep(self, identity: str, action: str, payload: Payload) -> int:
        """The position of the message, which is on disk; that of the first, when it is a repeated one."""
        text = json.dumps(payload, sort_keys=True)
        if action in TRANSACTION_ACTIONS:
            found = self._one(
                "select max(position) from message where identity = ? and action = ? and payload = ?",
                *(identity, action, text),
            )
            if found[0] is not None:
                return int(found[0])
        row = (identity, action, text, str(uuid.uuid4()))
        position = self._rows.execute(
            "insert into message (identity, action, payload, message_id, sent) values (?, ?, ?, ?, 0)", row
        ).lastrowid
        assert position is not None
        self._news[identity].set()
        return position

    def _provisional(self, identity: str, position: int) -> Payload:
        told = PROVISIONAL.start + position
        reply = {"transactionId": told, "idTagInfo": {"status": "Accepted"}}
        self._rows.execute("begin")
        self._rows.execute("update message set reply = ? where position = ?", (json.dumps(reply), position))
        self._rows.execute("insert into known values (?, ?, null, ?)", (identity, told, position))
        self._rows.execute("commit")
        return reply

    # --- the central system ---------------------------------------------------------------------------------

    def _link(self, identity: str) -> None:
        if identity not in self._links:
            self._links.add(identity)
            self._tasks.create_task(self._lead(identity))

    async def _lead(self, identity: str) -> None:
        while True:
            with suppress(OSError, TimeoutError, WebSocketException):
                async with connect(
                    f"{self._central_system}/{identity}",
                    subprotocols=OCPPJ,
                    compression=None,
                    ping_interval=None,
                    open_timeout=2,
                    close_timeout=0.2,
                    proxy=None,
                ) as socket:
                    reading = self._tasks.create_task(self._read(identity, socket))
                    try:
                        await self._deliver(identity, socket)
                    finally:
                        reading.cancel()
            await asyncio.sleep(0.1)

    async def _deliver(self, identity: str, socket: ClientConnection) -> None:
        """Send what is kept, in order, each until it is answered."""
        while True:
            found = self._rows.execute(
                "select position, action, payload, message_id from message where identity = ? and sent = 0"
                " order by position limit 1",
                (identity,),
            ).fetchone()
            if found is None:
                self._news[identity].clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await self._news[identity].wait()
                await socket.ping()
                continue
            position, action, text, message_id = found
            payload = json.loads(text)
            told = payload.get("transactionId", 0)
            if told in PROVISIONAL:
                payload["transactionId"] = self._one(
                    "select given from known where identity = ? and told = ?", identity, told
                )[0]
            frame = await self._ask(socket, message_id, action, payload, message_id)
            self._rows.execute("begin")
            self._rows.execute("update message set sent = 1 where position = ?", (position,))
            if action == "StartTransaction":
                given = frame[2]["transactionId"]
                changed = self._rows.execute("update known set given = ? where start = ?", (given, position))
                if not changed.rowcount:
                    reply = json.dumps(frame[2])
                    self._rows.execute("update message set reply = ? where position = ?", (reply, position))
            self._rows.execute("commit")

    async def _read(self, identity: str, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for text in socket:
                frame = json.loads(text)
                if frame[0] == 2:
                    self._tasks.create_task(self._call(identity, socket, frame))
                else:
                    self._end(frame[1], frame)

    async def _call(self, identity: str, socket: ClientConnection, frame: list[Any]) -> None:
        """A call of the central system."""
        _, message_id, action, payload = frame
        if "transactionId" in payload:
            known = self._rows.execute(
                "select told from known where identity = ? and given = ?",
                (identity, payload["transactionId"]),
            ).fetchone()
            payload = {"transactionId": known[0]} if known else payload
        answer: list[Any] = [4, message_id, "GenericError", "no answer", {}]
        with suppress(KeyError, TimeoutError, ConnectionClosed):
            charge_point = self._charge_points[identity]
            name = f"{identity} {message_id}"
            answer = [3, message_id, (await self._ask(charge_point, message_id, action, payload, name))[2]]
        with suppress(ConnectionClosed):
            await socket.send(json.dumps(answer))

    async def _ask(
        self,
        socket: ClientConnection | ServerConnection,
        message_id: str,
        action: str,
        payload: Payload,
        name: str,
    ) -> list[Any]:
        """Raises TimeoutError and ConnectionClosed."""
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting[name] = answer
        try:
            async with asyncio.timeout(2.0):
                await socket.send(json.dumps([2, message_id, action, payload]))
                return await answer
        finally:
            del self._waiting[name]

    def _end(self, name: str, frame: list[Any]) -> None:
        answer = self._waiting.get(name)
        if answer is not None and not answer.done():
            answer.set_result(frame)

    def _one(self, query: str, *values: object) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._rows.execute(query, values).fetchone()
        return row


async def _answer_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
    writer.close()


def main() -> None:
    """Takes what it needs from a configuration of Wattbridge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", dest="file", type=Path, required=True)
    parser.add_argument("--lies", action="store_true")
    given = parser.parse_args()
    read = yaml.safe_load(given.file.read_text())
    path = given.file.parent / read["store"]["url"].removeprefix("sqlite:///")
    database = ":memory:" if given.lies else str(path)
    port = int(read["listeners"]["field"]["bind"].rpartition(":")[2])
    metrics = int(read["metrics"]["bind"].rpartition(":")[2])
    asyncio.run(LittleGateway(database, read["upstreams"]["main"]["url"]).run(port, metrics))


if __name__ == "__main__":
    main()
