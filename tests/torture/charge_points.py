"""Charge points that behave as good ones do, and write down what they were told.

Transaction messages wait in one queue and are sent until they are answered, each time with another message
id; what is answered is sometimes sent again all the same, as by devices that restart. Nothing else is. Charge
points of OCPP 1.5 and 1.2 never send again what was refused (OCPP 1.5, 8.2): it is lost, and written down.
How a message travels is a matter of ``Soap`` and ``Json``.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from tests.torture import envelopes, posts
from tests.torture.ledger import Answer, Heard, Ledger, Payload, Sent, Transaction
from tests.torture.older import NAMESPACES, as_made, as_written, is_older, speaks
from tests.torture.posts import NoAnswer, Outcome, Refused

PATIENCE = 8.0  # seconds that a charge point waits for an answer

Hear = Callable[[str, Payload], Payload | None]


class Transport(Protocol):
    async def run(self, hear: Hear) -> None:
        """Be reachable, for ever; calls of the central system go to *hear*."""
        ...

    async def call(self, action: str, payload: Payload) -> Outcome: ...


class ChargePoint:
    """One charge point with two connectors. While it is ``finishing`` it begins no transactions."""

    def __init__(self, identity: str, ledger: Ledger, randomly: random.Random, transport: Transport) -> None:
        self.identity = identity
        self.transport = transport
        self.finishing = asyncio.Event()
        self.may_begin = asyncio.Event()
        self.may_begin.set()
        self.may_speak = asyncio.Event()  # without it, it says nothing by itself
        self.may_speak.set()
        self.answered = 0  # messages of all kinds
        self.last_answer = ledger.seconds
        self.heartbeats = 0
        self.charging = 0  # connectors
        self.queue: deque[Sent] = deque()
        self.repeats = 0
        self._ledger = ledger
        self._randomly = randomly
        self._meter = 1000
        self._statuses = 0
        self._in_queue = asyncio.Event()
        self._one_status = asyncio.Lock()
        self._stops: dict[Transaction, asyncio.Event] = {}
        self._done: deque[Sent] = deque(maxlen=8)

    def finish(self) -> None:
        self.may_begin.clear()
        self.finishing.set()

    def go_on(self) -> None:
        self.finishing.clear()
        self.may_begin.set()

    @property
    def at_rest(self) -> bool:
        return not self.queue and not self.charging

    async def run(self) -> None:
        """Be a charge point, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.transport.run(self._hear))
            await self._boot()
            tasks.create_task(self._send_queue())
            tasks.create_task(self._beat())
            tasks.create_task(self._notify())
            for connector_id in (1, 2):
                tasks.create_task(self._connector(connector_id))

    # --- its life ------------------------------------------------------------------------------------------

    async def _boot(self) -> None:
        payload = {"chargePointVendor": "Torture", "chargePointModel": "T1", "firmwareVersion": "1.0"}
        while True:
            outcome = await self._call("BootNotification", payload)
            if isinstance(outcome, dict) and outcome.get("status") == "Accepted":
                return
            await self._wait(0.2, 0.6)

    async def _beat(self) -> None:
        while True:
            await self._wait(0.5, 2.0)
            await self._call("Heartbeat", {})
            if self._randomly.random() < 0.02:
                await self._boot()

    async def _notify(self) -> None:
        """Firmware and diagnostics, which have no content to tell one from the next."""
        first = ("Downloaded", "UploadFailed") if is_older(self.identity) else ("Downloading", "Uploading")
        while True:
            for action, status in (
                ("FirmwareStatusNotification", first[0]),
                ("DiagnosticsStatusNotification", first[1]),
                ("FirmwareStatusNotification", "Installed"),
                ("DiagnosticsStatusNotification", "Uploaded"),
            ):
                await self._wait(1.0, 4.0)
                await self.may_begin.wait()
                await self._send_once(self._new(action, {"status": status}))

    async def _connector(self, connector_id: int) -> None:
        while True:
            await self._wait(0.05, 1.0)
            if speaks(self.identity) == "S12":
                # Its MeterValues tell by their time alone which transaction they are of, and the time in
                # whole seconds: no two transactions of a connector share one.
                await asyncio.sleep(1.01 - time.time() % 1.0)
            await self.may_begin.wait()
            self.charging += 1
            try:
                await self._charge(connector_id)
            finally:
                self.charging -= 1

    async def _charge(self, connector_id: int) -> None:
        id_tag = f"TAG{self._randomly.randrange(5)}"
        await self._call("Authorize", {"idTag": id_tag})
        transaction = Transaction(self.identity, connector_id, self._read_meter())
        stop = self._stops[transaction] = asyncio.Event()
        self._ledger.transactions.append(transaction)
        self._enqueue(
            "StartTransaction",
            {
                "connectorId": connector_id,
                "idTag": id_tag,
                "timestamp": _now(),
                "meterStart": transaction.meter_start,
            },
            transaction,
        )
        await self._status(connector_id, "Charging")
        for _ in range(self._randomly.randrange(1, 6)):
            if not stop.is_set():
                await self._wait(0.05, 0.6)
            sample = {"value": str(self._read_meter()), "unit": "Wh"}
            reading = {"timestamp": _now(), "sampledValue": [sample]}
            self._enqueue("MeterValues", {"connectorId": connector_id, "meterValue": [reading]}, transaction)
        if self._randomly.random() < 0.3 and not self.finishing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(3.0):
                    await stop.wait()
        # From here on a RemoteStopTransaction comes too late, and is rejected.
        transaction.stopped = True
        self._enqueue(
            "StopTransaction",
            {
                "idTag": id_tag,
                "timestamp": _now(),
                "meterStop": self._read_meter(),
                "reason": "Remote" if transaction.remote_stop else "Local",
            },
            transaction,
        )
        del self._stops[transaction]
        await self._status(connector_id, "Available")

    def _read_meter(self) -> int:
        self._meter += self._randomly.randrange(1, 5)
        return self._meter

    async def _status(self, connector_id: int, status: str) -> None:
        async with self._one_status:
            self._statuses += 1
            payload = {"connectorId": connector_id, "status": status, "errorCode": "NoError",
                       "info": f"status {self._statuses}", "timestamp": _now()}  # fmt: skip
            await self._send_once(self._new("StatusNotification", payload))

    # --- what it sends -------------------------------------------------------------------------------------

    def _new(self, action: str, payload: Payload, transaction: Transaction | None = None) -> Sent:
        made = as_made(self.identity, action, payload)
        return Sent(self._ledger.moment(), self.identity, action, made, transaction)

    def _enqueue(self, action: str, payload: Payload, transaction: Transaction) -> None:
        sent = self._new(action, payload, transaction)
        self._ledger.sent.append(sent)
        self.queue.append(sent)
        self._in_queue.set()

    async def _send_queue(self) -> None:
        while True:
            while self.queue:
                head = self.queue[0]
                if not await self._send(head):
                    await self._wait(0.1, 0.5)
                    continue
                self.queue.popleft()
                if head.answers:
                    self._done.append(head)
                    if self._randomly.random() < 0.05:
                        self.repeats += 1
                        await self._send(self._randomly.choice(self._done))
            self._in_queue.clear()
            await self._in_queue.wait()

    async def _send_once(self, sent: Sent) -> None:
        self._ledger.sent.append(sent)
        await self._send(sent)

    async def _send(self, sent: Sent) -> bool:
        """Send it, and write down what comes back. Returns whether there is no more to be done about it."""
        if sent.transaction is not None and sent.transaction.unknown:
            sent.dropped = True
            return True
        payload = dict(sent.payload)
        if sent.transaction is not None and sent.action != "StartTransaction":
            payload = _with_transaction(sent.action, payload, sent.transaction.told[0])
        sent.tries += 1
        outcome = await self._call(sent.action, payload)
        if isinstance(outcome, dict):
            sent.answers.append(Answer(self._ledger.moment(), outcome))
            if sent.action == "StartTransaction" and sent.transaction is not None:
                told = int(outcome["transactionId"])
                if told not in sent.transaction.told:
                    sent.transaction.told.append(told)
            return True
        if isinstance(outcome, Refused):
            sent.refusals.append(outcome.text)
            if is_older(self.identity) and sent.transaction is not None and not sent.answers:
                sent.dropped = True
                sent.transaction.unknown |= sent.action == "StartTransaction"
            return sent.dropped
        sent.failures.append(f"{self._ledger.seconds:.1f} s: {outcome.text}")
        return False

    async def _call(self, action: str, payload: Payload) -> Outcome:
        await self.may_speak.wait()
        outcome = await self.transport.call(action, payload)
        if isinstance(outcome, dict):
            self.answered += 1
            self.heartbeats += action == "Heartbeat"
            self.last_answer = self._ledger.seconds
        return outcome

    async def _wait(self, least: float, most: float) -> None:
        """Some time; none of it when everybody waits for the end."""
        seconds = self._randomly.uniform(least, most)
        if self.finishing.is_set():
            await asyncio.sleep(min(seconds, 0.2))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.finishing.wait()

    # --- what it hears -------------------------------------------------------------------------------------

    def _hear(self, action: str, payload: Payload) -> Payload | None:
        """The answer to a call; None when it does not know it."""
        self._ledger.heard.append(Heard(self._ledger.moment(), self.identity, action, payload))
        if action == "GetConfiguration":
            return {"unknownKey": list(payload["key"])}
        if action == "ChangeConfiguration":
            return {"status": "NotSupported"}
        if action != "RemoteStopTransaction":
            return None
        for transaction, stop in self._stops.items():
            if payload["transactionId"] in transaction.told and not transaction.stopped:
                transaction.remote_stop = True
                stop.set()
                return {"status": "Accepted"}
        return {"status": "Rejected"}


