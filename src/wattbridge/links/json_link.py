"""An Endpoint around a WebSocket: one connection with a party that speaks OCPP-J.

The link gives the endpoint its clock, its timer and its message ids, and turns payloads into the neutral form
and back through a codec. Who connects, and what happens when the connection is gone, is left to its owner.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from websockets.asyncio.connection import Connection
from websockets.asyncio.server import broadcast
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from wattbridge.links.message_ids import new_uuid
from wattbridge.ocpp.errors import Unreachable, Violation, broken_reply, checked
from wattbridge.ocpp.messages import Call, CallError, CallResult, Note, Passage, Payload, Reply, Side
from wattbridge.ocpp.ocppj import CallFrame, Ended, Endpoint, ErrorFrame, Refused, ResultFrame, original_of
from wattbridge.ocpp.ocppj import Event as EndpointEvent
from wattbridge.ocpp.older import NEWEST
from wattbridge.relay.journal import Event, Journal, Record
from wattbridge.relay.session import Answer, Relays, still_deliverable_after

CLOSE_REASON_BYTES = 123  # a control frame carries 125 bytes, two of them the code (RFC 6455, 5.5)
FRAMES_AT_ONCE = 8
SHOWN = 100  # characters of a text that is no frame, in its event


class Codec(Protocol):
    """Payloads of frames ↔ neutral payloads. Every method raises Violation.

    ``form`` is the form of payloads that may be written as they are, ``""`` when there is none.
    """

    form: str

    def read_call(self, action: str, payload: Any) -> tuple[Call, list[Note]]: ...

    def write_call(self, call: Call) -> tuple[Payload, list[Note]]: ...

    def read_result(self, action: str, payload: Any) -> tuple[Payload, list[Note]]: ...

    def write_result(self, action: str, payload: Payload) -> tuple[Payload, list[Note]]: ...


TRY_AGAIN_LATER = 1013  # close code (IANA's registry of WebSocket close codes)


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """What one connection may take."""

    call_timeout: float = 30.0  # seconds for a reply, from when the CALL is sent
    waiting_timeout: float = 30.0  # seconds a call may wait for its turn
    max_waiting: int = 32  # calls that wait, in each direction
    max_unread: int = 1 << 20  # bytes the other party may leave unread before it is cut off
    close_wait: float = 10.0  # seconds that what is in flight may take when the link is closed


USUAL_LIMITS = JsonLimits()


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended: the code of its close frame (1006 when there was none), and a sentence."""

    code: int
    description: str

    @property
    def code_class(self) -> str:
        """The code as a metric label; peers have 2,000 codes of their own to choose from."""
        return f"{self.code // 1000}xxx" if self.code >= 3000 else str(self.code)


