"""A charge point that speaks OCPP 1.6J: `websockets` carries its frames, the `ocpp` package's schemas judge
what comes.

Its connection lives in the event loop that started it; of threads it has its mouth, which sleeps while there
is nothing to say. A thousand of them are a thousand sleeping threads and one loop.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import functools
import json
import os
import ssl
import traceback
import urllib.parse
import uuid
from collections.abc import Callable, Collection, Coroutine, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar, cast

import ocpp.exceptions
import ocpp.messages
import websockets
from websockets.asyncio.client import ClientConnection, connect

from wattbridge.simulators.charge_point import ChargePoint, Payload, local_time
from wattbridge.simulators.frames import SUBPROTOCOL, Rules, floats, quiet
from wattbridge.simulators.outcomes import CallRefused, Refusal, Refused, Unanswered

T = TypeVar("T")

# What it can be told to do otherwise than the specification has it; all of it was seen on the wire.
QUIRKS = {
    "no subprotocol": "offers none in its handshake",
    "blanks": "writes frames over several lines",
    "numbers": "writes sampled values as numbers",
    "nulls": "writes null instead of an empty payload",
    "celcius": "spells the unit as the first JSON schemas did",
    "short ids": "counts its CALLs from 1 in each connection",
}
# Error codes that the package spells as OCPP 2 does, and 1.6 (OCPP-J 1.6, table 7).
SPELT = {
    "FormatViolation": "FormationViolation",
    "OccurrenceConstraintViolation": "OccurenceConstraintViolation",
}


class JsonChargePoint(ChargePoint):
    """One simulated charge point.

    It connects to ``{central_system_url}/{identity}``. ``password`` is that of HTTP Basic authentication, as
    bytes or text; ``tls`` says whom a wss central system is trusted by. ``call_timeout`` is in seconds, for
    each call. When its connection is lost it connects again after ``reconnect`` seconds, and so on; with None
    it stays away. ``quirks`` are of ``QUIRKS``, and may be changed at any time.
    """

    def __init__(
        self,
        identity: str,
        central_system_url: str,
        *,
        password: str | bytes | None = None,
        tls: ssl.SSLContext | None = None,
        reconnect: float | None = None,
        quirks: Collection[str] = (),
        vendor: str = "ACME",
        model: str = "CC-1",
        firmware_version: str = "1.3",
        connectors: int = 2,
        call_timeout: float = 30.0,
        now: Callable[[], datetime] = local_time,
    ) -> None:
        super().__init__(
            identity,
            vendor=vendor,
            model=model,
            firmware_version=firmware_version,
            connectors=connectors,
            now=now,
        )
        self.url = f"{central_system_url.rstrip('/')}/{urllib.parse.quote(identity, safe='')}"
        self.password = password
        self.tls = tls
        self.reconnect = reconnect
        self.quirks = set(quirks)
        self.call_timeout = call_timeout
        self.connections = 0  # how often it connected
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life: concurrent.futures.Future[None] | None = None
        self._connection: _Connection | None = None
        self._over = asyncio.Event()  # nothing more is to be connected
        self._connected = asyncio.Event()

    async def start(self) -> None:
        """Connect; says nothing yet. Raises Unanswered when that fails."""
        self._loop = asyncio.get_running_loop()
        await super().start()

    def cut(self) -> None:
        """Break the connection without a closing handshake, as a lost network does."""
        if self._connection is not None:
            self._connection.socket.transport.abort()

    async def pipeline(self, calls: Sequence[tuple[str, Payload]]) -> list[Payload]:
        """Send several CALLs at once, which OCPP-J forbids (4.1.1), and give their answers in the same order.

        Raises Refusal or Unanswered for the first that has no usable answer.
        """
        connection = await self._reach("pipeline")
        async with asyncio.TaskGroup() as asking:
            tasks = [asking.create_task(_result(connection.ask(*call))) for call in calls]
        results = [task.result() for task in tasks]
        for result in results:
            if isinstance(result, Exception):
                raise result
        return [result for result in results if isinstance(result, dict)]

    # --- The transport, as the base wants it -----------------------------------------------------------

    def _connect(self) -> None:
        established: concurrent.futures.Future[None] = concurrent.futures.Future()
        assert self._loop is not None  # since start
        self._over.clear()
        self._life = asyncio.run_coroutine_threadsafe(self._live(established), self._loop)
        self._life.add_done_callback(functools.partial(_tell_failure, established))
        established.result()

    def _disconnect(self) -> None:
        if self._life is not None:
            life, self._life = self._life, None
            self._in_loop(self._hang_up())
            life.result()

    def _ask(self, action: str, payload: Payload) -> Payload:
        return self._in_loop(self._call_over_connection(action, payload))

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # --- In the loop -----------------------------------------------------------------------------------

    async def _call_over_connection(self, action: str, payload: Payload) -> Payload:
        given = {name: value for name, value in payload.items() if value is not None}
        return await (await self._reach(action)).ask(action, given)

    async def _reach(self, action: str) -> _Connection:
        """The connection; one that is being made again is waited for."""
        if self._connection is None and self.reconnect is not None and not self._over.is_set():
            try:
                async with asyncio.timeout(self.call_timeout):
                    await self._connected.wait()
            except TimeoutError:
                pass
        if self._connection is None:
            raise Unanswered(f"{action}: {self.identity} is not connected")
        return self._connection

    async def _live(self, established: concurrent.futures.Future[None]) -> None:
        """Hold a connection, and another one after it, until hung up."""
        while not self._over.is_set():
            try:
                socket = await self._dial()
            except (OSError, websockets.InvalidHandshake, TimeoutError) as failure:
                if not established.done():
                    established.set_exception(Unanswered(f"no connection: {_reason(failure)}"))
                    return
            else:
                await self._serve(socket, established)
            if self.reconnect is None:
                return
            try:
                async with asyncio.timeout(self.reconnect):
                    await self._over.wait()
            except TimeoutError:
                pass

    async def _dial(self) -> ClientConnection:
        headers = {}
        if self.password is not None:
            password = self.password.encode() if isinstance(self.password, str) else self.password
            credential = base64.b64encode(self.identity.encode() + b":" + password).decode()
            headers["Authorization"] = f"Basic {credential}"
        trust: dict[str, Any] = {} if self.tls is None else {"ssl": self.tls}
        silent = "no subprotocol" in self.quirks
        socket = await connect(
            self.url,
            subprotocols=None if silent else [websockets.Subprotocol(SUBPROTOCOL)],
            additional_headers=headers,
            proxy=None,  # none of the environment's between two simulators
            compression=None,
            open_timeout=self.call_timeout,
            close_timeout=1.0,
            logger=quiet,
            **trust,
        )
        if not silent and socket.subprotocol != SUBPROTOCOL:
            self._note(f"the handshake chose no subprotocol; {SUBPROTOCOL!r} was offered (OCPP-J 1.6, 3.1.2)")
        return socket

    async def _serve(self, socket: ClientConnection, established: concurrent.futures.Future[None]) -> None:
        connection = self._connection = _Connection(self, socket)
        self.connections += 1
        self._connected.set()
        if established.done():
            self._afterwards(self._connected_again)
        else:
            established.set_result(None)
        try:
            await connection.listen()
        except Exception as error:  # a fault of the simulator itself: loud
            self.problems.append("".join(traceback.format_exception(error)))
        finally:
            self._connected.clear()
            self._connection = None
            connection.end()
            await socket.close()

    async def _hang_up(self) -> None:
        self._over.set()
        if self._connection is not None:
            await self._connection.socket.close()

    def _note(self, problem: str) -> None:
        self.problems.append(f"{self.identity}: {problem}")


def _tell_failure(
    established: concurrent.futures.Future[None], life: concurrent.futures.Future[None]
) -> None:
    """Whoever waits for a connection must not wait for ever when something unforeseen ended its making."""
    if not established.done():
        established.set_exception(life.exception() or Unanswered("no connection: it was stopped"))


def _reason(failure: Exception) -> str:
    if isinstance(failure, websockets.InvalidStatus):
        return f"HTTP {failure.response.status_code}"
    if isinstance(failure, ssl.SSLCertVerificationError):
        return failure.verify_message
    if isinstance(failure, OSError) and not isinstance(failure, ssl.SSLError) and failure.errno is not None:
        return os.strerror(failure.errno)
    return f"{type(failure).__name__}: {failure}"


async def _result(work: Coroutine[Any, Any, Payload]) -> Payload | Exception:
    """The outcome as a value, so that one failure does not cut other calls short."""
    try:
        return await work
    except (Refusal, Unanswered) as failure:
        return failure


class _Ended(Exception):
    """The connection ended: answers that are still being prepared need not be given."""


class _Connection:
    """One connection to the central system, as long as it lasts."""

    def __init__(self, charge_point: JsonChargePoint, socket: ClientConnection) -> None:
        self.charge_point = charge_point
        self.socket = socket
        self._note = charge_point._note
        self._rules = Rules(self._note, is_answered=lambda action: True)
        self._waiting: dict[str, asyncio.Future[list[Any]]] = {}  # message id → who waits for its reply
        self._count = 0

    async def listen(self) -> None:
        """Take frames until the connection ends; answering happens beside it."""
        try:
            async with asyncio.TaskGroup() as answers:
                async for message in self.socket:
                    kind = self._rules.judge(message)
                    if kind == 2:
                        answers.create_task(self._answer(message))
                    elif kind is not None:
                        frame = json.loads(message, parse_float=Decimal)
                        self._rules.answers[frame[1]] = frame
                        waiting = self._waiting.get(frame[1])
                        if waiting is not None and not waiting.done():
                            waiting.set_result(frame)
                raise _Ended
        except* (_Ended, websockets.ConnectionClosed):
            pass

    def end(self) -> None:
        """The connection is gone: whoever waits for an answer learns it now, not after the timeout."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unanswered("the connection was closed"))

    # --- Asking

    async def ask(self, action: str, payload: Payload) -> Payload:
        message_id = self._new_message_id()
        call = [2, message_id, action, _with_quirks(floats(payload), self.charge_point.quirks)]
        waiting = self._waiting[message_id] = asyncio.get_running_loop().create_future()
        self._rules.asked[message_id] = action
        timeout = self.charge_point.call_timeout
        try:
            await self._send(call)
            async with asyncio.timeout(timeout):
                frame = await waiting
        except TimeoutError:
            raise Unanswered(f"{action}: no answer within {timeout:g} s") from None
        except websockets.ConnectionClosed:
            raise Unanswered(f"{action}: the connection is closed") from None
        except Unanswered as gone:
            raise Unanswered(f"{action}: {gone}") from None
        finally:
            del self._waiting[message_id]
        del self._rules.asked[message_id], self._rules.answers[message_id]
        if frame[0] == 4:
            raise CallRefused(*frame[2:])
        answer = cast(Payload, frame[2])
        try:
            await ocpp.messages.validate_payload(
                ocpp.messages.CallResult(message_id, floats(answer), action), "1.6"
            )
        except ocpp.exceptions.OCPPError as error:
            self._note(f"{action}: answer: {_told(error)}")
            raise Unanswered(f"{action}: the answer breaks the schema") from None
        return answer

    def _new_message_id(self) -> str:
        self._count += 1
        return str(self._count) if "short ids" in self.charge_point.quirks else str(uuid.uuid4())

    # --- Answering

    async def _answer(self, message: str | bytes) -> None:
        _, message_id, action, payload = json.loads(message, parse_float=Decimal)
        try:
            reply = [3, message_id, floats(await self._result_of(action, payload, message_id))]
        except CallRefused as refusal:
            reply = [4, message_id, refusal.code, refusal.description, refusal.details]
        except Refused as refusal:  # what a test of both transports tells it to answer
            reply = [4, message_id, refusal.subcode or "GenericError", refusal.reason, {}]
        except Exception as error:  # a fault of the simulator itself: loud
            self.charge_point.problems.append("".join(traceback.format_exception(error)))
            reply = [4, message_id, "InternalError", "the simulated charge point failed", {}]
        self._rules.replied()
        await self._send(reply)

    async def _result_of(self, action: str, payload: Payload, message_id: str) -> Payload:
        if action not in self.charge_point._answers:
            raise CallRefused("NotImplemented", f"{action} is no request to a charge point of OCPP 1.6", {})
        try:
            await ocpp.messages.validate_payload(
                ocpp.messages.Call(message_id, action, floats(payload)), "1.6"
            )
        except ocpp.exceptions.OCPPError as error:
            self._note(f"{action}: {_told(error)}")
            raise CallRefused(_code(error), _told(error)[:255], {}) from None
        return self.charge_point._answer_call(action, payload)

    async def _send(self, frame: list[Any]) -> None:
        if "blanks" in self.charge_point.quirks:
            text = f"\r\n{json.dumps(frame, indent=2)}\n"
        else:
            text = json.dumps(frame, separators=(",", ":"))
        await self.socket.send(text)


def _told(error: ocpp.exceptions.OCPPError) -> str:
    problem = str(error.details.get("cause", error.description)).partition("\n")[0]
    return f"{_code(error)}: {problem}"


def _code(error: ocpp.exceptions.OCPPError) -> str:
    return str(SPELT.get(error.code, error.code))


def _with_quirks(payload: Payload, quirks: Collection[str]) -> Payload | None:
    if "nulls" in quirks and not payload:
        return None
    for name in ("meterValue", "transactionData"):
        for meter_value in payload.get(name, ()):
            for sample in meter_value["sampledValue"]:
                if "numbers" in quirks:
                    sample["value"] = float(sample["value"])
                if "celcius" in quirks and sample.get("unit") == "Celsius":
                    sample["unit"] = "Celcius"
    return payload