def _with_transaction(action: str, payload: Payload, told: int) -> Payload:
    """With transactionId where it stands in an envelope of OCPP-S."""
    if action == "MeterValues":
        return {
            "connectorId": payload["connectorId"],
            "transactionId": told,
            "meterValue": payload["meterValue"],
        }
    return {"transactionId": told, **payload}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- OCPP-J -----------------------------------------------------------------------------------------------


class Json:
    """A WebSocket that is opened again whenever it ends."""

    def __init__(self, url: str, randomly: random.Random) -> None:
        self._url = url
        self._randomly = randomly
        self._socket: ClientConnection | None = None
        self._connected = asyncio.Event()
        self._one_call = asyncio.Lock()  # OCPP-J 1.6, 4.1.1
        self._waiting: tuple[str, asyncio.Future[list[Any] | None]] | None = None

    async def run(self, hear: Hear) -> None:
        while True:
            with suppress(OSError, TimeoutError, WebSocketException):
                async with connect(
                    self._url,
                    subprotocols=[Subprotocol("ocpp1.6")],
                    compression=None,
                    ping_interval=None,
                    open_timeout=5,
                    close_timeout=0.5,
                    proxy=None,
                ) as socket:
                    self._socket = socket
                    self._connected.set()
                    try:
                        await self._read(socket, hear)
                    finally:
                        self._socket = None
                        self._connected.clear()
                        self._end(None)
            await asyncio.sleep(self._randomly.uniform(0.05, 0.4))

    async def _read(self, socket: ClientConnection, hear: Hear) -> None:
        async for text in socket:
            frame = json.loads(text)
            if frame[0] == 2:
                reply = hear(frame[2], frame[3])
                answer = (
                    [3, frame[1], reply] if reply is not None else [4, frame[1], "NotImplemented", "", {}]
                )
                await socket.send(json.dumps(answer))
            elif self._waiting is not None and self._waiting[0] == frame[1]:
                self._end(frame)

    def _end(self, frame: list[Any] | None) -> None:
        if self._waiting is not None and not self._waiting[1].done():
            self._waiting[1].set_result(frame)

    async def call(self, action: str, payload: Payload) -> Outcome:
        async with self._one_call:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._connected.wait()
            except TimeoutError:
                return NoAnswer("not connected")
            socket = self._socket
            if socket is None:
                return NoAnswer("not connected")
            message_id = str(uuid.UUID(int=self._randomly.getrandbits(128)))
            answer: asyncio.Future[list[Any] | None] = asyncio.get_running_loop().create_future()
            self._waiting = (message_id, answer)
            try:
                async with asyncio.timeout(PATIENCE):
                    await socket.send(json.dumps([2, message_id, action, payload]))
                    frame = await answer
            except ConnectionClosed:
                return NoAnswer("the connection ended")
            except TimeoutError:
                if self._randomly.random() < 0.5:
                    socket.transport.abort()
                return NoAnswer(f"no answer in {PATIENCE} s")
            finally:
                self._waiting = None
        if frame is None:
            return NoAnswer("the connection ended")
        if frame[0] == 4:
            return Refused(f"CALLERROR {frame[2]}: {frame[3]}")
        reply: Payload = frame[2]
        return reply