class JsonLink:
    """One WebSocket with one party of one charge point.

    ``run`` reads until the connection ends. CALLs of the party are relayed through the session, each burst of
    them by one task of ``tasks``: an exchange may outlive the connection it came by, and still ends in the
    journal.
    """

    transport = "json"
    version = NEWEST

    # There is one for each connection.
    __slots__ = (
        "_asking",
        "_clock",
        "_closing",
        "_codec",
        "_endpoint",
        "_idle",
        "_journal",
        "_limits",
        "_loop",
        "_party",
        "_session",
        "_socket",
        "_tasks",
        "_timer",
        "_timer_at",
        "_wall_clock",
        "on_boot",
    )

    def __init__(
        self,
        socket: Connection,
        session: Relays,
        party: Side,
        codec: Codec,
        journal: Journal,
        tasks: asyncio.TaskGroup,
        limits: JsonLimits = USUAL_LIMITS,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        new_message_id: Callable[[], str] = new_uuid,
    ) -> None:
        self._socket = socket
        self._session = session
        self._party = party
        self._codec = codec
        self._journal = journal
        self._tasks = tasks
        self._limits = limits
        self._clock = clock
        self._wall_clock = wall_clock
        self._endpoint = Endpoint(
            new_message_id,
            call_timeout=limits.call_timeout,
            waiting_timeout=limits.waiting_timeout,
            max_waiting=limits.max_waiting,
        )
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._asking: dict[str, asyncio.Future[Ended]] = {}  # message id → who waits for its end
        self._closing = ""  # why no more calls are taken
        self.on_boot: Callable[[Any], None] | None = None  # told of a BootNotification before it is read
        self._idle: asyncio.Event | None = None  # made by who waits for it: it costs a connection a kilobyte

    @property
    def form(self) -> str:
        return self._codec.form

    def set_call_timeout(self, seconds: float | None) -> None:
        """How long replies to calls from now on may take; None: as long as the limits say."""
        self._endpoint.call_timeout = self._limits.call_timeout if seconds is None else seconds

    async def run(self) -> Closed:
        """Read until the connection ends. By then every call has ended, and the socket is closed."""
        closed = Closed(1001, "the gateway let go of the connection")
        try:
            while True:
                for _ in range(FRAMES_AT_ONCE):
                    self._receive(await self._socket.recv())
                await asyncio.sleep(
                    0
                )  # what has come already is read without waiting: others have their turn
        except ConnectionClosed as ending:
            closed = _closed(ending)
        finally:
            self._lose(closed)
            await self._socket.close(1001)
        return closed

    async def close(self, reason: str, code: int = 1001) -> None:
        """Take no more calls, let those in flight end, then close the connection."""
        self._closing = reason or "the connection is being closed"
        if not self._endpoint.idle:
            idle = self._idle = self._idle or asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.close_wait):
                    await idle.wait()
        await self._socket.close(code, reason.encode()[:CLOSE_REASON_BYTES].decode(errors="ignore"))

    # --- asking the party ---

    async def call(self, call: Call) -> Answer:
        """Ask the party and bring back its answer.

        A reply that breaks the rules is answered as InternalError: whoever asked is not to blame.
        Raises Unreachable and, when the call cannot be said in JSON, Violation.
        """
        if self._closing:
            raise Unreachable("draining", f"{self._closing}; {call.action} was not sent")
        if self._socket.state is not State.OPEN:
            raise Unreachable("not_connected", f"the connection is closing; {call.action} was not sent")
        as_it_is = call.original is not None and call.original.form == self.form
        notes: list[Note] = []
        asking = call
        if not as_it_is:
            payload, notes = self._codec.write_call(call)
            asking = Call(call.action, payload, message_id=call.message_id)
        late = self._endpoint.late_reply(call.message_id)
        if late is not None:
            return self._answer(late, _asked(late, notes), 0.0, as_it_is=as_it_is)
        again = self._endpoint.was_sent(call.message_id)
        message_id = self._endpoint.call(asking, self._clock())
        # Registered before the text is sent.
        ending = self._asking[message_id] = self._loop.create_future()
        sent = self._clock()  # a party in the same machine may answer before the socket returns
        self._send()
        try:
            ended = await ending
        except asyncio.CancelledError:
            self._endpoint.withdraw(message_id)
            raise
        finally:
            del self._asking[message_id]
        waited = self._clock() - sent
        if again and isinstance(ended.outcome, Unreachable) and ended.outcome.reason == "timeout":
            # Only on another connection may it be sent once more.
            why = f"{ended.action} is not answered"
            self._tasks.create_task(self._socket.close(1001, why))
        return self._answer(ended, _asked(ended, notes), waited, as_it_is=as_it_is)

    def _answer(self, ended: Ended, asked: Passage, waited: float, *, as_it_is: bool) -> Answer:
        outcome = ended.outcome
        if isinstance(outcome, Unreachable):
            if outcome.reason in ("timeout", "unreachable"):
                outcome.asked = asked
            raise outcome
        text = outcome.text.encode()
        if isinstance(outcome, Violation):
            return Answer(broken_reply(outcome, self._party), asked, Passage("json", text), waited)
        if isinstance(outcome, ErrorFrame):
            refusal, read_notes = CallError(outcome.code, outcome.description, outcome.details), outcome.notes
            if as_it_is:  # code and details go on as they are, whatever the reader made of them
                refusal, read_notes = replace(refusal, original=original_of(outcome)), ()
            return Answer(refusal, asked, Passage("json", text, read_notes), waited)
        try:
            if as_it_is:
                result, notes = self._result_as_it_is(ended.action, outcome)
            else:
                payload, more = self._codec.read_result(ended.action, outcome.payload)
                result, notes = CallResult(payload), (*outcome.notes, *more)
        except Violation as broken:
            return Answer(
                broken_reply(broken, self._party), asked, Passage("json", text, outcome.notes), waited
            )
        return Answer(result, asked, Passage("json", text, notes), waited)

    def _result_as_it_is(self, action: str, frame: ResultFrame) -> tuple[CallResult, tuple[Note, ...]]:
        """The result that needs no translation, with what of it breaks the schema. Raises Violation."""

        def read() -> tuple[Payload, list[Note]]:
            return self._codec.read_result(action, frame.payload)

        payload, notes = checked(read, frame.payload, self._session.check)
        return CallResult(payload, original_of(frame)), notes

    # --- serving the party ---

    async def _serve(self, frame: CallFrame | None) -> None:
        """Serve *frame* and the CALLs that have come since, one by one."""
        while frame is not None:
            await self._serve_one(frame)
            frame = self._endpoint.next_call()
            if frame is not None:  # of a burst: others have their turn before it
                await asyncio.sleep(0)

    async def _serve_one(self, frame: CallFrame) -> None:
        replied = False

        def write(reply: Reply) -> Passage:
            nonlocal replied
            passage = self._reply(frame, reply)
            replied = True
            return passage

        began = self._clock()
        try:
            try:
                call, notes = self._read_call(frame)
            except Violation as broken:
                reply = CallError(broken.code, str(broken), {"path": broken.path}, reason=broken.reason)
                self._record(frame.action, reply, _passage(frame), write(reply))
                return
            arrived = Passage("json", frame.text.encode(), notes)
            await self._session.relay(call, arrived, self._party, write, began)
        except Exception as bug:  # the edge of the task: the party must not wait for our mistake
            text = f"{frame.action} {frame.message_id}: {bug!r}"
            self._journal.event(Event("internal error", self._session.identity, text, "internal"))
            if not replied:
                error = CallError("InternalError", "an error inside the gateway", reason="internal")
                self._record(frame.action, error, _passage(frame), write(error))

    def _read_call(self, frame: CallFrame) -> tuple[Call, tuple[Note, ...]]:
        """The call, and what reading it forgave; that changes nothing of a payload that passes as it is."""
        if frame.action == "BootNotification" and self.on_boot is not None:
            self.on_boot(frame.payload)
        if not self._session.passes(self._party, self.form):
            call, notes = self._codec.read_call(frame.action, frame.payload)
            return call, (*frame.notes, *notes)

        def read() -> tuple[Payload, list[Note]]:
            call, notes = self._codec.read_call(frame.action, frame.payload)
            return call.payload, notes

        payload, breaches = checked(read, frame.payload, self._session.check)
        return Call(frame.action, payload, original_of(frame)), breaches

    def _reply(self, frame: CallFrame, reply: Reply) -> Passage:
        """Send the reply, or InternalError when it has no form in JSON; nothing when nobody is there.

        A charge point whose connection is closed behind a transaction message keeps it, and what waits after
        it; an error could make it drop one that can yet be delivered.
        """
        if self._party is Side.CHARGE_POINT and still_deliverable_after(frame.action, reply):
            self._endpoint.leave(frame.message_id)
            self._send()
            if not self._closing:
                why = f"{frame.action} could not be delivered; keep it and send it again"
                self._tasks.create_task(self.close(why, TRY_AGAIN_LATER))
            return Passage("json", b"")
        notes: list[Note] = []
        lost = self._endpoint.is_lost
        try:
            if isinstance(reply, CallResult) and reply.original is None:
                payload, notes = self._codec.write_result(frame.action, reply.payload)
                reply = CallResult(payload)
            text = self._endpoint.reply(frame.message_id, reply)
        except Violation as broken:
            notes = []
            unsaid = CallError("InternalError", f"the reply cannot be written: {broken}")
            text = self._endpoint.reply(frame.message_id, unsaid)
        self._send()
        return Passage("json", b"" if lost else text.encode(), tuple(notes))

    def _record(self, action: str, reply: CallError, arrived: Passage, replied: Passage) -> None:
        """Note a CALL that was refused before it got anywhere."""
        self._journal.record(
            Record(
                identity=self._session.identity,
                known_as=self._session.known_as,
                arrived_from=self._party,
                action=action,
                payload=None,
                reply=reply,
                began=self._wall_clock(),
                seconds=0.0,
                peer_seconds=0.0,
                arrived=arrived,
                asked=None,
                answered=None,
                replied=replied,
            )
        )

    # --- the endpoint's socket, clock and timer ---

    def _receive(self, text: str | bytes) -> None:
        for event in self._endpoint.receive(text, self._clock()):
            self._settle(event)
        frame = self._endpoint.next_call()
        if frame is not None:
            self._tasks.create_task(self._serve(frame))
        self._send()

    def _settle(self, event: EndpointEvent) -> None:
        if isinstance(event, Ended):
            ending = self._asking.get(event.message_id)
            if ending is not None and not ending.done():
                ending.set_result(event)
            elif isinstance(event.outcome, ResultFrame | ErrorFrame):
                self._note("late reply", f"nobody waits any more for the reply to {event.action}")
        elif isinstance(event, Refused):
            arrived, replied = event.text.encode(), event.answer.encode()
            self._record(event.action, event.reply, Passage("json", arrived), Passage("json", replied))
        elif event.kind == "malformed message":
            self._note(event.kind, f"{event.problem}: {event.text[:SHOWN]!r}")
        else:
            self._note(event.kind, event.problem)

    def _note(self, kind: str, text: str) -> None:
        labels = {"side": self._party.value}
        self._journal.event(Event(kind, self._session.identity, text, labels=labels))

    def _send(self) -> None:
        """Send what the endpoint has to say, and see to it that it is called when its time has come.

        Nothing waits here for a party that does not read: calls are bounded by their timeouts, and who leaves
        too much unread is cut off.
        """
        outgoing = self._endpoint.outgoing
        if outgoing:
            for text in outgoing:
                broadcast((self._socket,), text)
            outgoing.clear()
            transport = self._socket.transport
            if transport.get_write_buffer_size() > self._limits.max_unread:
                transport.abort()
        deadline = self._endpoint.deadline
        # Replies mostly come in time, so a timer is left alone until it fires, and then set anew.
        if deadline is not None and (self._timer is None or deadline < self._timer_at):
            self._set_timer(deadline)
        if self._idle is not None and self._endpoint.idle:
            self._idle.set()

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(0.0, deadline - self._clock()), self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer = None
        for event in self._endpoint.tick(self._clock()):
            self._settle(event)
        self._send()

    def _lose(self, closed: Closed) -> None:
        for event in self._endpoint.lost(closed.description):
            self._settle(event)
        if self._timer is not None:
            self._timer.cancel()
        if self._idle is not None:
            self._idle.set()


def _asked(ended: Ended, notes: list[Note]) -> Passage:
    return Passage("json", ended.asked.encode(), tuple(notes))


def _closed(ending: ConnectionClosed) -> Closed:
    received, sent = ending.rcvd, ending.sent
    if received is not None and (sent is None or ending.rcvd_then_sent):
        return Closed(received.code, f"the other party closed the connection: {received}")
    if sent is not None:
        return Closed(sent.code, f"the gateway closed the connection: {sent}")
    why = f": {ending.__cause__}" if ending.__cause__ is not None else ""
    return Closed(1006, f"the connection broke{why}")


def _passage(frame: CallFrame) -> Passage:
    return Passage("json", frame.text.encode(), frame.notes)
