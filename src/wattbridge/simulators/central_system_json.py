"""A central system that speaks OCPP 1.6J, as an independent witness: the `ocpp` package with its JSON
schemas speaks for it, on a `websockets` server.

It answers every charge point sensibly, keeps what it received exactly as it stood on the wire, and notes
as a problem whatever the other side does against the schemas or the framing of OCPP-J. Tests and the demo
can make it awkward: silent, slow, refusing, hanging up.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import hmac
import json
import logging
import re
import traceback
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar, cast

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

from wattbridge.simulators.outcomes import CallRefused, Unanswered

Payload = dict[str, Any]

F = TypeVar("F", bound=Callable[..., Any])

ALL = "*"
SUBPROTOCOL = "ocpp1.6"
LONGEST_MESSAGE_ID = 36  # characters (OCPP-J 1.6, 4.1.4)
# OCPP-J 1.6, table 7, with its two misspellings, which the errata keep (5.1, 5.2).
ERROR_CODES = {
    "NotImplemented",
    "NotSupported",
    "InternalError",
    "ProtocolError",
    "SecurityError",
    "FormationViolation",
    "PropertyConstraintViolation",
    "OccurenceConstraintViolation",
    "TypeConstraintViolation",
    "GenericError",
}
# JSON schema calls them date-time, which is RFC 3339; the `ocpp` package does not look at formats.
TIMES = {"timestamp", "scheduleStart", "startSchedule"}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

# Both libraries tell on their loggers what this module reports as problems.
_quiet = logging.getLogger(__name__)
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Transaction:
    """What the central system knows of a transaction it gave an id to; meters in Wh."""

    identity: str
    connector_id: int
    id_tag: str
    meter_start: int
    meter_stop: int | None = None  # None while it runs
    reason: str | None = None


class JsonCentralSystem:
    """One simulated central system.

    ``id_tags`` maps idTags to their AuthorizationStatus, others are Invalid; None accepts every idTag.
    ``passwords`` maps identities to the password of HTTP Basic authentication; None asks for none.
    ``known`` are the identities it serves, others get a 404; None serves everybody. Intervals and timeouts
    are in seconds.

    What makes it awkward, to be changed at any time: ``boot_status``; ``answer_delay`` (keep it below the
    other side's timeout, or its next CALL is taken for premature); ``silent_on`` and ``hang_up_on``, actions
    it does not answer or at which it cuts the connection, ``ALL`` for every action; ``errors``, action →
    error code and description of the CALLERROR it answers with; ``refuse_handshakes``, an HTTP status.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        heartbeat_interval: int = 300,
        id_tags: Mapping[str, str] | None = None,
        passwords: Mapping[str, str | bytes] | None = None,
        known: Iterable[str] | None = None,
        call_timeout: float = 30.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.host = host
        self.port = port
        self.heartbeat_interval = heartbeat_interval
        self.id_tags = id_tags
        self.passwords = passwords
        self.known = None if known is None else set(known)
        self.call_timeout = call_timeout
        self.now = now
        self.boot_status = "Accepted"
        self.answer_delay = 0.0
        self.silent_on: set[str] = set()
        self.hang_up_on: set[str] = set()
        self.errors: dict[str, tuple[str, str]] = {}
        self.refuse_handshakes: HTTPStatus | int | None = None
        self.received: list[
            tuple[str, str, Payload]
        ] = []  # identity, action, payload; may be cut by who reads it
        self.heard = 0  # calls that were ever received
        self.problems: list[str] = []
        self.answered: Counter[str] = Counter()  # identity → calls of ours that got an answer
        self.transactions: dict[int, Transaction] = {}
        self.next_transaction_id = 1
        self._connections: dict[str, _Connection] = {}
        self._news = asyncio.Condition()
        self._server: Server | None = None

    # --- Life ------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where charge points connect; the identity comes behind it: ``{url}/{identity}``."""
        return f"ws://{self.host}:{self.port}/ocpp"

    async def start(self) -> None:
        """Listen; with ``port`` 0 on a free port, which stays the same when started again."""
        self._server = await serve(
            self._serve,
            self.host,
            self.port,
            subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
            process_request=self._judge_handshake,
            logger=_quiet,
            close_timeout=1.0,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and close every connection (1001, going away)."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            await server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- For tests and the demo ------------------------------------------------------------------------

    @property
    def connected(self) -> list[str]:
        return sorted(self._connections)

    async def connection_of(self, identity: str, *, within: float = 5.0) -> None:
        """Wait until *identity* is connected; raises Unanswered after *within* seconds."""
        await self._wait_for(lambda: identity in self._connections, f"{identity} did not connect", within)

    async def arrival_of(
        self, action: str, *, identity: str | None = None, after: int = 0, within: float = 5.0
    ) -> tuple[str, str, Payload]:
        """Wait for the first *action*, from *identity* if that is given, after the first *after* calls.

        ``heard`` says how many there were so far. Raises Unanswered after *within* seconds.
        """

        def found() -> list[tuple[str, str, Payload]]:
            forgotten = self.heard - len(self.received)
            fresh = self.received[max(0, after - forgotten) :]
            return [call for call in fresh if call[1] == action and identity in (None, call[0])]

        await self._wait_for(lambda: bool(found()), f"no {action} arrived", within)
        return found()[0]

    async def call(self, identity: str, action: str, **payload: Any) -> Payload:
        """Ask a charge point, names as on the wire: ``await cs.call("CP1", "Reset", type="Soft")``.

        Returns the payload of the answer as it stood on the wire, decimals as Decimal. Raises CallRefused
        for a CALLERROR, Unanswered when there was none, and ValueError when the payload breaks the schema.
        """
        connection = self._connections.get(identity)
        if connection is None:
            raise Unanswered(f"{action}: {identity} is not connected")
        answer = await connection.ask(action, payload)
        self.answered[identity] += 1
        return answer

    async def hang_up(self, identity: str, code: int = 1000) -> None:
        """Close a charge point's connection in good order."""
        if identity in self._connections:
            await self._connections[identity].socket.close(code)

    def cut(self, identity: str) -> None:
        """Break a charge point's connection without a closing handshake, as a lost network does."""
        if identity in self._connections:
            self._connections[identity].socket.transport.abort()

    # --- Connections -----------------------------------------------------------------------------------

    def _judge_handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        identity = _identity(request.path)
        if self.refuse_handshakes is not None:
            return socket.respond(HTTPStatus(self.refuse_handshakes), "refused\n")
        if not identity or (self.known is not None and identity not in self.known):
            return socket.respond(HTTPStatus.NOT_FOUND, "unknown charge point\n")  # OCPP-J 1.6, 3.2
        offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol"))
        if SUBPROTOCOL not in [name.strip() for name in offered.split(",")]:
            self.problems.append(f"{identity}: offers the subprotocols {offered!r}, not {SUBPROTOCOL!r}")
        if self.passwords is not None and not self._is_allowed(
            identity, request.headers.get("Authorization")
        ):
            refusal = socket.respond(HTTPStatus.UNAUTHORIZED, "wrong password\n")
            refusal.headers["WWW-Authenticate"] = 'Basic realm="OCPP"'
            return refusal
        return None

    def _is_allowed(self, identity: str, authorization: str | None) -> bool:
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() != "basic" or self.passwords is None or identity not in self.passwords:
            return False
        try:
            credential = base64.b64decode(value, validate=True)
        except binascii.Error:
            return False
        # Bytes, not text: an AuthorizationKey need not be UTF-8, and may hold a colon (OCPP-J 1.6, 6.2.2).
        name, _, password = credential.partition(b":")
        expected = self.passwords[identity]
        expected = expected.encode() if isinstance(expected, str) else expected
        return name == identity.encode() and hmac.compare_digest(password, expected)

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

    async def _announce(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _wait_for(self, happened: Callable[[], bool], otherwise: str, within: float) -> None:
        try:
            async with asyncio.timeout(within), self._news:
                await self._news.wait_for(happened)
        except TimeoutError:
            raise Unanswered(f"{otherwise} within {within:g} s") from None

    # --- What its connections need ---------------------------------------------------------------------

    async def note_call(self, identity: str, action: str, payload: Payload) -> None:
        self.received.append((identity, action, payload))
        self.heard += 1
        await self._announce()

    def begin(self, transaction: Transaction) -> int:
        transaction_id = self.next_transaction_id
        self.next_transaction_id += 1
        self.transactions[transaction_id] = transaction
        return transaction_id

    def id_tag_info(self, id_tag: str) -> Payload:
        if self.id_tags is None:
            return {"status": "Accepted"}
        for known, status in self.id_tags.items():
            if known.lower() == id_tag.lower():  # idTags are case-insensitive (OCPP 1.6, 7.28)
                return {"status": status}
        return {"status": "Invalid"}

    def timestamp(self) -> str:
        return self.now().isoformat(timespec="seconds").replace("+00:00", "Z")


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
        super().__init__(identity, socket, response_timeout=central_system.call_timeout, logger=_quiet)
        self.central_system = central_system
        self.identity = identity
        self.socket = socket
        self._waiting = 0  # CALLs that arrived and are not answered yet
        self._seen: set[str] = set()  # message ids of CALLs that arrived
        self._asked: dict[str, str] = {}  # message id → action of every CALL of ours
        self._answers: dict[str, Any] = {}  # message id → the frame that answered it
        self._answering = asyncio.Lock()

    # --- Listening -------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Take frames until the connection ends. Answering happens beside it, so that a slow answer never
        keeps the reply to a call of ours from being heard.
        """
        try:
            async with asyncio.TaskGroup() as answers:
                async for message in self.socket:
                    kind = self._judge(message)
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
            # Counted before it leaves: a CALL that comes right after it is in order.
            self._waiting = max(0, self._waiting - 1)
        await super()._send(message)

    async def _handle_call(self, message: Any) -> Any:
        try:
            return await super()._handle_call(message)
        except ocpp.exceptions.OCPPError as error:
            self._note(f"{message.action}: {_told(error)}")
            raise

    def _note(self, problem: str) -> None:
        self.central_system.problems.append(f"{self.identity}: {problem}")

    def _judge(self, message: str | bytes) -> int | None:
        """Note what a frame does against OCPP-J 1.6, 4; returns its type, None when it is unusable."""
        shown = repr(message[:200])
        if isinstance(message, bytes):
            self._note(f"a binary frame; expected text: {shown}")
        try:
            frame = json.loads(message)
        except ValueError:
            self._note(f"not JSON: {shown}")
            return None
        lengths = {2: 4, 3: 3, 4: 5}
        if not isinstance(frame, list) or not frame or frame[0] not in lengths:
            self._note(f"not a CALL, CALLRESULT or CALLERROR: {shown}")
            return None
        if len(frame) != lengths[frame[0]]:
            self._note(f"{len(frame)} elements; expected {lengths[frame[0]]}: {shown}")
            return None
        message_id = frame[1]
        if not isinstance(message_id, str) or not 0 < len(message_id) <= LONGEST_MESSAGE_ID:
            self._note(f"message id {message_id!r}; expected text of at most {LONGEST_MESSAGE_ID} characters")
        if not isinstance(message_id, str):
            return None
        return self._judge_call(frame) if frame[0] == 2 else self._judge_reply(frame)

    def _judge_call(self, frame: list[Any]) -> int | None:
        _, message_id, action, payload = frame
        if not isinstance(action, str) or not isinstance(payload, dict):
            self._note(f"action {action!r} with payload {payload!r}; expected text and an object")
            return None
        if message_id in self._seen:
            self._note(f"{action}: message id {message_id!r} was used before on this connection (4.1.4)")
        self._seen.add(message_id)
        if self._waiting:
            self._note(f"{action}: sent while {self._waiting} CALL of the same side had no answer (4.1.1)")
        if not {action, ALL} & self.central_system.silent_on:
            # One that gets no answer times out for the other side, which may then go on.
            self._waiting += 1
        self._judge_times(action, payload)
        return 2

    def _judge_reply(self, frame: list[Any]) -> int | None:
        message_id = frame[1]
        action = self._asked.get(message_id)
        if action is None or message_id in self._answers:
            self._note(f"a reply to {message_id!r}, which {'was answered' if action else 'nobody asked'}")
            return None
        if frame[0] == 4:
            code, description, details = frame[2:]
            if code not in ERROR_CODES:
                self._note(f"{action}: error code {code!r} is not one of OCPP-J 1.6")
            if not isinstance(description, str) or not isinstance(details, dict):
                self._note(
                    f"{action}: CALLERROR with {description!r} and {details!r}; expected text and object"
                )
                return None
        elif not isinstance(frame[2], dict):
            self._note(f"{action}: CALLRESULT with {frame[2]!r}; expected an object")
            return None
        else:
            self._judge_times(action, frame[2])
        return int(frame[0])

    def _judge_times(self, action: str, value: Any) -> None:
        if isinstance(value, list):
            for inner in value:
                self._judge_times(action, inner)
        elif isinstance(value, dict):
            for name, inner in value.items():
                if name in TIMES and isinstance(inner, str) and not RFC_3339.fullmatch(inner):
                    self._note(f"{action}: {name} {inner!r} is not a date-time of RFC 3339")
                self._judge_times(action, inner)

    # --- Asking ----------------------------------------------------------------------------------------

    async def ask(self, action: str, payload: Payload) -> Payload:
        request = getattr(ocpp.v16.call, action)(**ocpp.charge_point.camel_to_snake_case(_floats(payload)))
        message_id = str(self._unique_id_generator())
        self._asked[message_id] = action
        try:
            await self.call(request, suppress=False, unique_id=message_id)
        except TimeoutError:
            raise Unanswered(f"{action}: no answer within {self._response_timeout:g} s") from None
        except websockets.ConnectionClosed:
            raise Unanswered(f"{action}: the connection is closed") from None
        except (ocpp.exceptions.OCPPError, ocpp.exceptions.UnknownCallErrorCodeError) as error:
            answer = self._answers.get(message_id)
            if answer is None:
                raise ValueError(f"{action}: {_told(error)}") from None
            if answer[0] == 3:
                self._note(f"{action}: answer: {_told(error)}")
                raise Unanswered(f"{action}: the answer breaks the schema") from None
            if answer[2] is None:
                raise Unanswered(f"{action}: {answer[3]}") from None
            raise CallRefused(answer[2], answer[3], answer[4]) from None
        del self._asked[message_id]
        return cast(Payload, self._answers.pop(message_id)[2])

    async def route_message(self, raw_msg: str | bytes) -> None:
        frame = json.loads(raw_msg, parse_float=Decimal)
        if frame[0] != 2:
            self._answers[frame[1]] = frame
        await super().route_message(raw_msg)

    def end(self) -> None:
        """The connection is gone: whoever waits for an answer learns it now, not after the timeout."""
        for message_id in self._asked.keys() - self._answers.keys():
            gone = [4, message_id, None, "the connection was closed", {}]
            self._answers[message_id] = gone
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
        # Answered whatever the id is (OCPP 1.6, 4.10).
        transaction = self.central_system.transactions.get(transaction_id)
        if transaction is not None:
            transaction.meter_stop = meter_stop
            transaction.reason = reason
        return result.StopTransaction(
            id_tag_info=None if id_tag is None else self.central_system.id_tag_info(id_tag)
        )


def _floats(value: Any) -> Any:
    """Decimals as the floats the `ocpp` package writes; it prints them with their one digit."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _floats(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_floats(inner) for inner in value]
    return value
