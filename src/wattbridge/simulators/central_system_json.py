"""A central system that speaks OCPP 1.6J, as an independent witness: the `ocpp` package with its JSON
schemas speaks for it, on a `websockets` server.

What it receives it keeps exactly as it stood on the wire, and it notes as a problem whatever the other side
does against the schemas or the framing of OCPP-J. Tests and the demo can make it awkward: silent, slow,
refusing, hanging up.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
import traceback
import urllib.parse
from collections.abc import Callable
from decimal import Decimal
from http import HTTPStatus
from typing import Any, TypeVar, cast

import ocpp.charge_point
import ocpp.exceptions
import ocpp.messages
import ocpp.v16
import ocpp.v16.call
import websockets
from ocpp.routing import on
from ocpp.v16 import call_result as result
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from wattbridge.simulators.central_system import ALL, CentralSystem, Payload, Transaction
from wattbridge.simulators.frames import SUBPROTOCOL, Rules, floats, quiet
from wattbridge.simulators.outcomes import CallRefused, Exchange, Unanswered

F = TypeVar("F", bound=Callable[..., Any])


class JsonCentralSystem(CentralSystem):
    """One simulated central system; what it can be told is in ``CentralSystem``.

    Identities it does not know get a 404. An error of a charge point is a CallRefused.
    """

    _server: Server | None = None
    _connections: dict[str, _Connection]

    # --- Life ------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where charge points connect; the identity comes behind it: ``{url}/{identity}``."""
        return f"ws://{self.host}:{self.port}/ocpp"

    async def start(self) -> None:
        self._server = await serve(
            self._serve,
            self.host,
            self.port,
            subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
            process_request=self._judge_handshake,
            logger=quiet,
            close_timeout=1.0,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and close every connection (1001, going away)."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            await server.wait_closed()

    # --- For tests and scenarios -----------------------------------------------------------------------

    async def _ask(self, identity: str, action: str, payload: Payload) -> Payload:
        connection = self._connections.get(identity)
        if connection is None:
            raise Unanswered(f"{action}: {identity} is not connected")
        return await connection.ask(action, payload)

    async def hang_up(self, identity: str, code: int = 1000) -> None:
        if identity in self._connections:
            await self._connections[identity].socket.close(code)

    def cut(self, identity: str) -> None:
        if identity in self._connections:
            self._connections[identity].socket.transport.abort()

    # --- Connections -----------------------------------------------------------------------------------

    def _judge_handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        identity = _identity(request.path)
        if self.refuse_handshakes is not None:
            return socket.respond(HTTPStatus(self.refuse_handshakes), "refused\n")
        if not identity or not self.knows(identity):
            return socket.respond(HTTPStatus.NOT_FOUND, "unknown charge point\n")  # OCPP-J 1.6, 3.2
        offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol"))
        if SUBPROTOCOL not in [name.strip() for name in offered.split(",")]:
            self.problems.append(f"{identity}: offers the subprotocols {offered!r}, not {SUBPROTOCOL!r}")
        if not self.is_allowed(identity, request.headers.get("Authorization")):
            refusal = socket.respond(HTTPStatus.UNAUTHORIZED, "wrong password\n")
            refusal.headers["WWW-Authenticate"] = 'Basic realm="OCPP"'
            return refusal
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        identity = _identity(socket.request.path)
        connection = _Connection(self, identity, socket)
        old = self._connections.get(identity)
        self._connections[identity] = connection
        await self._announce()
        if old is not None:  # the newest connection counts
            await old.socket.close(1000, "replaced")
        try:
            await connection.listen()
        except Exception as error:  # a fault of the simulator itself: loud
            self.problems.append("".join(traceback.format_exception(error)))
        finally:
            connection.end()
            if self._connections.get(identity) is connection:
                del self._connections[identity]
                await self._announce()


def _identity(path: str) -> str:
    """The last part of the URL's path, decoded once (OCPP-J 1.6, 3.1.1)."""
    return urllib.parse.unquote(path.partition("?")[0].rpartition("/")[2])


def _answers(action: str) -> Callable[[F], F]:
    """This method answers *action*: the package's decorator, which would keep a fault of ours to itself."""

    def decorate(method: F) -> F:
        @functools.wraps(method)
        def loud(self: _Connection, **payload: Any) -> Any:
            try:
                return method(self, **payload)
            except Exception as error:
                self.central_system.problems.append("".join(traceback.format_exception(error)))
                raise

        return cast(F, on(action)(loud))

    return decorate


def _told(error: ocpp.exceptions.OCPPError) -> str:
    return f"{error.code}: {error.details.get('cause', error.description)}"


class _Ended(Exception):
    """The connection ended: answers that are still being prepared need not be given."""


class _Connection(ocpp.v16.ChargePoint):  # type: ignore[misc]  # the package has no types
    """One charge point's connection, as the `ocpp` package serves it, with ears for what breaks the rules."""

    def __init__(self, central_system: JsonCentralSystem, identity: str, socket: ServerConnection) -> None:
        super().__init__(identity, socket, response_timeout=central_system.call_timeout, logger=quiet)
        self.central_system = central_system
        self.identity = identity
        self.socket = socket
        self._rules = Rules(
            self._note, is_answered=lambda action: not {action, ALL} & central_system.silent_on
        )
        self._answering = asyncio.Lock()
        self._arrived: dict[
            str, tuple[str, float]
        ] = {}  # message id → action and when, without an answer yet

    # --- Listening -------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Take frames until the connection ends. Answering happens beside it, so that a slow answer never
        keeps the reply to a call of ours from being heard.
        """
        try:
            async with asyncio.TaskGroup() as answers:
                async for message in self.socket:
                    kind = self._rules.judge(message)
                    if kind == 2:
                        answers.create_task(self._answer(message))
                    elif kind is not None:
                        await self.route_message(message)
                raise _Ended
        except* (_Ended, websockets.ConnectionClosed):
            pass

    async def _answer(self, message: str | bytes) -> None:
        system = self.central_system
        _, message_id, action, payload = json.loads(message, parse_float=Decimal)
        self._arrived[message_id] = action, time.monotonic()
        await system.note_call(self.identity, action, payload)
        if {action, ALL} & system.hang_up_on:
            self.socket.transport.abort()
            return
        if {action, ALL} & system.silent_on:
            return
        await asyncio.sleep(system.answer_delay)
        async with self._answering:
            if action in system.errors:
                code, description = system.errors[action]
                await self._send(json.dumps([4, message_id, code, description, {}]))
            else:
                await self.route_message(message)

    async def _send(self, message: str) -> None:
        if not message.startswith("[2,"):
            self._rules.replied()
            kind, message_id, *reply = json.loads(message)
            # Gone already where a message id was used for two CALLs at once.
            action, began = self._arrived.pop(message_id, ("?", time.monotonic()))
            outcome = "ok" if kind == 3 else f"{reply[0]}: {reply[1]}"
            seconds = time.monotonic() - began
            self.central_system.on_exchange(
                Exchange(self.identity, action, "central system", outcome, seconds)
            )
        await super()._send(message)

    async def _handle_call(self, message: Any) -> Any:
        try:
            return await super()._handle_call(message)
        except ocpp.exceptions.OCPPError as error:
            self._note(f"{message.action}: {_told(error)}")
            raise

    def _note(self, problem: str) -> None:
        self.central_system.problems.append(f"{self.identity}: {problem}")

    # --- Asking ----------------------------------------------------------------------------------------

    async def ask(self, action: str, payload: Payload) -> Payload:
        request = getattr(ocpp.v16.call, action)(**ocpp.charge_point.camel_to_snake_case(floats(payload)))
        message_id = str(self._unique_id_generator())
        self._rules.asked[message_id] = action
        try:
            await self.call(request, suppress=False, unique_id=message_id)
        except TimeoutError:
            raise Unanswered(f"{action}: no answer within {self._response_timeout:g} s") from None
        except websockets.ConnectionClosed:
            raise Unanswered(f"{action}: the connection is closed") from None
        except (ocpp.exceptions.OCPPError, ocpp.exceptions.UnknownCallErrorCodeError) as error:
            answer = self._rules.answers.get(message_id)
            if answer is None:
                raise ValueError(f"{action}: {_told(error)}") from None
            if answer[0] == 3:
                self._note(f"{action}: answer: {_told(error)}")
                raise Unanswered(f"{action}: the answer breaks the schema") from None
            if answer[2] is None:
                raise Unanswered(f"{action}: {answer[3]}") from None
            raise CallRefused(answer[2], answer[3], answer[4]) from None
        del self._rules.asked[message_id]
        return cast(Payload, self._rules.answers.pop(message_id)[2])

    async def route_message(self, raw_msg: str | bytes) -> None:
        frame = json.loads(raw_msg, parse_float=Decimal)
        if frame[0] != 2:
            self._rules.answers[frame[1]] = frame
        await super().route_message(raw_msg)

    def end(self) -> None:
        """The connection is gone: whoever waits for an answer learns it now, not after the timeout."""
        for message_id in self._rules.asked.keys() - self._rules.answers.keys():
            gone = [4, message_id, None, "the connection was closed", {}]
            self._rules.answers[message_id] = gone
            self._response_queue.put_nowait(ocpp.messages.CallError(*gone[1:]))

    # --- Answering -------------------------------------------------------------------------------------

    @_answers("Authorize")
    def on_authorize(self, id_tag: str) -> Any:
        return result.Authorize(id_tag_info=self.central_system.id_tag_info(id_tag))

    @_answers("BootNotification")
    def on_boot_notification(self, **device: Any) -> Any:
        system = self.central_system
        return result.BootNotification(
            current_time=system.timestamp(), interval=system.heartbeat_interval, status=system.boot_status
        )

    @_answers("DataTransfer")
    def on_data_transfer(self, vendor_id: str, message_id: str | None = None, data: str | None = None) -> Any:
        return result.DataTransfer(status="Accepted", data=data)

    @_answers("DiagnosticsStatusNotification")
    def on_diagnostics_status_notification(self, status: str) -> Any:
        return result.DiagnosticsStatusNotification()

    @_answers("FirmwareStatusNotification")
    def on_firmware_status_notification(self, status: str) -> Any:
        return result.FirmwareStatusNotification()

    @_answers("Heartbeat")
    def on_heartbeat(self) -> Any:
        return result.Heartbeat(current_time=self.central_system.timestamp())

    @_answers("MeterValues")
    def on_meter_values(
        self, connector_id: int, meter_value: list[Any], transaction_id: int | None = None
    ) -> Any:
        return result.MeterValues()

    @_answers("StartTransaction")
    def on_start_transaction(self, connector_id: int, id_tag: str, meter_start: int, **when: Any) -> Any:
        # An id is given in any case: the charge point may have started already (OCPP 1.6, 4.8).
        transaction = Transaction(self.identity, connector_id, id_tag, meter_start)
        return result.StartTransaction(
            transaction_id=self.central_system.begin(transaction),
            id_tag_info=self.central_system.id_tag_info(id_tag),
        )

    @_answers("StatusNotification")
    def on_status_notification(self, connector_id: int, error_code: str, status: str, **more: Any) -> Any:
        return result.StatusNotification()

    @_answers("StopTransaction")
    def on_stop_transaction(
        self,
        transaction_id: int,
        meter_stop: int,
        id_tag: str | None = None,
        reason: str = "Local",
        **more: Any,
    ) -> Any:
        self.central_system.end(transaction_id, meter_stop, reason)
        return result.StopTransaction(
            id_tag_info=None if id_tag is None else self.central_system.id_tag_info(id_tag)
        )