# --- OCPP-S -----------------------------------------------------------------------------------------------


class Soap:
    """A connection for every message; the central system calls at *callback*."""

    def __init__(self, identity: str, port: int, callbacks: Callbacks, callback: str) -> None:
        self._identity = identity
        self._url = f"http://127.0.0.1:{port}/ocpp/cs"
        self._callbacks = callbacks
        self._callback = callback
        self._namespace = NAMESPACES[speaks(identity)][0]

    async def run(self, hear: Hear) -> None:
        self._callbacks.hear[self._identity] = hear
        await asyncio.Event().wait()

    async def call(self, action: str, payload: Payload) -> Outcome:
        written = as_written(self._identity, action, payload)
        body = envelopes.write_request(
            self._identity, action, written, self._callback, self._url, self._namespace
        )
        try:
            async with asyncio.timeout(PATIENCE):
                return await posts.post(self._url, body, self._namespace, blames=is_older(self._identity))
        except TimeoutError:
            return NoAnswer(f"no answer in {PATIENCE} s")


class Callbacks:
    """Where all SOAP charge points are called, each at a path of its own that ends in its identity."""

    def __init__(self) -> None:
        self.port = 0
        self.hear: dict[str, Hear] = {}

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with posts.listening(self._take) as self.port:
            yield

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which may bring several requests."""
        try:
            while True:
                path, body = await posts.read_request(reader)
                answer = self._answer(path.rpartition("/")[2], body)
                if answer is None:
                    return
                writer.write(posts.write_answer(answer))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, identity: str, body: bytes) -> bytes | None:
        """None to hang up, as charge points do at what they do not understand: another version of OCPP."""
        request = envelopes.read(body)
        namespace = NAMESPACES[speaks(identity)][1]
        if request.namespace != namespace:
            return None
        reply = self.hear[identity](request.action, request.content)
        return envelopes.write_response(request.action, reply or {}, request.message_id, namespace)
